// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// target is where numbers of an interval lead.
type target struct {
	interval
	to label
}

// nothing is a label that no code has.
const nothing label = -1

// verdictMap generates a lookup and the verdicts that it can lead to.
func (g *gen) verdictMap(m *opVerdictMap, next label, sc *scope) {
	if len(m.verdicts) == 0 {
		g.goTo(next)
		return
	}
	labels := make([]label, len(m.verdicts))
	for i := range labels {
		labels[i] = g.newLabel()
	}
	miss := next
	if m.otherwise >= 0 {
		miss = labels[m.otherwise]
	}
	if m.set < 0 {
		g.cases(m.cases, labels, miss)
	} else {
		g.find(m.set, m.keys, miss)
		value := asm.R0
		if s := g.p.Sets[m.set]; len(s.states) > 0 {
			g.elemStates(s, next)
			value = regElem
		}
		g.emit(asm.LoadMem(regHigh, value, verdictOffset, asm.Word))
		var targets []target
		for i, l := range labels {
			targets = append(targets, target{interval{uint64(i), uint64(i)}, l})
		}
		g.dispatch(targets, 4, next)
	}
	on := g.newLabel()
	for i, v := range m.verdicts {
		g.bind(labels[i])
		if m.count >= 0 {
			g.count(m.count)
		}
		if v.object != nil {
			switch o := v.object.op.(type) {
			case opQuota:
				g.quota(o, next)
			case opLimit:
				g.limit(o, next)
			case opNamedCount:
				g.countAt(o.index)
			}
		}
		if v.code == nft.VerdictContinue {
			g.goTo(on)
			continue
		}
		g.verdict(v, next, nothing, sc)
	}
	g.bind(on)
}

// cases finds the case that holds.
func (g *gen) cases(cases []verdictCase, labels []label, miss label) {
	if key, ok := commonKey(cases); ok {
		o := bigEndian
		if !slices.ContainsFunc(cases, func(c verdictCase) bool { return !singles(matchSpans(c.match)) }) {
			o = littleEndian
		}
		var targets []target
		for _, c := range cases {
			for _, iv := range intervals(key, matchSpans(c.match), o) {
				targets = append(targets, target{iv, labels[c.verdict]})
			}
		}
		slices.SortStableFunc(targets, func(a, b target) int {
			switch {
			case a.lo < b.lo:
				return -1
			case a.lo > b.lo:
				return 1
			}
			return 0
		})
		g.load(regHigh, key, o)
		g.dispatch(targets, len(key), miss)
		return
	}
	for _, c := range cases {
		other := g.newLabel()
		g.match(c.match, other)
		g.goTo(labels[c.verdict])
		g.bind(other)
	}
	g.goTo(miss)
}

func matchSpans(m *opMatch) []span {
	spans := make([]span, len(m.elems))
	for i, e := range m.elems {
		spans[i] = e[0]
	}
	return spans
}

// commonKey returns the key of all cases if it is one, fits into a register and
// no two cases hold the same value.
func commonKey(cases []verdictCase) ([]sym, bool) {
	var spans []span
	for _, c := range cases {
		m := c.match
		if m.invert || len(m.keys) != 1 || len(m.keys[0]) > 8 || !slices.Equal(m.keys[0], cases[0].match.keys[0]) {
			return nil, false
		}
		spans = append(spans, matchSpans(m)...)
	}
	for i, s := range spans {
		if overlap(spans[i+1:], []span{s}) {
			return nil, false
		}
	}
	if len(cases) == 0 {
		return nil, false
	}
	return cases[0].match.keys[0], true
}

// dispatch goes where the number in regHigh leads; the targets are sorted and
// apart.
func (g *gen) dispatch(targets []target, n int, miss label) {
	if len(targets) > linearSearch {
		mid := len(targets) / 2
		right := g.newLabel()
		g.branch(asm.JGE, regHigh, targets[mid].lo, n, right)
		g.dispatch(targets[:mid], n, miss)
		g.bind(right)
		g.dispatch(targets[mid:], n, miss)
		return
	}
	for _, t := range targets {
		switch {
		case t.lo == 0 && t.hi == ones(n):
			g.goTo(t.to)
			return
		case t.lo == t.hi:
			g.branch(asm.JEq, regHigh, t.lo, n, t.to)
		default:
			if t.lo > 0 {
				g.branch(asm.JLT, regHigh, t.lo, n, miss)
			}
			if t.hi == ones(n) {
				g.goTo(t.to)
				return
			}
			g.branch(asm.JLE, regHigh, t.hi, n, t.to)
		}
	}
	g.goTo(miss)
}
