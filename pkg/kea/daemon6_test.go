// SPDX-License-Identifier: GPL-2.0-only

package kea_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/kea"
)

const client6Script = `#!/bin/sh
echo "$reason $new_ip6_address $new_ip6_prefix dns=$new_dhcp6_name_servers search=$new_dhcp6_domain_search" >>%s
`

// lan6 makes a LAN whose link-local addresses can be used, with a client, and returns what runs commands there.
func lan6(t *testing.T) (client func(args ...string) []string) {
	t.Helper()
	servicetest.Need(t, "kea-dhcp6", "dhclient")
	client = servicetest.Neighbour(t, "kea6", "br0", "eth0")
	places := map[string]func(...string) []string{
		"br0":  func(args ...string) []string { return args },
		"eth0": client,
	}
	// Without a search for others that have them.
	for link, there := range places {
		servicetest.Run(t, there("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/"+link+"/accept_dad")...)
		servicetest.Run(t, there("ip", "link", "set", link, "down")...)
		servicetest.Run(t, there("ip", "link", "set", link, "up")...)
	}
	for link, there := range places {
		servicetest.Eventually(t, func() error {
			if out := servicetest.Run(t, there("ip", "-6", "addr", "show", "dev", link, "scope", "link", "-tentative")...); !strings.Contains(out, "fe80:") {
				return fmt.Errorf("%s has no link-local address: %s", link, out)
			}
			return nil
		})
	}
	return client
}

// asks has a client ask by an option of dhclient until it is told what is wanted.
func asks(t *testing.T, client func(args ...string) []string, option, want string) {
	t.Helper()
	dhclient := servicetest.Program(t, "dhclient")
	dir := servicetest.Dir(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"conf": "", "events": "", "script": fmt.Sprintf(client6Script, file("events"))} {
		if err := os.WriteFile(file(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	argv := client(dhclient, "-6", option, "-d", "-cf", file("conf"), "-lf", file("leases"), "-pf", file("pid"), "-sf", file("script"), "eth0")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	servicetest.Eventually(t, func() error {
		b, err := os.ReadFile(file("events"))
		if err == nil && !(strings.Contains(string(b), want) && strings.Contains(string(b), "dns=fd00::1 search=home.arpa.")) {
			err = fmt.Errorf("with %s: %q, want %s", option, b, want)
		}
		return err
	})
}

// TestDHCPv6: a client gets an address, another one a prefix for a network of its own.
func TestDHCPv6(t *testing.T) {
	client := lan6(t)
	servicetest.Run(t, "ip", "addr", "add", "fd00::1/64", "dev", "br0", "nodad")
	h := servicetest.NewHost(t, kea.New(6))
	leases := filepath.Join(h.Dir, "kea", "leases6.csv")
	h.Must(fmt.Sprintf(`
network: {lan: {interface: br0, addresses: ["fd00::1/64"], domain: home.arpa}}
services:
  kea_dhcp6:
    mode: child
    binary: %s
    lease_file: %s
    pools: ["fd00::1000-fd00::1fff"]
    delegate: [{prefix: "2001:db8:1000::/40", length: 56}]
`, servicetest.Program(t, "kea-dhcp6"), leases))
	asks(t, client, "-N", "BOUND6 fd00::1")
	asks(t, client, "-P", "BOUND6  2001:db8:10")

	list, err := kea.ReadFile(leases)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	if p := list[0].Prefix; p.Bits() != 56 || !netip.MustParsePrefix("2001:db8:1000::/40").Contains(p.Addr()) || list[0].DUID == "" {
		t.Errorf("a prefix: %+v", list[0])
	}
	if p := list[1].Prefix; !p.IsSingleIP() || !netip.MustParsePrefix("fd00::/64").Contains(p.Addr()) {
		t.Errorf("an address: %+v", list[1])
	}
	if s := h.Status("kea-dhcp6"); s.Error != "" || s.Detail != "1 of 4096 addresses" {
		t.Errorf("status: %+v", s)
	}
}

// TestDelegatedPrefix: clients get addresses of what the provider delegates, and prefixes of what the router does not use,
// and others when another prefix is delegated; the process stays the same.
func TestDelegatedPrefix(t *testing.T) {
	client := lan6(t)
	h := servicetest.NewHost(t, kea.New(6))
	leases := filepath.Join(h.Dir, "kea", "leases6.csv")
	text := fmt.Sprintf(`
network: {lan: {interface: br0, dns: ["fd00::1"], domain: home.arpa}}
services:
  kea_dhcp6:
    mode: child
    binary: %s
    lease_file: %s
    delegated: {pool: "::1000-::1fff", length: 60}
`, servicetest.Program(t, "kea-dhcp6"), leases)
	h.Must(text)
	before := h.Status("kea-dhcp6")
	if before.Error != "" || before.Detail != "0 of 0 addresses" {
		t.Errorf("before the delegation: %+v", before)
	}
	follows := func() {
		t.Helper()
		if left := h.Drift(text); len(left) != 0 {
			t.Fatalf("%+v", left)
		}
	}
	servicetest.Run(t, "ip", "route", "add", "unreachable", "2001:db8:100::/59")
	servicetest.Run(t, "ip", "addr", "add", "2001:db8:100:1::1/64", "dev", "br0", "nodad")
	follows()
	asks(t, client, "-N", "BOUND6 2001:db8:100:1::1")
	asks(t, client, "-P", "BOUND6  2001:db8:100:10::/60") // the other half

	servicetest.Run(t, "ip", "route", "del", "unreachable", "2001:db8:100::/59")
	servicetest.Run(t, "ip", "addr", "del", "2001:db8:100:1::1/64", "dev", "br0")
	servicetest.Run(t, "ip", "route", "add", "unreachable", "2001:db8:200::/59")
	servicetest.Run(t, "ip", "addr", "add", "2001:db8:200:11::1/64", "dev", "br0", "nodad")
	follows()
	asks(t, client, "-N", "BOUND6 2001:db8:200:11::1")
	asks(t, client, "-P", "BOUND6  2001:db8:200::/60")
	if s := h.Status("kea-dhcp6"); s.Error != "" || s.PID != before.PID {
		t.Errorf("%+v, and before %+v", s, before)
	}
}
