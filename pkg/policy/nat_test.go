// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// natRangeOf is the text of a struct nat_range.
func natRangeOf(rng []byte, v6 bool) string {
	addr := func(b []byte) netip.Addr {
		if v6 {
			return netip.AddrFrom16([16]byte(b))
		}
		return netip.AddrFrom4([4]byte(b))
	}
	return fmt.Sprintf("%v-%v:%d-%d", addr(rng), addr(rng[natAddrLen:]), binary.BigEndian.Uint16(rng[2*natAddrLen:]), binary.BigEndian.Uint16(rng[2*natAddrLen+2:]))
}

// TestNATStatements: what each statement asks for, and of which packets.
func TestNATStatements(t *testing.T) {
	const address, ports = uint32(nft.NATAddress), uint32(nft.NATPorts)
	for _, tt := range []struct {
		hook, rule string
		packet     packet
		flags      uint32
		rng        string // "": not looked at
	}{
		{"prerouting", "dnat ip to 10.0.0.1", lanSSH, address, "10.0.0.1-10.0.0.1:0-0"},
		{"prerouting", "dnat ip to 10.0.0.1", lan6, 0, ""},
		{"prerouting", "dnat ip6 to fd00::1", lan6, address, "fd00::1-fd00::1:0-0"},
		{"prerouting", "dnat ip6 to fd00::1", lanSSH, 0, ""},
		{"prerouting", "tcp dport 22 dnat ip to 10.0.0.1:80", lanSSH, address | ports, "10.0.0.1-10.0.0.1:80-80"},
		{"prerouting", "tcp dport 23 dnat ip to 10.0.0.1:80", lanSSH, 0, ""},
		{"prerouting", "tcp dport 22 dnat ip to 10.0.0.1-10.0.0.9:80-90 random", lanSSH, address | ports | uint32(nft.NATRandom), "10.0.0.1-10.0.0.9:80-90"},
		{"prerouting", "meta l4proto { tcp, udp } dnat to :80", lanSSH, ports, "0.0.0.0-0.0.0.0:80-80"},
		{"prerouting", "dnat ip prefix to 10.1.0.0/16", lanSSH, address | uint32(nft.NATPrefix), "10.1.0.0-10.1.255.255:0-0"},
		{"prerouting", "dnat ip to tcp dport map { 22 : 10.0.0.7, 80 : 10.0.0.8 }", lanSSH, address, "10.0.0.7-10.0.0.7:0-0"},
		{"prerouting", "dnat ip to tcp dport map { 23 : 10.0.0.7 . 80, 22 : 10.0.0.8 . 2222 }", lanSSH, address | ports, "10.0.0.8-10.0.0.8:2222-2222"},
		{"postrouting", "snat ip prefix to ip saddr map { 192.168.0.0/16 : 10.9.0.0/16 }", lanSSH, address | uint32(nft.NATPrefix), "10.9.0.0-10.9.255.255:0-0"},
		{"prerouting", "redirect", lan6, natRedirect, ""},
		{"prerouting", "tcp dport 22 redirect to :2222 persistent", lanSSH, natRedirect | ports | uint32(nft.NATPersistent), "0.0.0.0-0.0.0.0:2222-2222"},
		{"prerouting", "redirect", lanSSH, natRedirect, ""},
		{"prerouting", "accept", lanSSH, 0, ""},
		{"output", "dnat ip to 10.0.0.1", lanSSH, address, "10.0.0.1-10.0.0.1:0-0"},
		{"output", "tcp dport 22 redirect to :2222", lanSSH, natRedirect | ports, "0.0.0.0-0.0.0.0:2222-2222"},
		{"input", "snat ip to 10.0.0.1 persistent", lanSSH, address | uint32(nft.NATPersistent), "10.0.0.1-10.0.0.1:0-0"},
		{"postrouting", "snat ip6 to fd00::1-fd00::9", lan6, address, "fd00::1-fd00::9:0-0"},
		{"postrouting", "masquerade", lan6, natMasquerade, ""},
		{"postrouting", "tcp dport 22 masquerade to :1024-2047 fully-random", lanSSH, natMasquerade | ports | uint32(nft.NATFullyRandom), "0.0.0.0-0.0.0.0:1024-2047"},
	} {
		h := newHarness(t, compile(t, fmt.Sprintf(`table inet t { chain c { type nat hook %s priority 0; policy accept; %s
			}
			chain later { type nat hook %s priority 10; policy accept; counter
			}
			}`, tt.hook, tt.rule, tt.hook)))
		r := h.run("policy_"+tt.hook+"_nat", &tt.packet)
		want := tt.flags
		if want != 0 {
			want |= natStatement
		}
		later, _ := h.counter(2)
		if !r.accept || r.nat != want || later != 0 != (want == 0) {
			t.Errorf("%s: %s: accept %v, flags %#x, want %#x; the next chain has seen %d packets", tt.hook, tt.rule, r.accept, r.nat, want, later)
		}
		if got := natRangeOf(r.rng, tt.packet.src == lan6.src); tt.rng != "" && got != tt.rng {
			t.Errorf("%s: %s: %s, want %s", tt.hook, tt.rule, got, tt.rng)
		}
	}
}

// TestNATDrop: a NAT chain drops by rule and by policy.
func TestNATDrop(t *testing.T) {
	h := newHarness(t, compile(t, `table ip t { chain c { type nat hook prerouting priority 0; policy drop;
		tcp dport 22 accept
		udp dport 53 return
		}
		}
	`))
	if r := h.run("policy_prerouting_nat", &lanSSH); !r.accept {
		t.Error("accepted by a rule, and dropped")
	}
	if r := h.run("policy_prerouting_nat", &wanDNS); r.accept || r.rule.Text != "policy drop" {
		t.Errorf("returned: %+v", r)
	}
	if r := h.run("policy_prerouting_nat", &lan6); !r.accept {
		t.Error("of another family, and dropped")
	}
}

// TestNATOutput: lo has programs where rules can send the router's own packets to the router.
func TestNATOutput(t *testing.T) {
	for rules, want := range map[string]bool{
		"chain c { type nat hook output priority -100; policy accept; redirect\n}":                              true,
		"chain d { dnat to 10.0.0.1\n}\nchain c { type nat hook output priority -100; policy accept; jump d\n}": true,
		"chain c { type nat hook output priority -100; policy accept; counter\n}":                               false,
		"chain c { type nat hook prerouting priority -100; policy accept; redirect\n}":                          false,
		"chain c { type nat hook postrouting priority 100; policy accept; masquerade\n}":                        false,
	} {
		if p := compile(t, "table ip t { "+rules+"\n}\n"); p.nat&natOutput != 0 != want {
			t.Errorf("%s: %v", rules, !want)
		}
	}
}

// TestRoutePhase: lo has programs for chains of the type route.
func TestRoutePhase(t *testing.T) {
	for kind, want := range map[string]bool{"route": true, "filter": false} {
		p := compile(t, "table ip t { chain c { type "+kind+" hook output priority 0; policy accept; meta mark set 1\n}\n}\n")
		if p.Phases&phaseRoute != 0 != want {
			t.Errorf("%s: %#x", kind, p.Phases)
		}
	}
}
