// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// inInput puts rules into an input chain that drops.
func inInput(rules string) string {
	return "table inet t {\n chain input {\n type filter hook input priority 0; policy drop;\n" + rules + "\n}\n}\n"
}

var (
	lanSSH  = packet{src: "192.168.1.7", dst: "192.168.1.1", proto: protoTCP, th: tcp(40000, 22, 2), iif: "br0", ct: ctNew, len: 60}
	wanDNS  = packet{src: "203.0.113.9", dst: "198.51.100.1", proto: protoUDP, th: udp(53, 3333), iif: "wan0", ct: ctEstablished, len: 200}
	lanPing = packet{src: "192.168.1.7", dst: "10.1.2.3", proto: protoICMP, th: icmp(8), iif: "br0", oif: "wan0", ct: ctNew, len: 84}
	lan6    = packet{src: "fd00::7", dst: "2001:db8::1", proto: protoTCP, th: tcp(40000, 443, 2), iif: "br0", oif: "wan0", ct: ctNew, len: 80}
	lanNS6  = packet{src: "fe80::7", dst: "ff02::1:ff00:1", proto: protoICMPv6, th: icmp(135), iif: "br0", ct: ctUntracked, len: 72, pkttype: 2}
)

// with returns a changed copy of a packet.
func with(p packet, change func(*packet)) packet {
	change(&p)
	return p
}

