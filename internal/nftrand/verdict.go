// SPDX-License-Identifier: GPL-2.0-only

package nftrand

// Verdicts without an address or a map.

func init() {
	verdict := func(weight int, text func(r *Generator, s *Scope) string) {
		RegisterVerdicts(Fragment{Area: "verdict", Basic: true, Families: Everywhere, Weight: weight, Text: text})
	}
	verdict(6, func(r *Generator, _ *Scope) string { return r.Pick("accept", "drop") })
	verdict(3, func(r *Generator, _ *Scope) string { return r.Pick("return", "counter", "counter accept") })
	verdict(3, func(r *Generator, s *Scope) string {
		if to := s.JumpTo(r); to != "" {
			return r.Pick("jump ", "jump ", "goto ") + to
		}
		return "drop"
	})
}
