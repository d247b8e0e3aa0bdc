// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // "family table chain: line text | …", or "doubt"
	}{
		{"blocks", "table inet t {\n chain c {\n  type filter hook input priority 0; policy drop;\n  accept\n }\n}\n", "inet t c: 4 accept"},
		{"default family", "table t {\n chain c {\n  accept\n  drop\n }\n}\n", "ip t c: 3 accept | 4 drop"},
		{"table in two blocks", "table t {\n chain c {\n  accept\n }\n}\ntable t {\n chain c {\n  drop\n }\n}\n", "ip t c: 3 accept | 8 drop"},
		{"sets over lines", "table t {\n set s {\n  type ipv4_addr\n  elements = { 1.1.1.1,\n 2.2.2.2 }\n }\n chain c {\n  tcp dport {\n 1,\n 2\n } accept\n  drop\n }\n}\n",
			"ip t c: 8 tcp dport {  1,  2  } accept | 12 drop"},
		{"comments", "table t { # {\n chain c { # }\n  # drop\n  accept # ; drop\n }\n}\n", "ip t c: 4 accept"},
		{"strings", "table t {\n chain c {\n  accept comment \"a; # } b\"\n }\n}\n", "ip t c: 3 accept comment \"a; # } b\""},
		{"continued lines", "table t {\n chain c {\n  tcp dport 1 \\\n   accept\n  drop\n }\n}\n", "ip t c: 3 tcp dport 1     accept | 5 drop"},
		{"definitions", "define a = { 1,\n 2 }\ntable t {\n chain c {\n  define b = 1\n  tcp dport $b accept\n }\n}\n", "ip t c: 6 tcp dport $b accept"},
		{"delete before", "table t\ndelete table t\ntable t {\n chain c {\n  accept\n }\n}\n", "ip t c: 5 accept"},
		{"delete behind", "table t {\n chain c {\n  accept\n }\n}\ndelete table t\n", "doubt"},
		{"include", "include \"x\"\n", "doubt"},
		{"include in a chain", "table t {\n chain c {\n  include \"x\"\n }\n}\n", "doubt"},
		{"command", "table t {\n chain c {\n  accept\n }\n}\nadd rule t c drop\n", "doubt"},
		{"unfinished", "table t {\n chain c {\n  accept", "ip t c: 3 accept"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := "doubt"
			if chains := parseSource(tt.text); chains != nil {
				var all []string
				for c, statements := range chains {
					var s []string
					for _, st := range statements {
						s = append(s, fmt.Sprintf("%d %s", st.line, strings.TrimSpace(st.text)))
					}
					all = append(all, fmt.Sprintf("%v %s %s: %s", c.family, c.table, c.chain, strings.Join(s, " | ")))
				}
				slices.Sort(all)
				got = strings.Join(all, "\n")
			}
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A rule in doubt makes the chain's lines unknown, and only that.
func TestSameRules(t *testing.T) {
	rules := []*Rule{{Text: "tcp dport 22 accept"}, {Text: "drop"}}
	for _, tt := range []struct {
		src  []statement
		want bool
	}{
		{[]statement{{"tcp dport ssh accept", 1}, {"drop", 2}}, true},
		{[]statement{{"tcp dport $x", 1}, {"drop comment \"accept\"", 2}}, true},
		{[]statement{{"drop", 1}, {"tcp dport ssh accept", 2}}, false},
		{[]statement{{"tcp dport ssh accept", 1}}, false},
	} {
		if got := sameRules(tt.src, rules); got != tt.want {
			t.Errorf("%+v: %v", tt.src, got)
		}
	}
}

func FuzzParseSource(f *testing.F) {
	f.Add(sample)
	f.Add("table t { chain c {")
	f.Add("table t {\n chain c {\n \"\n}}")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, statements := range parseSource(text) {
			for _, s := range statements {
				if s.line < 1 || s.line > lines {
					t.Errorf("line %d of %d", s.line, lines)
				}
			}
		}
	})
}
