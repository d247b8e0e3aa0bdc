// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/config"
)

// Values are numbers where the kernel has numbers, and compared as such.
func TestSysctlValues(t *testing.T) {
	for _, c := range []struct{ name, want, have, accepted string }{
		{"a.b", "1", "0", ""},
		{"a.b", "0x10", "-1", ""},
		{"a.b", "x", "0", "a whole number, such as 0"},
		{"a.b", "1 2", "0", "a whole number, such as 0"},
		{"a.b", "1 2", "4096 131072 33554432", "3 whole numbers, such as 4096 131072 33554432"},
		{"a.b", "1 2 3", "4096\t131072\t33554432", ""},
		{"a.b", "x", "", ""},
		{"a.b", "x", "some text 1", ""},
		{"net.ipv4.ip_local_reserved_ports", "80,90-99", "80", ""},
		{"kernel.hostname", "router", "7", ""},
	} {
		if _, accepted := malformed(c.name, c.want, c.have); accepted != c.accepted {
			t.Errorf("%s: %q where it is %q: want %q, and not %q", c.name, c.want, c.have, accepted, c.accepted)
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{{"0x10", "16", true}, {"010", "8", true}, {"1 2", "1\t2", true}, {"-1", "1", false}, {"-0", "0", true}, {"1", "1 0", false}, {"a", "a", true}, {"1_0", "10", false}} {
		if is := sameValue(c.a, c.b); is != c.same {
			t.Errorf("%q is %q: %t", c.a, c.b, is)
		}
	}
}

// TestSysctlRange: what the kernel does not take is found in another network namespace, before
// anything is touched, also of interfaces.
func TestSysctlRange(t *testing.T) {
	ns(t)
	before := allSysctls(t)
	c, err := config.Parse("/x/l2d.yaml", []byte(`dataplane: {ruleset: x, interfaces: [{name: a}]}
host:
  sysctl:
    net.ipv4.tcp_fin_timeout: 31
    net.ipv4.tcp_retries1: 4000
    net.ipv4.tcp_rmem: 1 2
    net.ipv4.conf.lo.tag: yes
    net.ipv4.neigh.lo.mcast_solicit: -1
    net.ipv4.conf.lo.rp_filter: "0x1"
`))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine(t, t.TempDir(), NewSysctl()).Plan(t.Context(), list)
	said := strings.Split(strings.TrimSpace(errorText(err)), "\n")
	wants := []string{
		`/x/l2d.yaml:5:5: sysctl net.ipv4.tcp_retries1: value: "4000": this kernel does not take it: want a value in its range; it is 3 now`,
		`/x/l2d.yaml:6:5: sysctl net.ipv4.tcp_rmem: value: "1 2": not 3 whole numbers: want 3 whole numbers, such as `,
		`/x/l2d.yaml:7:5: sysctl net.ipv4.conf.lo.tag: value: "yes": not a whole number: want a whole number, such as 0`,
		`/x/l2d.yaml:8:5: sysctl net.ipv4.neigh.lo.mcast_solicit: value: "-1": this kernel does not take it`,
	}
	for _, want := range wants {
		if !strings.Contains(errorText(err), want) {
			t.Errorf("%s is not in\n%s", want, errorText(err))
		}
	}
	if len(said) != len(wants) {
		t.Errorf("%d errors, want %d", len(said), len(wants))
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil {
		t.Errorf("a plan changes %s", strings.Join(d, "; "))
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
