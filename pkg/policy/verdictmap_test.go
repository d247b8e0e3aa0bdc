// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// A verdict map ends its rule as the element's verdict says, and the rule
// counts what an element holds.
func TestVerdictMaps(t *testing.T) {
	chains := `
		chain c { tcp dport 22 counter drop comment "in c"
			return
		}
		chain d { tcp dport 443 accept comment "in d"
		}`
	tests := []struct {
		name, sets, rules string
		packet            packet
		accept            bool
		rule              string
	}{
		{"accept", "", "ct state vmap { new : accept, established : drop }", lanSSH, true, "vmap"},
		{"drop", "", "ct state vmap { new : accept, established : drop }\naccept", wanDNS, false, "vmap"},
		{"no element", "", "ct state vmap { established : drop }\naccept", lanSSH, true, "accept"},
		{"continue goes on in the rule", "", "ct state vmap { new : continue } counter accept", lanSSH, true, "vmap"},
		{"return ends the chain", "", "tcp dport vmap { 22 : return }\naccept", lanSSH, false, "policy drop"},
		{"jump", "", "tcp dport vmap { 22 : jump c, 80 : accept }\naccept", lanSSH, false, "in c"},
		{"jump comes back to the next rule", "", "tcp dport vmap { 22 : jump d }\naccept", lanSSH, true, "accept"},
		{"goto does not come back", "", "tcp dport vmap { 22 : goto d, 443 : goto d }\naccept", lanSSH, false, "policy drop"},
		{"goto", "", "tcp dport vmap { 22 : goto c, 443 : goto d }", lan6, true, "in d"},
		{"catch-all", "", "tcp dport vmap { 23 : drop, * : accept }", lanSSH, true, "vmap"},
		{"element before catch-all", "", "tcp dport vmap { 22 : drop, * : accept }", lanSSH, false, "vmap"},
		{"catch-all needs the header", "", "tcp dport vmap { 22 : drop, * : accept }", lanPing, false, "policy drop"},
		{"ranges", "", "tcp dport vmap { 0-21 : drop, 22-25 : accept, 100-200 : drop, 300-400 : drop, 443-65535 : drop }", lanSSH, true, "vmap"},
		{"between ranges", "", "tcp dport vmap { 0-21 : drop, 100-200 : drop, 300-400 : drop, 410-415 : accept, 443-65535 : drop }\naccept", lanSSH, true, "accept"},
		{"top range", "", "tcp dport vmap { 0-21 : drop, 443-65535 : accept }", lan6, true, "vmap"},
		{"addresses", "", "ip6 saddr vmap { fd00::/64 : accept, fe80::/10 : drop }", lan6, true, "vmap"},
		{"addresses of another range", "", "ip6 saddr vmap { fd00::/64 : drop, fe80::/10 : accept }", lanNS6, true, "vmap"},
		{"names", "", `iifname vmap { "wan0" : drop, "br0" : accept, "absent0" : drop }`, lanSSH, true, "vmap"},
		{"wildcards", "", `iifname vmap { "wan*" : accept, "b*" : drop }`, wanDNS, true, "vmap"},
		{"concatenation", "", `iifname . tcp dport vmap { "br0" . 23 : drop, "br0" . 22 : accept }`, lanSSH, true, "vmap"},
		{"concatenation with ranges", "", "ip saddr . tcp dport vmap { 192.168.0.0/16 . 1-21 : drop, 192.168.0.0/16 . 22 : accept }", lanSSH, true, "vmap"},
		{"hash", "map m { type inet_service : verdict; elements = { 22 : jump d, 23 : drop }; }", "tcp dport vmap @m\naccept", lanSSH, true, "accept"},
		{"hash, another", "map m { type inet_service : verdict; elements = { 443 : jump d, 22 : drop }; }", "tcp dport vmap @m", lan6, true, "in d"},
		{"hash, absent", "map m { type inet_service : verdict; elements = { 23 : drop }; }", "tcp dport vmap @m\naccept", lanSSH, true, "accept"},
		{"hash, catch-all", "map m { type inet_service : verdict; elements = { 23 : drop, * : accept }; }", "tcp dport vmap @m", lanSSH, true, "vmap"},
		{"hash of names", `map m { type ifname : verdict; elements = { "br0" : accept, "wan0" : drop }; }`, "iifname vmap @m", lanSSH, true, "vmap"},
		{"trie", "map m { type ipv4_addr : verdict; flags interval; elements = { 192.168.0.0/24 : drop, 192.168.1.3-192.168.1.9 : accept }; }",
			"ip saddr vmap @m", lanSSH, true, "vmap"},
		{"hash of concatenations", "map m { type ipv4_addr . inet_service : verdict; elements = { 192.168.1.7 . 22 : accept }; }",
			"ip saddr . tcp dport vmap @m", lanSSH, true, "vmap"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := compile(t, "table inet t {\n"+chains+"\n"+tt.sets+"\nchain input {\ntype filter hook input priority 0; policy drop;\n"+tt.rules+"\n}\n}\n")
			r := newHarness(t, p).run("policy_input", &tt.packet)
			if r.accept != tt.accept || !strings.Contains(r.rule.Text, tt.rule) {
				t.Errorf("accepted %v at %q, want %v at %q", r.accept, r.rule.Text, tt.accept, tt.rule)
			}
			p.Lint()
		})
	}
}

