// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"strings"
)

// namedVerdictMaps writes the maps that verdictMap names.
func (r *Generator) namedVerdictMaps(b *strings.Builder) {
	var names []string
	for _, n := range strings.Split(r.interfaceElements(), ", ") {
		names = append(names, n+" : "+Pick(r.Rand, []string{"accept", "drop", "return"}))
	}
	fmt.Fprintf(b, `
	map names_vmap { type ifname : verdict; elements = { %s }; }
	map hash_vmap { type ipv4_addr : verdict; elements = { %s : accept }; }
	map lpm_vmap { type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/16 : accept, 10.168.0.0-192.168.0.77 : drop, 192.168.2.0/25 : continue }; }
`, strings.Join(names, ", "), strings.ReplaceAll(r.elements(20, r.IP4), ", ", " : drop, "))
}

// verdictMap returns a statement that ends with a verdict map.
func (r *Generator) verdictMap(family, transport string, chains int) string {
	verdict := func() string {
		v := Pick(r.Rand, []string{"accept", "drop", "return", "continue", "jump", "goto"})
		if v != "jump" && v != "goto" {
			return v
		}
		if chains == 0 {
			return "accept"
		}
		return fmt.Sprintf("%s c%d", v, r.IntN(chains))
	}
	// Elements of one map with the same key, or with ranges that overlap, are
	// refused: each value is used once.
	elements := func(n int, value func() string) string {
		var out []string
		for _, v := range strings.Split(r.elements(n, value), ", ") {
			out = append(out, v+" : "+verdict())
		}
		if r.IntN(3) == 0 {
			out = append(out, "* : "+verdict())
		}
		return " vmap { " + strings.Join(out, ", ") + " }"
	}
	choices := []func() string{
		func() string {
			return "iifname" + elements(4, func() string { return fmt.Sprintf("%q", r.Interface()) })
		},
		func() string {
			return "ct state" + elements(4, func() string { return Pick(r.Rand, []string{"new", "established", "related", "invalid"}) })
		},
		func() string { return "meta mark" + elements(12, func() string { return fmt.Sprint(r.IntN(3) * 255) }) },
		func() string { return "oifname vmap @names_vmap" },
	}
	if family != "6" && !strings.HasPrefix(transport, "icmp") {
		choices = append(choices,
			func() string { return "ip saddr" + elements(40, r.IP4) },
			func() string { return "ip daddr vmap @hash_vmap" },
			func() string { return "ip saddr vmap @lpm_vmap" },
		)
	}
	if family != "4" && !strings.HasPrefix(transport, "icmp") {
		choices = append(choices, func() string { return "ip6 saddr" + elements(10, r.IP6) })
	}
	if transport == "" || transport == "tcp" {
		choices = append(choices,
			func() string { return "tcp dport" + elements(12, func() string { return fmt.Sprint(r.Port()) }) },
			func() string {
				return "tcp dport" + elements(4, func() string { p := r.IntN(4); return fmt.Sprintf("%d-%d", p*100, p*100+20+p*13) })
			},
		)
	}
	return Pick(r.Rand, choices)()
}