// Each rule is alone in a chain that drops; packets say whether it accepts.
func TestMatches(t *testing.T) {
	tests := []struct {
		rule    string
		sets    string
		accepts []packet
		drops   []packet
	}{
		{rule: "ip saddr 192.168.1.7", accepts: []packet{lanSSH}, drops: []packet{wanDNS, lan6}},
		{rule: "ip saddr != 192.168.1.7", accepts: []packet{wanDNS}, drops: []packet{lanSSH, lan6}},
		{rule: "ip saddr 192.0.0.0/8", accepts: []packet{lanSSH}, drops: []packet{wanDNS, lan6}},
		{rule: "ip saddr 192.160.0.0/12", accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: "ip saddr 192.168.0.0/16", accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: "ip saddr 192.168.1.0/24", accepts: []packet{lanSSH}, drops: []packet{wanDNS,
			with(lanSSH, func(p *packet) { p.src = "192.168.2.7" })}},
		{rule: "ip saddr 192.168.1.4/30", accepts: []packet{lanSSH}, drops: []packet{
			with(lanSSH, func(p *packet) { p.src = "192.168.1.8" }),
			with(lanSSH, func(p *packet) { p.src = "192.168.1.3" })}},
		{rule: "ip saddr 192.168.1.6-192.168.1.8", accepts: []packet{lanSSH}, drops: []packet{
			with(lanSSH, func(p *packet) { p.src = "192.168.1.5" }),
			with(lanSSH, func(p *packet) { p.src = "192.168.1.9" }),
			with(lanSSH, func(p *packet) { p.src = "192.168.2.7" })}},
		{rule: "ip saddr != 192.168.1.6-192.168.1.8", drops: []packet{lanSSH}, accepts: []packet{
			with(lanSSH, func(p *packet) { p.src = "192.168.1.5" })}},
		{rule: "ip daddr { 10.0.0.0/8, 192.168.1.0/24 }", accepts: []packet{lanSSH, lanPing}, drops: []packet{wanDNS}},
		{rule: "ip daddr != { 10.0.0.0/8, 192.168.1.0/24 }", drops: []packet{lanSSH, lanPing, lan6}, accepts: []packet{wanDNS}},
		{rule: "ip6 saddr fd00::/64", accepts: []packet{lan6}, drops: []packet{lanSSH, lanNS6}},
		{rule: "ip6 saddr fe80::/10", accepts: []packet{lanNS6}, drops: []packet{lan6}},
		{rule: "ip6 saddr fd00::7", accepts: []packet{lan6}, drops: []packet{
			with(lan6, func(p *packet) { p.src = "fd00::8" }),
			with(lan6, func(p *packet) { p.src = "fd00:0:0:1::7" })}},
		{rule: "ip6 saddr fd00::5-fd00::9", accepts: []packet{lan6}, drops: []packet{
			with(lan6, func(p *packet) { p.src = "fd00::a" }),
			with(lan6, func(p *packet) { p.src = "fd00::4" }),
			with(lan6, func(p *packet) { p.src = "fd00:0:0:1::7" })}},
		{rule: "ip6 saddr fd00::5-fd00:0:0:2::9", accepts: []packet{lan6,
			with(lan6, func(p *packet) { p.src = "fd00:0:0:1::" }),
			with(lan6, func(p *packet) { p.src = "fd00:0:0:2::9" })}, drops: []packet{
			with(lan6, func(p *packet) { p.src = "fd00::4" }),
			with(lan6, func(p *packet) { p.src = "fd00:0:0:2::a" })}},
		{rule: "ip6 daddr { ::1, 2001:db8::/32, fe80::/10 }", accepts: []packet{lan6,
			with(lan6, func(p *packet) { p.dst = "::1" }),
			with(lan6, func(p *packet) { p.dst = "febf::1" })}, drops: []packet{lanNS6,
			with(lan6, func(p *packet) { p.dst = "::2" }),
			with(lan6, func(p *packet) { p.dst = "::" }),
			with(lan6, func(p *packet) { p.dst = "fec0::1" })}},
		{rule: "tcp dport 22", accepts: []packet{lanSSH}, drops: []packet{wanDNS, lan6, lanPing}},
		{rule: "tcp dport != 22", accepts: []packet{lan6}, drops: []packet{lanSSH, wanDNS}},
		{rule: "tcp dport 400-500", accepts: []packet{lan6}, drops: []packet{lanSSH}},
		{rule: "tcp dport > 22", accepts: []packet{lan6}, drops: []packet{lanSSH}},
		{rule: "tcp dport >= 22", accepts: []packet{lan6, lanSSH}},
		{rule: "tcp dport < 443", accepts: []packet{lanSSH}, drops: []packet{lan6}},
		{rule: "tcp dport <= 443", accepts: []packet{lanSSH, lan6}, drops: []packet{with(lan6, func(p *packet) { p.th = tcp(1, 444, 0) })}},
		{rule: "tcp dport { 1, 2, 3, 5, 8, 13, 21, 22, 34, 55, 443 }", accepts: []packet{lanSSH, lan6}, drops: []packet{
			with(lan6, func(p *packet) { p.th = tcp(1, 444, 0) }), with(lan6, func(p *packet) { p.th = tcp(1, 4, 0) })}},
		{rule: "tcp dport { 1-5, 10-15, 20-25, 30-35, 40-45, 443-500 }", accepts: []packet{lanSSH, lan6}, drops: []packet{
			with(lan6, func(p *packet) { p.th = tcp(1, 442, 0) }), with(lan6, func(p *packet) { p.th = tcp(1, 26, 0) }),
			with(lan6, func(p *packet) { p.th = tcp(1, 501, 0) })}},
		{rule: "meta l4proto { tcp, udp } th dport 22", accepts: []packet{lanSSH}, drops: []packet{lan6, lanPing}},
		// A header that is cut off does not match, whatever is asked.
		{rule: "tcp dport != 1", accepts: []packet{lanSSH}, drops: []packet{with(lanSSH, func(p *packet) { p.th = p.th[:3] })}},
		{rule: "tcp flags & (syn | rst) == syn", accepts: []packet{lanSSH}, drops: []packet{
			with(lanSSH, func(p *packet) { p.th = tcp(1, 22, 0x06) }), with(lanSSH, func(p *packet) { p.th = tcp(1, 22, 0x10) })}},
		{rule: "tcp flags & (fin | syn | rst | psh | ack | urg) == fin | syn | rst | psh | ack | urg", drops: []packet{lanSSH},
			accepts: []packet{with(lanSSH, func(p *packet) { p.th = tcp(1, 22, 0x3f) })}},
		{rule: "tcp flags syn", accepts: []packet{lanSSH}, drops: []packet{with(lanSSH, func(p *packet) { p.th = tcp(1, 22, 0x10) })}},
		{rule: "icmp type echo-request", accepts: []packet{lanPing}, drops: []packet{lanNS6, with(lanPing, func(p *packet) { p.th = icmp(0) })}},
		{rule: "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }", accepts: []packet{lanNS6}, drops: []packet{lanPing,
			with(lanNS6, func(p *packet) { p.th = icmp(137) })}},
		{rule: "ip frag-off & 0x1fff != 0", drops: []packet{lanSSH, lan6, with(lanSSH, func(p *packet) { p.fragOff = 0x4000 })},
			accepts: []packet{with(lanSSH, func(p *packet) { p.fragOff = 0x2001 })}},
		{rule: "ip dscp cs2", drops: []packet{lanSSH}, accepts: []packet{with(lanSSH, func(p *packet) { p.tos = 0x43 })}},
		{rule: "ip6 dscp cs2", drops: []packet{lan6}, accepts: []packet{with(lan6, func(p *packet) { p.tos = 0x43 })}},
		{rule: "ip protocol udp", accepts: []packet{wanDNS}, drops: []packet{lanSSH, lan6}},
		{rule: "meta nfproto ipv6", accepts: []packet{lan6}, drops: []packet{lanSSH}},
		{rule: "meta protocol ip", accepts: []packet{lanSSH}, drops: []packet{lan6}},
		{rule: "meta mark 0x10", accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x10 })}, drops: []packet{lanSSH}},
		{rule: "meta mark and 0xff0000 == 0x120000", accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x55123456 })},
			drops: []packet{lanSSH, with(lanSSH, func(p *packet) { p.mark = 0x00003412 })}},
		{rule: "meta mark > 0x100", accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x101 })},
			drops: []packet{with(lanSSH, func(p *packet) { p.mark = 0xff })}},
		{rule: "meta mark 0x100-0x2ff", accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x201 })},
			drops: []packet{with(lanSSH, func(p *packet) { p.mark = 0x300 })}},
		{rule: "meta length 61-200", accepts: []packet{wanDNS, lan6}, drops: []packet{lanSSH}},
		{rule: "meta pkttype multicast", accepts: []packet{lanNS6}, drops: []packet{lanSSH}},
		{rule: "ct state new", accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: "ct state established,related", accepts: []packet{wanDNS}, drops: []packet{lanSSH}},
		{rule: "ct state != { new, untracked }", accepts: []packet{wanDNS}, drops: []packet{lanSSH, lanNS6}},
		{rule: "ct state ! invalid", accepts: []packet{wanDNS}, drops: []packet{with(wanDNS, func(p *packet) { p.ct = ctInvalid })}},
		{rule: `iif "br0"`, accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: `iifname "br0"`, accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: `iifname != "br0"`, accepts: []packet{wanDNS, with(wanDNS, func(p *packet) { p.iif = "" })}, drops: []packet{lanSSH}},
		{rule: `iifname "absent0"`, drops: []packet{lanSSH, with(wanDNS, func(p *packet) { p.iif = "" })}},
		{rule: `iifname != "absent0"`, accepts: []packet{lanSSH}},
		{rule: `iifname "hs*"`, accepts: []packet{with(lanSSH, func(p *packet) { p.iif = "hs1" })}, drops: []packet{lanSSH}},
		{rule: `iifname { "br0", "hs*", "absent0" }`, accepts: []packet{lanSSH, with(lanSSH, func(p *packet) { p.iif = "hs0" })}, drops: []packet{wanDNS}},
		// Nothing leaves at this hook.
		{rule: `oifname != "wan0"`, accepts: []packet{lanSSH}},
		{rule: `oif 0`, accepts: []packet{lanSSH}},
		{rule: `oifname "wan0"`, drops: []packet{lanSSH}},
		{rule: "ip saddr . tcp dport { 192.168.1.7 . 22, 10.0.0.1 . 80 }", accepts: []packet{lanSSH}, drops: []packet{
			with(lanSSH, func(p *packet) { p.th = tcp(1, 80, 0) }), with(lanSSH, func(p *packet) { p.src = "10.0.0.1" })}},
		{rule: "ip saddr . tcp dport { 192.168.1.0/24 . 20-30, 10.0.0.1 . 80 }", accepts: []packet{lanSSH}, drops: []packet{
			with(lanSSH, func(p *packet) { p.th = tcp(1, 31, 0) }), with(lanSSH, func(p *packet) { p.src = "192.168.2.1" })}},
		{rule: `iifname . ip saddr { "br0" . 192.168.1.7, "absent0" . 203.0.113.9 }`, accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: "ip saddr @s", sets: "set s { type ipv4_addr; flags constant, interval; elements = { 0.0.0.0/8, 192.168.0.0/16, 224.0.0.0/3 }; }",
			accepts: []packet{lanSSH, with(lanSSH, func(p *packet) { p.src = "255.255.255.255" }), with(lanSSH, func(p *packet) { p.src = "0.0.0.0" })},
			drops:   []packet{wanDNS, with(lanSSH, func(p *packet) { p.src = "223.255.255.255" }), with(lanSSH, func(p *packet) { p.src = "192.169.0.0" })}},
		// Sets that can change are maps.
		{rule: "ip saddr @s", sets: "set s { type ipv4_addr; elements = { 192.168.1.7 }; }", accepts: []packet{lanSSH}, drops: []packet{wanDNS, lan6}},
		{rule: "ip saddr != @s", sets: "set s { type ipv4_addr; elements = { 192.168.1.7 }; }", accepts: []packet{wanDNS}, drops: []packet{lanSSH, lan6}},
		{rule: "ip6 saddr @s", sets: "set s { type ipv6_addr; elements = { fd00::7 }; }", accepts: []packet{lan6}, drops: []packet{lanNS6}},
		{rule: "ip saddr @s", sets: "set s { type ipv4_addr; flags interval; elements = { 192.168.1.3-192.168.1.9, 224.0.0.0/3 }; }",
			accepts: []packet{lanSSH, with(lanSSH, func(p *packet) { p.src = "192.168.1.3" }), with(lanSSH, func(p *packet) { p.src = "192.168.1.9" })},
			drops:   []packet{with(lanSSH, func(p *packet) { p.src = "192.168.1.2" }), with(lanSSH, func(p *packet) { p.src = "192.168.1.10" })}},
		{rule: "ip6 saddr @s", sets: "set s { type ipv6_addr; flags interval; elements = { fd00::/64, 2001:db8::5-2001:db8::6 }; }",
			accepts: []packet{lan6, with(lan6, func(p *packet) { p.src = "2001:db8::6" })},
			drops:   []packet{lanNS6, with(lan6, func(p *packet) { p.src = "2001:db8::7" })}},
		{rule: "tcp dport @s", sets: "set s { type inet_service; flags interval; elements = { 20-25 }; }", accepts: []packet{lanSSH}, drops: []packet{lan6, wanDNS}},
		{rule: "tcp dport @s", sets: "set s { type inet_service; elements = { 22 }; }", accepts: []packet{lanSSH}, drops: []packet{lan6}},
		{rule: "ip saddr . tcp dport @s", sets: "set s { type ipv4_addr . inet_service; elements = { 192.168.1.7 . 22 }; }",
			accepts: []packet{lanSSH}, drops: []packet{with(lanSSH, func(p *packet) { p.th = tcp(1, 23, 0) })}},
		{rule: "ip6 saddr . tcp dport . meta mark @s", sets: "set s { type ipv6_addr . inet_service . mark; elements = { fd00::7 . 443 . 0x7 }; }",
			accepts: []packet{with(lan6, func(p *packet) { p.mark = 7 })}, drops: []packet{lan6}},
		{rule: "ip saddr . tcp dport @s", sets: "set s { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 1-2, 192.168.0.0/16 . 20-25 }; }",
			accepts: []packet{lanSSH}, drops: []packet{with(lanSSH, func(p *packet) { p.th = tcp(1, 26, 0) }), wanDNS}},
		{rule: "iifname @s", sets: `set s { type ifname; flags interval; elements = { "br*", "hs0" }; }`,
			accepts: []packet{lanSSH, with(lanSSH, func(p *packet) { p.iif = "hs0" })}, drops: []packet{wanDNS}},
		{rule: "iifname @s", sets: `set s { type ifname; elements = { "br0", "absent0" }; }`, accepts: []packet{lanSSH}, drops: []packet{wanDNS}},
		{rule: "iifname . tcp dport @s", sets: `set s { type ifname . inet_service; elements = { "br0" . 22 }; }`, accepts: []packet{lanSSH}, drops: []packet{wanDNS, lan6}},
		{rule: "meta mark @s", sets: "set s { type mark; elements = { 0x1234 }; }", accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x1234 })}, drops: []packet{lanSSH}},
		{rule: "meta mark @s", sets: "set s { type mark; flags interval; elements = { 0x1200-0x12ff }; }",
			accepts: []packet{with(lanSSH, func(p *packet) { p.mark = 0x1234 })}, drops: []packet{lanSSH, with(lanSSH, func(p *packet) { p.mark = 0x3412 })}},
		{rule: "icmp type @s", sets: "set s { type icmp_type; elements = { echo-request }; }", accepts: []packet{lanPing}, drops: []packet{lanSSH}},
	}
	for _, tt := range tests {
		t.Run(strings.TrimSpace(tt.rule+" "+tt.sets), func(t *testing.T) {
			p := compile(t, "table inet t {\n"+tt.sets+"\nchain input {\ntype filter hook input priority 0; policy drop;\n"+tt.rule+" accept\n}\n}\n")
			h := newHarness(t, p)
			check := func(pk packet, want bool) {
				t.Helper()
				r := h.run("policy_input", &pk)
				if r.accept != want {
					t.Errorf("%+v: accepted %v, want %v", pk, r.accept, want)
				}
				// Index 0 is the rule, 1 the policy.
				if wantRule := map[bool]uint32{true: 0, false: 1}[want]; r.rule.Index != wantRule {
					t.Errorf("%+v: counted last at %q", pk, r.rule.Text)
				}
			}
			for _, pk := range tt.accepts {
				check(pk, true)
			}
			for _, pk := range tt.drops {
				check(pk, false)
			}
		})
	}
}

