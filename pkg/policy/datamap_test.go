// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// manyElements returns elements from a format that takes the numbers from 1000.
func manyElements(format string) string {
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf(format, 1000+i))
	}
	return strings.Join(all, ", ")
}

// nft gives the data of maps to statements only: the test compares the registers
// that those would read.
func TestDataMaps(t *testing.T) {
	nat := func(rule string) string { return "chain x { type nat hook prerouting priority 0;\n" + rule + "\n}" }
	filter := func(rule string) string { return "chain x { type filter hook input priority 0;\n" + rule + "\n}" }
	tests := []struct {
		name, sets, chain string
		packet            packet
		want              []byte // nil: the rule does not match
	}{
		{"anonymous", "", filter("meta mark set ip saddr map { 192.168.1.7 : 5, 192.168.1.8 : 6 }"), lanSSH, []byte{5, 0, 0, 0}},
		{"anonymous, another", "", filter("meta mark set ip saddr map { 192.168.1.7 : 6, 192.168.1.8 : 5 }"), lanSSH, []byte{6, 0, 0, 0}},
		{"anonymous, absent", "", filter("meta mark set ip saddr map { 192.168.1.8 : 5 }"), lanSSH, nil},
		{"anonymous, catch-all", "", filter("meta mark set ip saddr map { 192.168.1.8 : 5, * : 7 }"), lanSSH, []byte{7, 0, 0, 0}},
		{"anonymous, before catch-all", "", filter("meta mark set ip saddr map { 192.168.1.7 : 5, * : 7 }"), lanSSH, []byte{5, 0, 0, 0}},
		{"anonymous ranges", "", filter("meta mark set tcp dport map { 1-21 : 1, 22-30 : 2, 31-40 : 3, 41-50 : 4, 51-60 : 5 }"), lanSSH, []byte{2, 0, 0, 0}},
		{"anonymous names", "", filter(`meta mark set iifname map { "wan0" : 1, "br0" : 2, "br9" : 3 }`), lanSSH, []byte{2, 0, 0, 0}},
		{"anonymous concatenation", "", filter("meta mark set ip saddr . tcp dport map { 192.168.1.7 . 22 : 8, 192.168.1.7 . 23 : 9 }"), lanSSH, []byte{8, 0, 0, 0}},
		{"ranges in a concatenation", "", filter("meta mark set ip saddr . tcp dport map { 192.168.0.0/16 . 1-21 : 8, 192.168.0.0/16 . 22-24 : 9 }"), lanSSH, []byte{9, 0, 0, 0}},
		{"many", "", filter("meta mark set tcp sport map { " + manyElements("%d : 0x2") + ", 40000 : 3 }"), with(lanSSH, func(p *packet) { p.th = tcp(40000, 22, 2) }), []byte{3, 0, 0, 0}},
		{"many, absent", "", filter("meta mark set tcp sport map { " + manyElements("%d : 0x2") + " }"), with(lanSSH, func(p *packet) { p.th = tcp(40000, 22, 2) }), nil},
		{"hash", "map m { type ipv4_addr : mark; elements = { 192.168.1.7 : 5 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{5, 0, 0, 0}},
		{"absent", "map m { type ipv4_addr : mark; elements = { 192.168.1.9 : 5 }; }", filter("meta mark set ip saddr map @m"), lanSSH, nil},
		{"catch-all", "map m { type ipv4_addr : mark; elements = { 192.168.1.9 : 5, * : 6 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{6, 0, 0, 0}},
		{"before catch-all", "map m { type ipv4_addr : mark; elements = { 192.168.1.7 : 5, * : 6 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{5, 0, 0, 0}},
		{"catch-all of a trie", "map m { type ipv4_addr : mark; flags interval; elements = { 192.168.1.9 : 5, * : 6 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{6, 0, 0, 0}},
		{"constant catch-all", "map m { type ipv4_addr : mark; flags constant; elements = { 192.168.1.9 : 5, * : 6 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{6, 0, 0, 0}},
		{"trie", "map m { type ipv4_addr : mark; flags interval; elements = { 192.168.1.0/29 : 1, 192.168.1.8-192.168.1.99 : 2 }; }", filter("meta mark set ip saddr map @m"), lanSSH, []byte{1, 0, 0, 0}},
		{"names", `map m { type ifname : mark; elements = { "br0" : 1, "wan0" : 2 }; }`, filter("meta mark set iifname map @m"), lanSSH, []byte{1, 0, 0, 0}},
		{"address and port", "map m { type inet_service : ipv4_addr . inet_service; elements = { 22 : 10.0.0.1 . 8022 }; }", nat("dnat ip to tcp dport map @m"), lanSSH, []byte{10, 0, 0, 1, 0x1f, 0x56, 0, 0}},
		{"address and port, constant", "map m { type inet_service : ipv4_addr . inet_service; flags constant; elements = { 22 : 10.0.0.1 . 8022 }; }", nat("dnat ip to tcp dport map @m"), lanSSH, []byte{10, 0, 0, 1, 0x1f, 0x56, 0, 0}},
		{"IPv6", "map m { type inet_service : ipv6_addr; elements = { 443 : fd00::9 }; }", nat("dnat ip6 to tcp dport map @m"), lan6, []byte{0xfd, 15: 9}},
		{"range", "map m { type inet_service : interval ipv4_addr; flags interval; elements = { 22 : 10.0.0.1-10.0.0.5 }; }", nat("dnat ip to tcp dport map @m"), lanSSH, []byte{10, 0, 0, 1, 10, 0, 0, 5}},
		{"anonymous range", "", nat("dnat ip to tcp dport map { 22 : 10.0.0.1-10.0.0.5 }"), lanSSH, []byte{10, 0, 0, 1, 10, 0, 0, 5}},
		{"range of addresses and ports", "map m { type inet_service : interval ipv4_addr . inet_service; flags interval; elements = { 22 : 10.0.0.1-10.0.0.5 . 1-2 }; }",
			nat("dnat ip to tcp dport map @m"), lanSSH, []byte{10, 0, 0, 1, 0, 1, 0, 0, 10, 0, 0, 5, 0, 2, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs := readRuleset(t, "table inet t {\n"+tt.sets+"\n"+tt.chain+"\n}\n")
			c := rs.Tables[0].Chain("x")
			c.Base.Type, c.Base.Hook, c.Base.Policy = "filter", nft.HookInput, nft.VerdictDrop
			r := c.Rules[0]
			lookup := r.Exprs[len(r.Exprs)-2].(*nft.ExprLookup)
			compare := func(op nft.CmpOp, data []byte) bool {
				t.Helper()
				r.Exprs = append(r.Exprs[:len(r.Exprs):len(r.Exprs)][:slices.Index(r.Exprs, nft.Expr(lookup))+1],
					&nft.ExprCmp{Op: op, Reg: lookup.Dst, Data: data}, &nft.ExprImmediate{Verdict: &nft.Verdict{Code: nft.VerdictAccept}})
				p, err := Compile(rs, Options{Links: testLinks})
				if err != nil {
					t.Fatal(err)
				}
				return newHarness(t, p).run("policy_input", &tt.packet).accept
			}
			if tt.want == nil {
				if compare(nft.CmpGte, []byte{0}) {
					t.Error("the rule matches")
				}
				return
			}
			if !compare(nft.CmpEq, tt.want) {
				t.Errorf("the registers are not %x", tt.want)
			}
			if compare(nft.CmpNeq, tt.want) {
				t.Errorf("the registers are not %x, says !=", tt.want)
			}
		})
	}
}

// Elements of a data map change while it is in use, and are listed as nft
// writes them.
func TestDataMapOps(t *testing.T) {
	tests := []struct {
		declaration string
		elements    []string // in the order of the keys
		wrong       map[string]string
	}{
		{"type ipv4_addr : mark", []string{"10.0.0.1 : 0x00000005", "10.0.0.2 : 0x00000100"},
			map[string]string{"10.0.0.3": `want "key : data"`, "10.0.0.3 : x": `data "x": not a number; want a number from 0 to 4294967295`, "* : 5": `no element "*"`}},
		{"type inet_service : ipv4_addr . inet_service", []string{"22 : 10.0.0.1 . 8022", "80 : 10.0.0.2 . 8080"},
			map[string]string{"22 : 10.0.0.1": "1 parts"}},
		{"type ipv6_addr . inet_service : ipv6_addr", []string{"fd00::1 . 22 : fd00::2", "fd00::2 . 22 : fd00::9"}, nil},
		{"type inet_service : interval ipv4_addr; flags interval", []string{"22 : 10.0.0.1-10.0.0.9", "80-81 : 10.0.0.7-10.0.0.8"},
			map[string]string{"99 : 10.0.0.2-10.0.0.1": "the range ends before it begins"}},
		{"type inet_service : interval ipv4_addr . inet_service; flags interval", []string{"22 : 10.0.0.1-10.0.0.9 . 80-90", "23 : 10.0.0.0-10.0.0.255 . 80"}, nil},
		{"type ipv4_addr : ether_addr", []string{"10.0.0.1 : 02:00:00:00:00:01"}, nil},
		{"type mark : ifname", []string{`0x00000001 : "br0"`}, nil},
		{"typeof ip saddr : meta length", []string{"10.0.0.1 : 1400"}, nil},
		{"typeof ip saddr : ip length", []string{"10.0.0.1 : 1400"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.declaration, func(t *testing.T) {
			p := compile(t, "table inet t {\n map m { "+tt.declaration+"; }\n map n { "+tt.declaration+"; elements = { "+strings.Join(tt.elements, ", ")+" }; }\n}\n")
			h := newHarness(t, p)
			list := func(s *Set) string {
				elements, err := s.Elements(h.coll.Maps)
				if err != nil {
					t.Fatal(err)
				}
				var out []string
				for _, e := range elements {
					out = append(out, e.Element)
				}
				return strings.Join(out, ", ")
			}
			m, n := p.Sets[0], p.Sets[1]
			for _, e := range tt.elements {
				if err := m.Add(h.coll.Maps, e, 0); err != nil {
					t.Fatal(err)
				}
			}
			if want := strings.Join(tt.elements, ", "); list(m) != want || list(n) != want {
				t.Errorf("added: %s\nof the ruleset: %s\nwant %s", list(m), list(n), want)
			}
			for e, want := range tt.wrong {
				if err := m.Add(h.coll.Maps, e, 0); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want %q", e, err, want)
				}
			}
			for _, e := range tt.elements {
				if err := m.Delete(h.coll.Maps, e); err != nil {
					t.Error(err)
				}
			}
			if s := list(m); s != "" {
				t.Errorf("left: %s", s)
			}
		})
	}
}
