// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/api"
)

// provider is a DHCPv6 server that delegates prefixes of 56 bits of one of 52.
const provider = `{"Dhcp6": {
	"interfaces-config": {"interfaces": ["far0"], "service-sockets-max-retries": 1000, "service-sockets-retry-wait-time": 200},
	"lease-database": {"type": "memfile", "persist": false},
	"preferred-lifetime": 20, "valid-lifetime": 30, "renew-timer": 2, "rebind-timer": 4,
	"subnet6": [{"id": 1, "subnet": "3fff:ffff::/64", "interface": "far0", "pd-pools": [{"prefix": %q, "prefix-len": 52, "delegated-len": 56}]}]
}}`

// takes is what a DHCPv6 client does with a prefix: the seventh network is the LAN's, and nothing is sent to the rest of it.
const takes = `#!/bin/sh
case $reason in
BOUND6|RENEW6|REBIND6)
	[ -n "$new_ip6_prefix" ] && ip route replace unreachable "$new_ip6_prefix" && ip addr replace "${new_ip6_prefix%00::/56}07::1/64" dev br0 nodad
	;;
EXPIRE6)
	ip addr del "${old_ip6_prefix%00::/56}07::1/64" dev br0
	ip route del unreachable "$old_ip6_prefix"
	;;
esac
`

// runs starts a program for the rest of the test; stop ends it before.
func (l *delegatedLAN) runs(cmd *exec.Cmd) (stop func()) {
	l.t.Helper()
	cmd.Stdout, cmd.Stderr = l.t.Output(), l.t.Output()
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// provides has the provider delegate parts of a prefix.
func (l *delegatedLAN) provides(kea, prefix string) (stop func()) {
	l.t.Helper()
	l.write("provider.json", fmt.Sprintf(provider, prefix))
	argv := l.in(l.server, kea, "-c", l.path("provider.json"))
	cmd := exec.Command(argv[0], argv[1:]...)
	for _, name := range []string{"KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR"} {
		cmd.Env = append(cmd.Env, name+"="+l.dir)
	}
	return l.runs(cmd)
}

// dhclient is the command line of one that asks for a prefix, with a script.
func (l *delegatedLAN) dhclient(program, name, script, link string) []string {
	l.t.Helper()
	l.write(name+".conf", "")
	l.write(name+".script", script)
	if err := os.Chmod(l.path(name+".script"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	return []string{program, "-6", "-P", "-d", "-cf", l.path(name + ".conf"), "-lf", l.path(name + ".leases"), "-pf", l.path(name + ".pid"), "-sf", l.path(name + ".script"), link}
}

// asksFor has another router behind the LAN ask for a prefix, until it is told the one that is wanted.
func (l *delegatedLAN) asksFor(dhclient, want string) {
	l.t.Helper()
	told := l.path("told")
	_ = os.Remove(told) // of before
	_ = os.Remove(l.path("behind.leases"))
	argv := l.in(l.client, l.dhclient(dhclient, "behind", fmt.Sprintf("#!/bin/sh\necho \"$reason $new_ip6_prefix\" >>%s\n", told), "eth0")...)
	stop := l.runs(exec.Command(argv[0], argv[1:]...))
	defer stop()
	servicetest.Eventually(l.t, func() error {
		b, err := os.ReadFile(told)
		if err == nil && !strings.Contains(string(b), "BOUND6 "+want+"\n") {
			err = fmt.Errorf("%q, not %s", b, want)
		}
		return err
	})
}

// TestDelegation: the WAN's DHCPv6 client gets a prefix of the provider's real server, and what l2d's services make of it reaches
// hosts and routers of the LAN, and the firewall; so does the next one, when the provider gives another.
func TestDelegation(t *testing.T) {
	servicetest.Need(t, "kea-dhcp6", "dhclient")
	l := newDelegatedLAN(t)
	kea, dhclient := servicetest.Program(t, "kea-dhcp6"), servicetest.Program(t, "dhclient")
	l.write("firewall.nft", delegatedRuleset)
	config := l.withSets("  sets: [{set: inet filter lan6, interface: br0}]\n")
	l.write("l2d.yaml", config+fmt.Sprintf(`network: {lan: {interface: br0, addresses: ["fd00::1/64"]}}
services:
  radvd: {mode: child, user: nobody, delegated: true, binary: %q}
  kea_dhcp6: {mode: child, binary: %q, lease_file: %q, pools: ["fd00::1000-fd00::1fff"], delegated: {pool: "::1000-::1fff", length: 60}}
`, servicetest.Program(t, "radvd"), kea, l.path("kea/leases6.csv")))
	l.start()
	l.expect("READY=1")
	defer func() {
		l.write("l2d.yaml", config)
		if _, err := l.host.client().HostApply(t.Context(), api.HostOptions{}); err != nil {
			t.Error(err)
		}
	}()
	stop := l.provides(kea, "3fff:1:0:1000::")
	servicetest.Eventually(t, func() error { // it wants an address that is found to be nobody else's
		out, err := l.command("ip", "-6", "addr", "show", "dev", "wan0", "scope", "link", "-tentative").Output()
		if err == nil && !strings.Contains(string(out), " fe80:") {
			err = fmt.Errorf("wan0 has no link-local address: %s", out)
		}
		return err
	})
	client := l.dhclient(dhclient, "wan", takes, "wan0")
	l.runs(l.command(client[0], client[1:]...))
	old := l.goesBy("3fff:1:0:1007::")
	l.asksFor(dhclient, "3fff:1:0:1010::/60")

	stop()
	l.provides(kea, "3fff:2:0:2000::")
	l.goesBy("3fff:2:0:2007::")
	l.asksFor(dhclient, "3fff:2:0:2010::/60")
	servicetest.Eventually(t, func() error { // until the first one has ended
		if addr, err := l.address("3fff:1:0:1007::", true); err == nil {
			return fmt.Errorf("the client still prefers %v", addr)
		}
		if err := l.reach(old); err == nil {
			return fmt.Errorf("packets from %v are answered", old)
		}
		return nil
	})
}
