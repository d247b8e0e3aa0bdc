// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/config"
)

func parse(t *testing.T, sysctls string) *config.Config {
	t.Helper()
	c, err := config.Parse("/x/l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost:\n  sysctl:\n"+sysctls))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResources(t *testing.T) {
	ns(t)
	vethSysctls(t)
	list, err := Resources(parse(t, `    net.ipv4.conf.*.rp_filter: 2
    net.ipv4.conf.veth0.rp_filter: {value: 1, enforce: true}
    net/ipv4/conf/veth1.7/rp_filter: 0
    vm.swappiness: 1
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%s=%s %v %s", r.Name, r.Want[valueKey], r.Enforce, r.At))
	}
	want := []string{
		"net.ipv4.conf.veth0.rp_filter=1 true /x/l2d.yaml:5:5",
		"net.ipv4.conf.veth1/7.rp_filter=0 false /x/l2d.yaml:6:5",
		"vm.swappiness=1 false /x/l2d.yaml:7:5",
		"net.ipv4.conf.all.rp_filter=2 false /x/l2d.yaml:4:5",
		"net.ipv4.conf.default.rp_filter=2 false /x/l2d.yaml:4:5",
		"net.ipv4.conf.lo.rp_filter=2 false /x/l2d.yaml:4:5",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s\nnot\n%s", g, w)
	}
}

func TestResourceProblems(t *testing.T) {
	ns(t)
	_, err := Resources(parse(t, `    net.ipv4.conf.*.rp_filtre: 2
    net.ipv4.ip_forward: 1
    net/ipv4/ip_forward: 0
    net.*.conf.lo.forwarding: 1
    net.ipv6.conf.*.forwarding: 0
`))
	for _, want := range []string{
		"/x/l2d.yaml:4:5: host.sysctl.net.ipv4.conf.*.rp_filtre: no such sysctl: want net.ipv4.conf.*.rp_filter",
		"/x/l2d.yaml:6:5: host.sysctl.net/ipv4/ip_forward: declared twice, first on line 5: want",
		"/x/l2d.yaml:8:5: host.sysctl.net.ipv6.conf.*.forwarding: net.ipv6.conf.lo.forwarding is declared in another way by net.*.conf.lo.forwarding on line 7",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestQueuesThatDoNotExist(t *testing.T) {
	ns(t)
	c := parse(t, `    vm.swappiness: 1
  nics:
    eth0: {channels: {combined: 4}, rss: {queues: 0-3}}
    eth1:
      channels: {combined: 4}
      rss: {queues: 0-4}
`)
	_, err := Resources(c)
	const want = "/x/l2d.yaml:9:21: host.nics.eth1.rss.queues: eth1 has no receive queue 4: want queues from 0 to 3, or more of channels"
	if err == nil || err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
}
