// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Sets that rules change, and what their elements can have.

func init() {
	for _, net := range []string{"4", "6"} {
		kind, word := "ipv4_addr", "ip"
		if net == "6" {
			kind, word = "ipv6_addr", "ip6"
		}
		plain := func(s *Scope) string {
			return s.Set("dyn"+net, func() string { return "type " + kind + "; size 65535; flags dynamic,timeout; timeout 1h;" })
		}
		full := func(s *Scope) string {
			return s.Set("full"+net, func() string { return "type " + kind + "; size 3; flags dynamic;" })
		}
		RegisterStatements(
			Fragment{Area: "dynset", Net: net, Weight: 2, Text: func(r *Generator, s *Scope) string {
				return fmt.Sprintf("%s %s { %s %s }", r.Pick("add", "update", "delete", "add"), plain(s), word, r.Pick("saddr", "daddr"))
			}},
			Fragment{Area: "dynset", Net: net, Text: func(r *Generator, s *Scope) string {
				return fmt.Sprintf("%s %s { %s saddr timeout %dm }", r.Pick("add", "update"), plain(s), word, 10+r.IntN(50))
			}},
			Fragment{Area: "dynset", Net: net, Text: func(r *Generator, s *Scope) string {
				return fmt.Sprintf("add %s { %s saddr }", full(s), word)
			}},
			Fragment{Area: "dynset", Net: net, Text: func(r *Generator, s *Scope) string {
				set := s.Set("each"+net, func() string { return "type " + kind + "; size 65535; flags dynamic;" })
				return fmt.Sprintf("%s %s { %s saddr limit rate 1/day burst 7 packets }", r.Pick("add", "update"), set, word)
			}},
			Fragment{Area: "dynset", Net: net, Text: func(r *Generator, s *Scope) string {
				set := s.Set("bytes"+net, func() string { return "type " + kind + "; size 65535; flags dynamic;" })
				return fmt.Sprintf("update %s { %s saddr quota over 400 bytes }", set, word)
			}},
		)
		RegisterMatches(Fragment{Area: "dynset", Net: net, Text: func(r *Generator, s *Scope) string {
			return word + r.Pick(" saddr ", " daddr ") + r.Op() + r.Pick(plain(s), plain(s), full(s))
		}})
	}
	RegisterStatements(Fragment{Area: "dynset", Net: "4", Transport: "tcp", Text: func(r *Generator, s *Scope) string {
		set := s.Set("pairs", func() string { return "type ipv4_addr . inet_service; size 65535; flags dynamic,timeout; timeout 1h;" })
		return "update " + set + " { ip saddr . tcp dport }"
	}})
}