func TestChains(t *testing.T) {
	type want struct {
		packet packet
		accept bool
		rule   string // the last that counted
	}
	tests := []struct {
		name     string
		ruleset  string
		function string
		want     []want
	}{
		{
			name: "accept ends the base chain, the next one of the hook goes on by priority",
			ruleset: `table inet a { chain late { type filter hook input priority 10; policy accept; tcp dport 22 drop comment "late"
				}
}
				table inet b { chain early { type filter hook input priority -10; policy drop; accept comment "early"
				}
}`,
			function: "policy_input",
			want: []want{
				{lanSSH, false, `tcp dport 22 drop comment "late"`},
				{wanDNS, true, "policy accept"},
			},
		},
		{
			name: "drop is final",
			ruleset: `table inet a { chain late { type filter hook input priority 10; accept comment "late"
				}
}
				table inet b { chain early { type filter hook input priority -10; policy drop;
				}
}`,
			function: "policy_input",
			want:     []want{{lanSSH, false, "policy drop"}},
		},
		{
			name: "a chain returns behind the jump",
			ruleset: `table inet t { chain x { udp dport 3333 accept comment "in x"
				return
				accept comment "dead"
				}
				}
				` + inInput(`jump x
				tcp dport 22 accept comment "behind"`),
			function: "policy_input",
			want: []want{
				{lanSSH, true, `tcp dport 22 accept comment "behind"`},
				{wanDNS, true, `udp dport 3333 accept comment "in x"`},
				{lanPing, false, "policy drop"},
			},
		},
		{
			name: "a chain that was gone to does not come back",
			ruleset: `table inet t { chain x { udp dport 3333 accept comment "in x"
				}
				}
				` + inInput(`goto x
				accept comment "dead"`),
			function: "policy_input",
			want: []want{
				{lanSSH, false, "policy drop"},
				{wanDNS, true, `udp dport 3333 accept comment "in x"`},
			},
		},
		{
			name: "a jump's goto returns to the first chain",
			ruleset: `table inet t {
				chain y { udp dport 3333 accept comment "in y"
				}
				chain x { goto y
				accept comment "dead"
				}
				}
				` + inInput(`jump x
				tcp dport 22 accept comment "behind"`),
			function: "policy_input",
			want: []want{
				{lanSSH, true, `tcp dport 22 accept comment "behind"`},
				{wanDNS, true, `udp dport 3333 accept comment "in y"`},
				{lanPing, false, "policy drop"},
			},
		},
		{
			name:     "return from a base chain is its policy",
			ruleset:  inInput("tcp dport 22 return\naccept"),
			function: "policy_input",
			want: []want{
				{lanSSH, false, "policy drop"},
				{wanDNS, true, "accept"},
			},
		},
		{
			name: "ip and ip6 tables see only their packets",
			ruleset: `table ip a { chain c { type filter hook forward priority 0; policy drop; tcp dport 22 accept
				}
}
				table ip6 b { chain c { type filter hook forward priority 0; policy accept; tcp dport 443 drop
				}
}`,
			function: "policy_forward",
			want: []want{
				{lanSSH, true, "tcp dport 22 accept"},
				{wanDNS, false, "policy drop"},
				{lan6, false, "tcp dport 443 drop"},
				{lanNS6, true, "policy accept"},
			},
		},
		{
			name: "raw chains are a function of their own",
			ruleset: `table inet t { chain r { type filter hook prerouting priority raw; policy accept; tcp dport 22 drop
				}
				chain m { type filter hook prerouting priority mangle; policy accept; accept comment "mangle"
				}
}`,
			function: "policy_prerouting_raw",
			want: []want{
				{lanSSH, false, "tcp dport 22 drop"},
				{wanDNS, true, "policy accept"},
			},
		},
		{
			name:     "a function without a chain accepts",
			ruleset:  inInput("drop"),
			function: "policy_forward",
			want:     []want{{lanSSH, true, ""}},
		},
		{
			name:     "a dormant table does nothing",
			ruleset:  "table inet t { flags dormant; chain input { type filter hook input priority 0; policy drop;\n}\n}",
			function: "policy_input",
			want:     []want{{lanSSH, true, ""}},
		},
		{
			name:     "a rule without a verdict counts and goes on",
			ruleset:  inInput("tcp dport 22 counter\n"),
			function: "policy_input",
			want:     []want{{lanSSH, false, "policy drop"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t, compile(t, tt.ruleset))
			for _, w := range tt.want {
				r := h.run(tt.function, &w.packet)
				if r.accept != w.accept || r.rule.Text != w.rule {
					t.Errorf("%+v: accepted %v at %q, want %v at %q", w.packet, r.accept, r.rule.Text, w.accept, w.rule)
				}
			}
		})
	}
}

