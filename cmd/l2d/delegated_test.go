// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/internal/wifitest"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

const delegatedRuleset = `table inet filter {
	set lan6 {
		type ipv6_addr
		flags interval
	}
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "br0" ip6 saddr @lan6 accept
	}
}
`

// delegatedLAN is a router with a LAN that has a client, and a WAN with a server.
type delegatedLAN struct {
	*host
	client, server string // their namespaces
}

const delegatedServer = "3fff:ffff::2"

func newDelegatedLAN(t *testing.T) *delegatedLAN {
	t.Helper()
	servicetest.Need(t, "radvd")
	l := &delegatedLAN{newHost(t), fmt.Sprintf("l2d-client-%d", os.Getpid()), fmt.Sprintf("l2d-server-%d", os.Getpid())}
	l.dir = servicetest.Dir(t)
	l.states = readStates(t, l.path("notify"))
	for _, ns := range []string{l.client, l.server} {
		servicetest.Run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { servicetest.Run(t, "ip", "netns", "del", ns) })
		servicetest.Run(t, l.in(ns, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.router_solicitation_interval=1")...)
	}
	if out, err := l.command("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.br0.accept_dad=0", "net.ipv6.conf.wan0.accept_dad=0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.ip("link", "set", "far0", "netns", l.server)
	l.ip("link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", l.client)
	l.ip("link", "set", "lan0", "master", "br0", "up")
	l.ip("link", "set", "lo", "up") // by which radvd answers its own host
	l.ip("link", "set", "br0", "up")
	l.ip("addr", "add", "fd00::1/64", "dev", "br0", "nodad")
	l.ip("addr", "add", "3fff:ffff::1/64", "dev", "wan0", "nodad")
	for _, args := range [][]string{
		{"addr", "add", delegatedServer + "/64", "dev", "far0", "nodad"},
		{"link", "set", "far0", "up"},
		{"route", "add", "3fff::/20", "via", "3fff:ffff::1"},
	} {
		servicetest.Run(t, append([]string{"ip", "-n", l.server}, args...)...)
	}
	servicetest.Run(t, "ip", "-n", l.client, "link", "set", "eth0", "up")
	return l
}

// in is a command in a namespace.
func (*delegatedLAN) in(ns string, args ...string) []string {
	return append([]string{"ip", "netns", "exec", ns}, args...)
}

// delegated gives the LAN a network, and takes another one from it, as a DHCPv6 client of the WAN's does.
func (l *delegatedLAN) delegated(network, before string) {
	l.t.Helper()
	if before != "" {
		l.ip("addr", "del", before+"1/64", "dev", "br0")
	}
	l.ip("addr", "add", network+"1/64", "dev", "br0", "nodad")
}

// address is the client's of a network; preferred are those that it uses for what begins.
func (l *delegatedLAN) address(network string, preferred bool) (netip.Addr, error) {
	args := []string{"ip", "-n", l.client, "-6", "-o", "addr", "show", "dev", "eth0", "to", network + "/64"}
	if preferred {
		args = append(args, "-deprecated")
	}
	for _, field := range strings.Fields(servicetest.Run(l.t, args...)) {
		if p, err := netip.ParsePrefix(field); err == nil {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the client has no address of %s/64: %s", network, servicetest.Run(l.t, "ip", "-n", l.client, "-6", "addr", "show", "dev", "eth0"))
}

// reach tells whether the server answers the client, which has the source that it chooses, or a certain one. Nobody
// listens there, which the answer says.
func (l *delegatedLAN) reach(from netip.Addr) error {
	return wifitest.Within(l.client, func() error {
		var d net.Dialer
		if from.IsValid() {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		c, err := d.Dial("udp6", netip.AddrPortFrom(netip.MustParseAddr(delegatedServer), 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte{0})
		err = errors.Join(err, c.SetReadDeadline(time.Now().Add(time.Second)))
		if err != nil {
			return err
		}
		if _, err = c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		return err
	})
}

// goesBy waits until the client's traffic has addresses of a network.
func (l *delegatedLAN) goesBy(network string) netip.Addr {
	l.t.Helper()
	var addr netip.Addr
	servicetest.Eventually(l.t, func() (err error) {
		if addr, err = l.address(network, true); err != nil {
			return err
		}
		if err := l.reach(netip.Addr{}); err != nil {
			return err
		}
		seen := errors.New("no flow from " + addr.String())
		filter := flow.Filter{OrigSrc: netip.PrefixFrom(addr, 128), OrigDst: netip.MustParsePrefix(delegatedServer + "/128")}
		err = l.host.client().Flows(l.t.Context(), filter, func(flow.Flow) error {
			seen = nil
			return nil
		})
		return errors.Join(err, seen)
	})
	return addr
}

// TestDelegatedPrefix: a network that the provider delegates reaches clients by the real radvd, and the firewall, without
// an apply; when it changes, their traffic has the new one, and the old one is nobody's. So it is with the example.
func TestDelegatedPrefix(t *testing.T) {
	example, err := os.ReadFile("../../examples/l2/firewall.nft")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.Replace(string(example), `define wan = "enp1s0"`, `define wan = "wan0"`, 1)
	for _, test := range []struct{ name, ruleset, set string }{{"own", delegatedRuleset, "lan6"}, {"example", here, "internal6"}} {
		t.Run(test.name, func(t *testing.T) { followDelegated(t, test.ruleset, test.set) })
	}
}

func followDelegated(t *testing.T, ruleset, set string) {
	l := newDelegatedLAN(t)
	l.write("firewall.nft", ruleset)
	config := l.withSets("  sets: [{set: inet filter " + set + ", interface: br0}]\n")
	l.write("l2d.yaml", config+fmt.Sprintf(`network: {lan: {interface: br0, addresses: ["fd00::1/64"]}}
services: {radvd: {mode: child, user: nobody, delegated: true, binary: %q}}
`, servicetest.Program(t, "radvd")))
	l.start()
	l.expect("READY=1")
	defer func() {
		l.write("l2d.yaml", config)
		if _, err := l.host.client().HostApply(t.Context(), api.HostOptions{}); err != nil {
			t.Error(err)
		}
	}()
	const first, second = "3fff:1::", "3fff:2::"
	l.delegated(first, "")
	old := l.goesBy(first)
	l.delegated(second, first)
	l.goesBy(second)

	if _, err := l.address(first, true); err == nil {
		t.Error("the client still prefers an address of the network before")
	}
	before := l.status().Dataplane.Stats["drop_policy"]
	if err := l.reach(old); err == nil {
		t.Error("packets from the network before are answered")
	}
	if l.status().Dataplane.Stats["drop_policy"] == before {
		t.Error("the firewall has not dropped packets from the network before")
	}
}
