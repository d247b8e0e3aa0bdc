// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Limits by the day, whose outcome does not depend on the moment. They are all
// emptied by their burst.

func init() {
	RegisterStatements(
		Fragment{Area: "limit", Families: Everywhere, Weight: 2, Text: func(r *Generator, s *Scope) string {
			return fmt.Sprintf("limit rate %s%d/day burst %d packets", r.Pick("", "over "), 1+r.IntN(9), 1+r.IntN(300))
		}},
		Fragment{Area: "limit", Families: Everywhere, Text: func(r *Generator, s *Scope) string {
			return fmt.Sprintf("limit rate %s%d bytes/day burst %d bytes", r.Pick("", "over "), 1+r.IntN(9), 1+r.IntN(9000))
		}},
	)
}
