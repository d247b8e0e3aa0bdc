// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// Functions of chains that need all the stack there is, nested as deep as they
// are at all, still fit under the programs of the dataplane.
func TestStack(t *testing.T) {
	var b strings.Builder
	b.WriteString("table inet t {\n set d { type ipv6_addr . ipv6_addr . inet_service . inet_service . mark; size 10; flags dynamic, timeout; timeout 1h; }\n")
	for i := range maxNesting {
		fmt.Fprintf(&b, "chain c%d {\n", i)
		if i > 0 {
			fmt.Fprintf(&b, "tcp dport 1 jump c%d\n tcp dport 2 jump c%d\n", i-1, i-1)
		}
		for j := range inlineRules + 1 {
			fmt.Fprintf(&b, "tcp dport %d meta random < 5 ct direction reply update @d { ip6 saddr . ip6 daddr . tcp sport . tcp dport . meta mark limit rate 5/second }\n", j)
		}
		b.WriteString("}\n")
	}
	for hook, priority := range map[string]int{"prerouting": -300, "input": 0, "forward": 0, "output": 0, "postrouting": 200} {
		fmt.Fprintf(&b, "chain %s { type filter hook %s priority %d; policy accept;\n tcp dport 7 jump c%[4]d\n tcp dport 8 jump c%[4]d\n tcp dport 9 meta random < 5 update @d { ip6 saddr . ip6 daddr . tcp sport . tcp dport . meta mark limit rate 5/second }\n}\n",
			hook, hook, priority, maxNesting-1)
	}
	b.WriteString("}\n")
	p := compile(t, b.String())
	functions := 0
	for _, ch := range p.chains {
		if ch.function != "" {
			functions++
		}
	}
	if n := p.frame.nesting(); functions != n || n >= maxNesting {
		t.Errorf("%d functions, nested %d deep: want the latter, and less than %d", functions, n, maxNesting)
	}
	loadObjects(t, p)
}