// A chain with many rules that several others jump to is one function, which
// the kernel verifies once, and does what it would do in their place.
func TestChainFunctions(t *testing.T) {
	var shared strings.Builder
	for port := range 20 {
		fmt.Fprintf(&shared, "tcp dport %d drop\n", 1000+port)
	}
	p := compile(t, `table inet t {
		chain shared {
			`+shared.String()+`
			tcp dport 22 accept
			tcp dport 23 return
			tcp dport 24 goto last
		}
		chain last { iifname "br0" accept
		}
		chain a { type filter hook input priority 0; policy drop;
			iifname "wan0" jump shared
			jump shared
			tcp dport 23 accept comment "behind"
			tcp dport 24 accept comment "behind 24"
		}
		chain b { type filter hook input priority 1; policy accept;
			goto shared
		}
	}`)
	if n := len(p.chains); n != 4 {
		t.Fatalf("%d chains", n)
	}
	functions := 0
	for _, ch := range p.chains {
		if ch.function != "" {
			functions++
		}
	}
	if functions != 1 {
		t.Errorf("%d chains are functions, want 1", functions)
	}
	h := newHarness(t, p)
	for _, tt := range []struct {
		port   uint16
		iif    string
		accept bool
		rule   string
	}{
		{22, "br0", true, "tcp dport 22 accept"},
		{1005, "br0", false, "tcp dport 1005 drop"},
		{1019, "wan0", false, "tcp dport 1019 drop"},
		{23, "br0", true, "policy accept"},
		{24, "br0", true, `iifname "br0" accept`},
		{24, "wan0", true, "policy accept"},
		{25, "wan0", false, "policy drop"},
	} {
		pk := with(lanSSH, func(p *packet) { p.th = tcp(1, tt.port, 2); p.iif = tt.iif })
		if r := h.run("policy_input", &pk); r.accept != tt.accept || r.rule.Text != tt.rule {
			t.Errorf("port %d from %s: accepted %v at %q, want %v at %q", tt.port, tt.iif, r.accept, r.rule.Text, tt.accept, tt.rule)
		}
	}
}

