// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "strings"

// Copies of packets to an address.

func init() {
	dup := func(net string, next func(r *Generator) string) {
		RegisterStatements(Fragment{Area: "copies", Net: net, Families: []string{map[string]string{"4": "ip", "6": "ip6"}[net]}, Types: []string{"filter", "route"},
			Text: func(r *Generator, _ *Scope) string {
				r.copies = true
				to := next(r)
				if r.IntN(2) == 0 {
					to, _, _ = strings.Cut(to, " device")
				}
				return "dup to " + to
			}})
	}
	dup("4", func(r *Generator) string { return r.Next4() })
	dup("6", func(r *Generator) string { return r.Next6() })
}
