// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"strings"
)

// Router returns a ruleset for all hooks of a router, that masquerades what
// leaves by the interface wan. Rules and policies accept often enough for
// packets to get through, and each ruleset uses conntrack.
func (r *Generator) Router(wan string) string {
	var b strings.Builder
	r.begin(&b)
	for _, hook := range []struct {
		name     string
		priority []int
		rules    int
	}{
		{"prerouting", []int{-300, -150, 0}, 3},
		{"input", []int{0, 10}, 8},
		{"forward", []int{-1, 0, 5}, 10},
		{"output", []int{-300, 0}, 4},
		{"postrouting", []int{0, 50, 150}, 3},
	} {
		for i, priority := range hook.priority {
			must := i == 0 && (hook.name == "input" || hook.name == "forward")
			if !must && r.IntN(2) == 0 {
				continue
			}
			fmt.Fprintf(&b, "\tchain %s%d {\n\t\ttype filter hook %s priority %d; policy %s;\n", hook.name, i, hook.name, priority, r.policy())
			if priority > -200 && (must || r.IntN(3) == 0) {
				b.WriteString(Pick(r.Rand, []string{
					"ct state invalid drop\n", "ct state established,related accept\n",
					"ct state established accept\n",
					"ct state != established accept\n",
				}))
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "limit rate %s%d/day burst %d packets %s\n", Pick(r.Rand, []string{"", "over "}), 1+r.IntN(9), 1+r.IntN(300), Pick(r.Rand, []string{"accept", "drop", "counter"}))
			}
			r.rules(&b, 1+r.IntN(hook.rules), 4)
			b.WriteString("\t}\n")
		}
	}
	b.WriteString("}\n")
	for _, family := range []string{"ip", "ip6"} {
		if r.IntN(4) > 0 {
			fmt.Fprintf(&b, "table %s nat {\n\tchain post {\n\t\ttype nat hook postrouting priority 100; policy accept;\n\t\toifname %q masquerade\n\t}\n}\n", family, wan)
		}
	}
	return b.String()
}

func (r *Generator) policy() string {
	return Pick(r.Rand, []string{"accept", "accept", "accept", "drop"})
}