// More rules than a function can hold: jumps reach 32767 instructions.
func TestLongChain(t *testing.T) {
	const n = 4000
	var rules strings.Builder
	for i := range n {
		fmt.Fprintf(&rules, "ip saddr 192.168.%d.%d tcp dport %d accept\n", i/256, i%256, 1+i)
	}
	start := time.Now()
	p := compile(t, inInput(rules.String()))
	h := newHarness(t, p)
	t.Logf("%d rules compiled and loaded in %v", n, time.Since(start))
	for _, i := range []int{0, 1, 1000, 1999, n - 1} {
		pk := with(lanSSH, func(p *packet) {
			p.src, p.th = fmt.Sprintf("192.168.%d.%d", i/256, i%256), tcp(1, uint16(1+i), 2)
		})
		if r := h.run("policy_input", &pk); !r.accept || r.rule.Index != uint32(i) {
			t.Errorf("packet of rule %d: accepted %v at rule %d", i, r.accept, r.rule.Index)
		}
	}
	if r := h.run("policy_input", &wanDNS); r.accept || r.rule.Text != "policy drop" {
		t.Errorf("other packet: accepted %v at %q", r.accept, r.rule.Text)
	}
}

func TestMasquerade(t *testing.T) {
	h := newHarness(t, compile(t, `table ip nat {
			chain post { type nat hook postrouting priority srcnat; policy accept;
				ip daddr 10.1.2.3 accept
				oifname "wan0" counter masquerade
			}
			chain later { type nat hook postrouting priority 110; policy accept;
				counter comment "later"
			}
		}`))
	toWAN := with(lanPing, func(p *packet) { p.dst = "198.51.100.1" })
	if r := h.run("policy_postrouting_nat", &toWAN); !r.accept || r.nat != natMasquerade|natStatement || r.rule.Text != `oifname "wan0" counter masquerade` {
		t.Errorf("to the WAN: %+v", r)
	}
	// Accepted without a translation: the next NAT chain is asked.
	if r := h.run("policy_postrouting_nat", &lanPing); !r.accept || r.nat != 0 || r.rule.Text != "policy accept" {
		t.Errorf("excepted: %+v", r)
	}
	if r := h.run("policy_postrouting_nat", &lan6); !r.accept || r.nat != 0 || r.rule.Text != "" {
		t.Errorf("IPv6: %+v", r)
	}
	later := h.p.Rules[3]
	if n, _ := h.counter(later.Index); later.Text != `counter comment "later"` || n != 1 {
		t.Errorf("rule %q has counted %d packets, want 1", later.Text, n)
	}
}

