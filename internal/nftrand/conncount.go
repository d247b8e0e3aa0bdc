// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Counts of connections that no packet's place in the traffic changes: all of
// them exceed nothing, each exceeds none.

func init() {
	limit := func(r *Generator) string {
		return "ct count " + r.Pick("", "over ") + r.Pick("0", "0", "60000")
	}
	RegisterStatements(Fragment{Area: "conncount", Rare: true, Text: func(r *Generator, _ *Scope) string { return limit(r) }})
	for _, net := range []string{"4", "6"} {
		kind, word := "ipv4_addr", "ip"
		if net == "6" {
			kind, word = "ipv6_addr", "ip6"
		}
		RegisterStatements(Fragment{Area: "conncount", Rare: true, Net: net, Text: func(r *Generator, s *Scope) string {
			set := s.Set("conns"+net, func() string { return "type " + kind + "; size 65535; flags dynamic;" })
			return fmt.Sprintf("add %s { %s saddr ct count over 0 }", set, word)
		}})
	}
}
