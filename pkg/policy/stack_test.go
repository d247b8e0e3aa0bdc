// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// Functions of chains that are nested as deep as they are at all, with long
// keys and elements that have state, still fit under the programs of the
// dataplane: with a chain of so many rules that it is divided, and with jumps
// as deep as the kernel takes them.
func TestStack(t *testing.T) {
	for name, test := range map[string]struct {
		chains, rules int
		rule          string
		functions     int
	}{
		"functions": {maxNesting, inlineRules + 1, longRule, maxNesting},
		"divided":   {4, 200, longRule, 4},
		"jumps":     {15, inlineRules + 1, "drop", maxNesting},
		"calls":     {maxNesting, inlineRules + 1, "tcp option maxseg size set rt mtu", maxNesting - tcpmssFrames},
		"tunnels":   {maxNesting, inlineRules + 1, "@ih,0,32 7 @ih,32,32 8", maxNesting},
		"writes":    {maxNesting, inlineRules + 1, "ip dscp set cs1", maxNesting},
		"sctp":      {maxNesting, inlineRules + 1, "sctp dport set 7", maxNesting - sctpFrames},
		"conns":     {maxNesting, inlineRules + 1, "ct count over 5 drop", maxNesting - connFrames},
		"members":   {maxNesting, inlineRules + 1, "add @e { ip saddr ct count over 5 } drop", maxNesting - connFrames},
	} {
		t.Run(name, func(t *testing.T) {
			rs := readRuleset(t, nestedChains(test.chains, test.rules, test.rule))
			insideTunnels(rs)
			p, err := Compile(rs, Options{Links: testLinks})
			if err != nil {
				t.Fatal(err)
			}
			functions := 0
			for _, ch := range p.chains {
				if ch.function != "" {
					functions++
				}
			}
			if functions != test.functions {
				t.Errorf("%d chains are functions, want %d", functions, test.functions)
			}
			loadObjects(t, p)
		})
	}
}

// longRule does what takes stack.
const longRule = "meta random < 5 ct direction reply fib daddr type local rt ip6 nexthop ::1 update @d { ip6 saddr . ip6 daddr . tcp sport . tcp dport . meta mark limit rate 5/second }"

// nestedChains is a ruleset of chains each of which jumps to the one below it
// from two places, and of base chains at all hooks that jump to the first.
func nestedChains(chains, rules int, rule string) string {
	var b strings.Builder
	b.WriteString("table inet t {\n set d { type ipv6_addr . ipv6_addr . inet_service . inet_service . mark; size 10; flags dynamic, timeout; timeout 1h; }\n set e { type ipv4_addr; size 10; flags dynamic; }\n")
	for i := range chains {
		fmt.Fprintf(&b, "chain c%d {\n", i)
		if i > 0 {
			fmt.Fprintf(&b, "tcp dport 1 jump c%d\n tcp dport 2 jump c%d\n", i-1, i-1)
		}
		n := inlineRules + 1
		if i == 0 {
			n = rules
		}
		for j := range n {
			fmt.Fprintf(&b, "tcp dport %d %s\n", j, rule)
		}
		b.WriteString("}\n")
	}
	for hook, priority := range map[string]int{"prerouting": -300, "input": 0, "forward": 0, "output": 0, "postrouting": 200} {
		if strings.Contains(rule, "rt mtu") && (hook == "prerouting" || hook == "input") {
			continue // there is no such route
		}
		fmt.Fprintf(&b, "chain %s { type filter hook %s priority %d; policy accept;\n tcp dport 7 jump c%[4]d\n tcp dport 8 jump c%[4]d\n %[5]s\n}\n",
			hook, hook, priority, chains-1, rule)
	}
	b.WriteString("}\n")
	if strings.Contains(rule, "sctp") { // a rule is about one protocol
		return strings.ReplaceAll(strings.ReplaceAll(b.String(), "tcp dport", "sctp dport"), "ssctp", "sctp")
	}
	return b.String()
}