// A counter counts where it stands; a rule without one behind its last match.
func TestCounters(t *testing.T) {
	h := newHarness(t, compile(t, inInput(`tcp dport 22 counter ct state established accept
		tcp dport 22 ct state established accept
		tcp dport 22 log prefix "x" accept`)))
	for range 3 {
		h.run("policy_input", &lanSSH)
	}
	for i, want := range []uint64{3, 0, 3, 0} {
		packets, bytes := h.counter(uint32(i))
		if packets != want || bytes != want*uint64(lanSSH.len) {
			t.Errorf("%q has counted %d packets with %d bytes, want %d", h.p.Rules[i].Text, packets, bytes, want)
		}
	}
	if l := h.p.Logs; len(l) != 1 || l[0].Prefix != "x" || l[0].Rule != 2 || l[0].Level != 4 {
		t.Errorf("logs %+v", l)
	}
}

func TestLimit(t *testing.T) {
	h := newHarness(t, compile(t, inInput(`tcp dport 22 limit rate 6/minute burst 4 packets accept
		udp dport 3333 limit rate over 6/minute burst 2 packets drop
		udp dport 3333 accept
		icmp type echo-request limit rate 100 bytes/hour burst 200 bytes accept`)))
	count := func(pk packet, n int) (accepted int) {
		for range n {
			if h.run("policy_input", &pk).accept {
				accepted++
			}
		}
		return accepted
	}
	if n := count(lanSSH, 10); n != 4 {
		t.Errorf("%d of 10 SSH packets accepted, want the burst of 4", n)
	}
	if n := count(wanDNS, 10); n != 2 {
		t.Errorf("%d of 10 UDP packets accepted, want the burst of 2", n)
	}
	// The bucket holds what an hour gives and the burst: 300 bytes.
	if n := count(lanPing, 10); n != 300/int(lanPing.len) {
		t.Errorf("%d of 10 pings accepted, want %d", n, 300/lanPing.len)
	}
}

