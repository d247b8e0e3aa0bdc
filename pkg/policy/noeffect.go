// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// flowOffload passes "flow add" by: all flows are in the programs already, and
// their packets go on meeting the chains. The kernel runs what follows in the
// rule for one packet of a flow, and then no more rules at all.
func (l *lowerer) flowOffload(e *nft.ExprFlowOffload) error {
	for _, e := range l.rest {
		if e.ExprName() != "counter" {
			return refuse("a rule that ends with it", "statements behind flow add")
		}
	}
	l.note("flow add is not needed: the programs forward all flows, and their packets meet all rules")
	return nil
}

// last passes by what only a listing shows.
func (l *lowerer) last(*nft.ExprLast) error {
	l.note("when a packet came last is not noted: l2ctl rules has the counters")
	return nil
}

// note says what of a rule has no effect.
func (l *lowerer) note(why string) {
	l.p.Notes = append(l.p.Notes, fmt.Sprintf("table %v chain %s: %q: %s", l.rule.Chain.Table, l.rule.Chain.Name, l.rule.Text, why))
}
