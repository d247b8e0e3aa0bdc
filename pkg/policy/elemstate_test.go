// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"testing"
)

// A set's statements are each element's own, begin as the ruleset says, and are
// listed.
func TestElementStates(t *testing.T) {
	tests := []struct {
		set, rules string
		want       int // of 10 packets with 60 bytes
		listed     string
	}{
		{"counter; elements = { 192.168.1.7, 10.0.0.1 counter packets 3 bytes 4 }", "ip saddr @s accept", 10,
			"[10.0.0.1 counter packets 3 bytes 4] [192.168.1.7 counter packets 10 bytes 600]"},
		{"counter; elements = { 192.168.1.7 counter packets 1 bytes 2 }", "ip saddr != @s accept\naccept", 10,
			"[192.168.1.7 counter packets 1 bytes 2]"},
		{"quota 300 bytes; elements = { 192.168.1.7 }", "ip saddr @s accept", 5, "[192.168.1.7 quota used 600 bytes]"},
		{"limit rate 1/hour burst 4 packets; elements = { 192.168.1.7 }", "ip saddr @s accept", 4, "[192.168.1.7 ]"},
		{"limit rate 1/hour burst 4 packets counter; elements = { 192.168.1.7 }", "ip saddr @s accept", 4, "[192.168.1.7 counter packets 4 bytes 240]"},
		{"counter limit rate 1/hour burst 4 packets; elements = { 192.168.1.7 }", "ip saddr @s accept", 4, "[192.168.1.7 counter packets 10 bytes 600]"},
		{"counter; flags interval; elements = { 192.168.1.4-192.168.1.7, 10.0.0.0/8 }", "ip saddr @s accept", 10,
			"[10.0.0.0/8 counter packets 0 bytes 0] [192.168.1.4/30 counter packets 10 bytes 600]"},
		// What no other element holds.
		{"counter; elements = { 10.0.0.1, * }", "ip saddr @s accept", 10, "[10.0.0.1 counter packets 0 bytes 0] [* counter packets 10 bytes 600]"},
		{"counter; elements = { 192.168.1.7, * }", "ip saddr @s accept", 10, "[192.168.1.7 counter packets 10 bytes 600] [* counter packets 0 bytes 0]"},
		{"counter; elements = { 192.168.1.7, * }", "ip saddr != @s accept", 0, "[192.168.1.7 counter packets 0 bytes 0] [* counter packets 0 bytes 0]"},
		{"counter; elements = { 10.0.0.1, * }", "ip saddr != @s accept", 0, "[10.0.0.1 counter packets 0 bytes 0] [* counter packets 0 bytes 0]"},
		{"flags constant; elements = { 10.0.0.1, * }", "ip saddr @s accept", 10, "-"},
		{"flags constant; elements = { 10.0.0.1, * }", "ip saddr != @s accept", 0, "-"},
		{"flags interval; elements = { 10.0.0.0/8, * }", "ip saddr @s accept", 10, "[10.0.0.0/8 ] [* ]"},
		{"flags timeout; elements = { 10.0.0.1, * timeout 1h }", "ip saddr @s accept", 10, "[10.0.0.1 ] [* ]"},
	}
	for _, tt := range tests {
		t.Run(tt.set+" "+tt.rules, func(t *testing.T) {
			p := compile(t, "table inet t { set s { type ipv4_addr; "+tt.set+"; }\n chain input { type filter hook input priority 0; policy drop;\n"+tt.rules+"\n}\n}\n")
			h := newHarness(t, p)
			if n := h.count(lanSSH, 10); n != tt.want {
				t.Errorf("%d accepted, want %d", n, tt.want)
			}
			if tt.listed == "-" {
				return
			}
			elements, err := p.Sets[0].Elements(h.coll.Maps)
			if err != nil {
				t.Fatal(err)
			}
			listed := ""
			for i, e := range elements {
				if i > 0 {
					listed += " "
				}
				listed += fmt.Sprintf("[%s %s]", e.Element, e.State)
			}
			if listed != tt.listed {
				t.Errorf("listed %s\nwant   %s", listed, tt.listed)
			}
		})
	}
}

// A catch-all element changes, and expires, as others do.
func TestCatchAllOps(t *testing.T) {
	p := compile(t, `table inet t {
		map m { type ipv4_addr : verdict; flags timeout; elements = { 10.0.0.1 : drop, * : accept }; }
		chain input { type filter hook input priority 0; policy drop;
			ip saddr vmap @m
		}
	}`)
	h := newHarness(t, p)
	s := p.Sets[0]
	accepts := func(want bool) {
		t.Helper()
		if r := h.run("policy_input", &lanSSH); r.accept != want {
			t.Errorf("accepted %v, want %v", r.accept, want)
		}
	}
	accepts(true)
	if err := s.Add(h.coll.Maps, "* : drop", 0); err != nil {
		t.Fatal(err)
	}
	accepts(false)
	if err := s.Add(h.coll.Maps, "* : accept", 1); err != nil {
		t.Fatal(err)
	}
	accepts(false) // expired
	if n, err := s.Purge(h.coll.Maps); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if err := s.Add(h.coll.Maps, "* : accept", 0); err != nil {
		t.Fatal(err)
	}
	accepts(true)
	if err := s.Delete(h.coll.Maps, "*"); err != nil {
		t.Fatal(err)
	}
	accepts(false)
}
