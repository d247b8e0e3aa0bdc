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
		long          bool
		functions     int
	}{
		"functions": {maxNesting, inlineRules + 1, true, maxNesting},
		"divided":   {4, 200, true, 4},
		"jumps":     {15, inlineRules + 1, false, maxNesting},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, nestedChains(test.chains, test.rules, test.long))
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

// nestedChains is a ruleset of chains each of which jumps to the one below it
// from two places, and of base chains at all hooks that jump to the first.
func nestedChains(chains, rules int, long bool) string {
	update := "meta random < 5 ct direction reply fib daddr type local rt ip6 nexthop ::1 update @d { ip6 saddr . ip6 daddr . tcp sport . tcp dport . meta mark limit rate 5/second }"
	if !long {
		update = "drop"
	}
	var b strings.Builder
	b.WriteString("table inet t {\n set d { type ipv6_addr . ipv6_addr . inet_service . inet_service . mark; size 10; flags dynamic, timeout; timeout 1h; }\n")
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
			fmt.Fprintf(&b, "tcp dport %d %s\n", j, update)
		}
		b.WriteString("}\n")
	}
	for hook, priority := range map[string]int{"prerouting": -300, "input": 0, "forward": 0, "output": 0, "postrouting": 200} {
		fmt.Fprintf(&b, "chain %s { type filter hook %s priority %d; policy accept;\n tcp dport 7 jump c%[4]d\n tcp dport 8 jump c%[4]d\n %[5]s\n}\n",
			hook, hook, priority, chains-1, update)
	}
	b.WriteString("}\n")
	return b.String()
}
