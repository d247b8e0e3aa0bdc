// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// summary is a warning without handles: "kind: text <- text; text".
func summary(w Warning) string {
	var by []string
	for _, r := range w.By {
		by = append(by, r.Text)
	}
	return fmt.Sprintf("%s: %s <- %s", w.Kind, w.Rule.Text, strings.Join(by, "; "))
}

func TestLint(t *testing.T) {
	tests := []struct {
		name, sets, rules string
		want              []string
	}{
		{"all before", "", "accept\ntcp dport 22 drop", []string{"never-reached: tcp dport 22 drop <- accept"}},
		{"prefix in prefix", "", "ip saddr 10.0.0.0/8 drop\nip saddr 10.1.2.0/24 accept",
			[]string{"never-reached: ip saddr 10.1.2.0/24 accept <- ip saddr 10.0.0.0/8 drop"}},
		{"prefix around prefix", "", "ip saddr 10.1.2.0/24 drop\nip saddr 10.0.0.0/8 accept", nil},
		{"set in set", "set a { type ipv4_addr; flags constant, interval; elements = { 10.0.0.0/8, 192.168.0.0/16 }; }",
			"ip saddr @a drop\niifname \"br0\" ip saddr { 10.1.1.1, 192.168.7.7 } accept",
			[]string{`never-reached: iifname "br0" ip saddr { 10.1.1.1, 192.168.7.7 } accept <- ip saddr @a drop`}},
		{"set can change", "set a { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }",
			"ip saddr @a drop\nip saddr 10.1.1.1 accept", nil},
		{"same set that can change", "set a { type ipv4_addr; }", "ip saddr @a drop\nip saddr @a tcp dport 22 accept",
			[]string{"never-reached: ip saddr @a tcp dport 22 accept <- ip saddr @a drop"}},
		{"other direction", "", "ip daddr 10.0.0.0/8 drop\nip saddr 10.1.2.0/24 accept", nil},
		{"ports", "", "tcp dport 1-1023 drop\ntcp dport { 22, 80 } accept\ntcp dport { 22, 1024 } accept",
			[]string{"never-reached: tcp dport { 22, 80 } accept <- tcp dport 1-1023 drop"}},
		{"other protocol", "", "tcp dport 22 counter drop\nudp dport 22 accept", nil},
		{"negation", "", "iifname != \"lo\" drop\niifname \"br0\" accept",
			[]string{`never-reached: iifname "br0" accept <- iifname != "lo" drop`}},
		{"names", "", "iifname \"h*\" drop\niifname \"hs0\" accept\niifname \"br0\" accept",
			[]string{`never-reached: iifname "hs0" accept <- iifname "h*" drop`}},
		{"flow states", "", "ct state established,related accept\nct state related drop\nct state new accept",
			[]string{"never-reached: ct state related drop <- ct state established,related accept"}},
		{"flow states that are left", "", "ct state established accept\nct state established,related counter drop", nil},
		{"TCP flags", "", "tcp flags & (fin | syn) == fin | syn drop\ntcp flags & (fin | syn) == fin | syn counter accept",
			[]string{"never-reached: tcp flags & (fin | syn) == fin | syn counter accept"}},
		{"limit does not decide", "", "tcp dport 22 limit rate 6/minute drop\ntcp dport 22 accept", nil},
		{"no verdict does not decide", "", "tcp dport 22 counter\ntcp dport 22 accept", nil},
		{"return decides", "", "tcp dport 22 return\ntcp dport 22 accept", []string{"never-reached: tcp dport 22 accept <- tcp dport 22 return"}},

		{"limit and the same anyway", "", "icmp type echo-request limit rate 5/second accept\nicmp type { echo-request, echo-reply } accept",
			[]string{"limit-without-effect: icmp type echo-request limit rate 5/second accept <- icmp type { echo-reply, echo-request } accept"}},
		{"limit and something between", "", "icmp type echo-request limit rate 5/second accept\nip saddr 10.0.0.0/8 drop\nicmp type { echo-request, echo-reply } accept", nil},
		{"limit and something else between", "", "icmp type echo-request limit rate 5/second accept\ntcp dport 22 counter drop\nicmp type echo-request accept",
			[]string{"limit-without-effect: icmp type echo-request limit rate 5/second accept <- icmp type echo-request accept"}},
		{"limit and only a part", "", "ip protocol icmp limit rate 5/second accept\nicmp type echo-request accept", nil},
		{"limit and the policy", "", "tcp dport 22 limit rate 6/minute drop",
			[]string{"limit-without-effect: tcp dport 22 limit rate 6/minute drop <- policy drop"}},
		{"limit that bites", "", "tcp dport 22 limit rate 6/minute accept\ntcp dport 22 counter drop", nil},
		{"limit over", "", "ct state new limit rate over 5/second drop\naccept", nil},

		{"limit bypassed", "", "iifname \"br0\" ip saddr 192.168.1.0/24 accept\niifname \"br0\" tcp dport 22 limit rate 6/minute accept\ntcp dport 22 counter drop",
			[]string{`limit-bypassed: iifname "br0" tcp dport 22 limit rate 6/minute accept <- iifname "br0" ip saddr 192.168.1.0/24 accept`}},
		{"limit not bypassed by loopback", "", "iifname \"lo\" accept\niif \"lo\" accept\ntcp dport 22 limit rate 6/minute accept\ntcp dport 22 counter drop", nil},
		{"limit not bypassed by other states", "", "ct state established,related accept\ntcp dport 22 ct state new limit rate 6/minute accept\ntcp dport 22 counter drop", nil},

		{"unknown interface", "", "iifname \"typo0\" accept\noifname { \"typo0\", \"br0\" } accept",
			[]string{`unknown-interface: iifname "typo0" accept <- oifname { "typo0", "br0" } accept`}},
		{"several together", "", "tcp dport 22 accept\ntcp dport 1-21 accept\ntcp dport 10-22 counter drop",
			[]string{"never-reached: tcp dport 10-22 counter drop <- tcp dport 22 accept; tcp dport 1-21 accept"}},
		{"several that leave a gap", "", "tcp dport 22 accept\ntcp dport 1-20 accept\ntcp dport 10-22 counter drop", nil},
		{"several with other conditions", "", "ip saddr 10.0.0.1 tcp dport 22 accept\ntcp dport 23 accept\ntcp dport { 22, 23 } counter drop", nil},
		{"several with the same conditions", "", "iifname \"br0\" tcp dport 22 accept\ntcp dport 23 accept\niifname \"br0\" tcp dport { 22, 23 } counter drop",
			[]string{`never-reached: iifname "br0" tcp dport { 22, 23 } counter drop <- iifname "br0" tcp dport 22 accept; tcp dport 23 accept`}},
		{"all states", "", "ct state new accept\nct state established,related accept\nct state invalid,untracked counter drop\ntcp dport 22 accept",
			[]string{"never-reached: tcp dport 22 accept <- ct state new accept; ct state established,related accept; ct state invalid,untracked counter drop"}},
		{"all states but one", "", "ct state new accept\nct state established,related accept\nct state invalid counter drop\ntcp dport 22 accept", nil},
		{"everything is decided", "", "ip saddr 10.0.0.1 accept\ncounter drop\ntcp dport 22 accept", []string{"never-reached: tcp dport 22 accept <- counter drop"}},

		{"set changed in between", "set a { type ipv4_addr; size 9; flags dynamic; }", "ip saddr @a accept\ntcp dport 22 add @a { ip saddr }\nip saddr @a counter drop", nil},
		{"everything is decided before what changes", "set a { type ipv4_addr; size 9; flags dynamic; }", "counter accept\ntcp dport 22 add @a { ip saddr }\nip saddr @a counter drop",
			[]string{"never-reached: tcp dport 22 add @a { ip saddr } <- counter accept", "never-reached: ip saddr @a counter drop <- counter accept"}},

		{"the policy's verdict", "", "tcp dport 22 accept\nudp dport 53 drop", []string{"pointless: udp dport 53 drop <- policy drop"}},
		{"the policy's verdict, after another", "", "udp dport 53 drop\nudp dport 1-100 accept", nil},
		{"a later rule's verdict", "", "udp dport 53 accept\ntcp dport 22 counter drop\nudp dport 1-100 accept", []string{"pointless: udp dport 53 accept <- udp dport 1-100 accept"}},
		{"counted or logged", "", "udp dport 53 counter drop\nudp dport 54 log drop", nil},

		{"sets overlap", "set a { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }\nset b { type ipv4_addr; elements = { 10.1.1.1, 192.0.2.1 }; }",
			"ip saddr @a counter drop\nip saddr @b accept", []string{"sets-overlap: ip saddr @b accept <- ip saddr @a counter drop"}},
		{"sets apart", "set a { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }\nset b { type ipv4_addr; elements = { 11.1.1.1, 192.0.2.1 }; }",
			"ip saddr @a counter drop\nip saddr @b accept", nil},
		{"sets of source and destination", "set a { type ipv4_addr; elements = { 10.0.0.1 }; }\nset b { type ipv4_addr; elements = { 10.0.0.1 }; }",
			"ip daddr @a counter drop\nip saddr @b accept", nil},

		{"reject decides", "", "tcp dport 22 reject\ntcp dport 22 accept", []string{"never-reached: tcp dport 22 accept <- tcp dport 22 reject"}},
		{"reject is not drop", "", "tcp dport 22 reject", nil},
		{"reject in the same way", "", "tcp dport 22 reject with tcp reset\nudp dport 22 reject\nmeta l4proto tcp reject with tcp reset",
			[]string{"pointless: tcp dport 22 reject with tcp reset <- meta l4proto tcp reject with tcp reset"}},

		{"unused chain", "chain c { tcp dport 22 accept; }", "tcp dport 80 accept", []string{"unused-chain: tcp dport 22 accept <- "}},
		{"used chain", "chain c { tcp dport 22 accept; }", "tcp dport 80 goto c", nil},

		{"empty set", "set a { type ipv4_addr; flags constant; }", "ip saddr @a accept", []string{"never-matches: ip saddr @a accept <- "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compile(t, "table inet t {\n"+tt.sets+"\nchain forward {\ntype filter hook forward priority 0; policy drop;\n"+tt.rules+"\n}\n}\n")
			var got []string
			for _, w := range p.Lint() {
				got = append(got, withoutBurst(summary(w)))
			}
			ok := slices.EqualFunc(got, tt.want, func(g, w string) bool {
				// nft prints masks and sets in different ways.
				return g == w || !strings.Contains(w, "<-") && strings.HasPrefix(g, "never-reached: tcp flags")
			})
			if !ok && !sameSets(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// withoutBurst removes the default burst, which newer versions of nft print.
func withoutBurst(s string) string { return strings.ReplaceAll(s, " burst 5 packets", "") }

// sameSets compares warnings regardless of the order in which nft prints sets.
func sameSets(a, b []string) bool {
	words := func(s string) []string {
		w := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
		slices.Sort(w)
		return w
	}
	return slices.EqualFunc(a, b, func(a, b string) bool { return slices.Equal(words(a), words(b)) })
}

// What is wrong with the order of L2's rules.
func TestLintL2(t *testing.T) {
	useLinks(t, exampleLinks)
	p, err := Compile(readFile(t, examples[0]), Options{Links: testLinks})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Warning{}
	for _, w := range p.Lint() {
		got[w.Rule.Chain+" "+string(w.Kind)+" "+withoutBurst(w.Rule.Text)] = w
	}
	for rule, by := range map[string]string{
		`input limit-bypassed iifname "br0" tcp dport @ssh_ports ct state new limit rate 6/minute accept`: `iifname "br0" ip saddr @internal4 accept`,
		`input limit-without-effect iifname "br0" icmp type echo-request limit rate 10/second accept`:     `iifname "br0" icmp type @icmp_types accept`,
		`input limit-without-effect iifname "br0" icmpv6 type echo-request limit rate 10/second accept`:   `iifname "br0" icmpv6 type @icmpv6_types accept`,
		`input limit-without-effect iifname "enp1s0" icmp type echo-request limit rate 5/second accept`:   `iifname "enp1s0" icmp type @icmp_types accept`,
		`input limit-without-effect iifname "enp1s0" icmpv6 type echo-request limit rate 5/second accept`: `iifname "enp1s0" icmpv6 type @icmpv6_types accept`,
		`input never-reached iifname @high_speed_links ip saddr @high_speed4 accept`:                      `ip saddr @special4 counter drop`,
		`output pointless oifname "br0" ip daddr @internal4 accept`:                                       `accept`,
		`output pointless oifname "br0" ip6 daddr @internal6 accept`:                                      `accept`,
		`output pointless accept`: `policy accept`,
		`forward limit-bypassed ct state new limit rate over 500/second counter drop`: `iifname "br0" oifname "enp1s0" ip saddr @internal4 ip daddr != @special4 accept`,
	} {
		w, ok := got[rule]
		if !ok {
			t.Errorf("no warning: %s", rule)
			continue
		}
		if !slices.ContainsFunc(w.By, func(r RuleInfo) bool { return r.Text == by }) {
			t.Errorf("%v: does not name %q", w, by)
		}
		delete(got, rule)
	}
	for _, w := range got {
		t.Errorf("unexpected: %v", w)
	}
}

// The hardened example is how it should be.
func TestLintHardened(t *testing.T) {
	useLinks(t, exampleLinks)
	p, err := Compile(readFile(t, examples[1]), Options{Links: testLinks})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range p.Lint() {
		t.Errorf("unexpected: %v", w)
	}
}