func TestSetTimeouts(t *testing.T) {
	p := compile(t, `table inet t {
		set bad { type ipv4_addr; flags timeout; elements = { 192.168.1.7 timeout 1h, 10.7.7.7 timeout 1h expires 30m, 203.0.113.9 }; }
		set bad6 { type ipv6_addr; flags timeout, interval; timeout 2h; elements = { fd00::/64 }; }
	}
	`+inInput("ip saddr @bad drop\nip6 saddr @bad6 drop\naccept"))
	h := newHarness(t, p)
	expiring := with(lanSSH, func(p *packet) { p.src = "10.7.7.7" })
	now := Now()
	for _, tt := range []struct {
		packet packet
		after  time.Duration
		accept bool
	}{
		{lanSSH, 0, false},
		{lanSSH, 59 * time.Minute, false},
		{lanSSH, 61 * time.Minute, true},
		{expiring, 29 * time.Minute, false},
		{expiring, 31 * time.Minute, true},
		{wanDNS, 1000 * time.Hour, false},
		{lan6, 119 * time.Minute, false},
		{lan6, 121 * time.Minute, true},
	} {
		pk := with(tt.packet, func(p *packet) { p.now = now + uint64(tt.after) })
		if r := h.run("policy_input", &pk); r.accept != tt.accept {
			t.Errorf("%s after %v: accepted %v", pk.src, tt.after, r.accept)
		}
	}
}
