// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"regexp"
	"strings"
)

// notEarly is what XDP does not do for packets of no flow.
var notEarly = regexp.MustCompile(`\b(mark|priority|limit|quota|log|update|add|numgen)\b`)

// early writes rules that only look at packets, for XDP to run on all of them.
func (r *Generator) early(b *strings.Builder, n int, s Scope) {
	basic := r.Basic
	r.Basic, s.Chains = true, 0
	for range n {
		if rule := r.rule(s, verdicts); !notEarly.MatchString(rule) {
			b.WriteString("\t\t" + rule + "\n")
		}
	}
	r.Basic = basic
}