// Elements of a named verdict map change while it is in use.
func TestVerdictMapOps(t *testing.T) {
	p := compile(t, `table inet t {
		chain c { accept comment "in c"
		}
		map m { type inet_service : verdict; elements = { 80 : jump c, 81 : drop }; }
		chain input { type filter hook input priority 0; policy drop;
			tcp dport vmap @m
		}
	}`)
	h := newHarness(t, p)
	s, err := p.Set(p.Sets[0].Family, "t", "m")
	if err != nil {
		t.Fatal(err)
	}
	m := Maps(h.coll.Maps)
	accepts := func(want bool) {
		t.Helper()
		if r := h.run("policy_input", &lanSSH); r.accept != want {
			t.Errorf("accepted %v, want %v", r.accept, want)
		}
	}
	accepts(false)
	for element, want := range map[string]bool{"22 : jump c": true, "22 : drop": false, "22 : accept": true} {
		if err := s.Add(m, element, 0); err != nil {
			t.Fatal(err)
		}
		accepts(want)
		elements, err := s.Elements(m)
		if err != nil || len(elements) != 3 || elements[0].Element != element {
			t.Errorf("elements %v, error %v", elements, err)
		}
	}
	if err := s.Delete(m, "22"); err != nil {
		t.Fatal(err)
	}
	accepts(false)
	for element, want := range map[string]string{"22": `want "key : verdict"`, "22 : jump d": `verdict "jump d" is none of those of the ruleset`} {
		if err := s.Add(m, element, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", element, err, want)
		}
	}
}

// A hundred chains behind one map: it is a search, not a list.
func TestVerdictMapOfManyChains(t *testing.T) {
	const n = 100
	var chains, elements strings.Builder
	for i := range n {
		fmt.Fprintf(&chains, "chain c%d { tcp dport %d accept\n }\n", i, 1000+i)
		fmt.Fprintf(&elements, "%d : jump c%d, ", 1000+i, i)
	}
	for _, flags := range []string{"", "flags constant;"} {
		p := compile(t, "table inet t {\n"+chains.String()+"map m { type inet_service : verdict; "+flags+" elements = { "+elements.String()+" }; }\n"+
			"chain input { type filter hook input priority 0; policy drop;\n tcp dport vmap @m\n }\n}\n")
		h := newHarness(t, p)
		for _, i := range []int{0, 1, 49, 50, 98, 99} {
			pk := with(lanSSH, func(p *packet) { p.th = tcp(1, uint16(1000+i), 2) })
			if r := h.run("policy_input", &pk); !r.accept || r.rule.Chain != fmt.Sprintf("c%d", i) {
				t.Errorf("%s port %d: accepted %v in chain %s", flags, 1000+i, r.accept, r.rule.Chain)
			}
		}
		if r := h.run("policy_input", &lanSSH); r.accept {
			t.Errorf("%s port 22: accepted", flags)
		}
	}
}
