// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// chainLint looks at the rules of one chain.
type chainLint struct {
	p     *Program
	rules []view // and the policy
	// index has the rules that decide, as far as they can be compared with
	// the rule in hand; all has all rules.
	index, all *lintIndex
	// from is the first rule whose packets are those of the rule in hand:
	// nothing has been written since.
	from int
}

func newChainLint(p *Program, ch *chain) *chainLint {
	l := &chainLint{p: p, rules: ch.views(p), index: newLintIndex(), all: newLintIndex()}
	for i := range l.rules {
		l.all.add(i, &l.rules[i])
	}
	return l
}

// run returns a warning for each rule that deserves one, by its place.
func (l *chainLint) run() map[int]*Warning {
	found := make(map[int]*Warning)
	var end *view // decides about every packet
	for i := range l.rules {
		v := &l.rules[i]
		if v.info.Handle != 0 {
			if end != nil {
				found[i] = &Warning{Kind: NeverReached, By: []RuleInfo{end.info}}
			} else if w := l.rule(i); w != nil {
				found[i] = w
			}
		}
		switch {
		case v.writes:
			l.from, l.index = i+1, newLintIndex()
		case v.decides():
			l.index.add(i, v)
			if end == nil && len(v.conds) == 0 && len(v.opaque) == 0 && v.transport == 0 {
				end = v
			}
		}
	}
	return found
}

// rule looks at one rule.
func (l *chainLint) rule(at int) *Warning {
	v := &l.rules[at]
	if v.never {
		return &Warning{Kind: NeverMatches}
	}
	if by := l.decidedBefore(at); len(by) > 0 {
		return &Warning{Kind: NeverReached, By: by}
	}
	if !v.terminal || v.jumps || v.writes {
		return nil
	}
	if v.limit == nil {
		if w := l.overlap(at); w != nil {
			return w
		}
		if !v.effects && !v.chance {
			if r := l.sameAnyway(at); r != nil {
				return &Warning{Kind: Pointless, By: []RuleInfo{r.info}}
			}
		}
		return nil
	}
	if r := l.sameAnyway(at); r != nil {
		return &Warning{Kind: LimitWithoutEffect, By: []RuleInfo{r.info}}
	}
	if by := l.bypass(at); len(by) > 0 {
		return &Warning{Kind: LimitBypassed, By: by}
	}
	return nil
}

// decidedBefore returns the earlier rules that decide about every packet which
// the rule matches: one, or several together.
func (l *chainLint) decidedBefore(at int) []RuleInfo {
	v := &l.rules[at]
	candidates := l.index.candidates(v)
	for _, i := range candidates {
		if r := &l.rules[i]; v.within(r) {
			return []RuleInfo{r.info}
		}
	}
	if by := l.decidedByState(v, candidates); by != nil {
		return by
	}
	for _, c := range v.conds {
		if by := l.decidedByKey(v, c); by != nil {
			return by
		}
	}
	return nil
}

// decidedByState looks for rules that together decide about all states of flows
// that the rule can see.
func (l *chainLint) decidedByState(v *view, candidates []int) []RuleInfo {
	left := v.ctStates()
	var by []RuleInfo
	for _, i := range candidates {
		r := &l.rules[i]
		if !slices.ContainsFunc(r.conds, condition.onCtState) || !v.withinBut(r, condition.onCtState) {
			continue
		}
		states := r.ctStates()
		n := len(left)
		left = slices.DeleteFunc(left, func(s uint32) bool { return slices.Contains(states, s) })
		if len(left) < n {
			by = append(by, r.info)
		}
		if len(left) == 0 {
			return by
		}
	}
	return nil
}

// ctStates returns the states that the rule's conditions leave.
func (v *view) ctStates() []uint32 {
	states := slices.Clone(ctStates)
	for _, c := range v.conds {
		if c.onCtState() {
			states = slices.DeleteFunc(states, func(s uint32) bool { return !c.holdsCt(s) })
		}
	}
	return states
}

// decidedByKey looks for rules that together hold all values which the rule's
// condition on a key leaves.
func (l *chainLint) decidedByKey(v *view, c condition) []RuleInfo {
	if c.onCtState() {
		return nil
	}
	but := func(d condition) bool { return slices.Equal(d.key, c.key) }
	left := c.spans
	var by []RuleInfo
	for _, i := range l.index.onKey(v, c) {
		r := &l.rules[i]
		at := slices.IndexFunc(r.conds, but)
		if at < 0 || slices.ContainsFunc(r.conds[at+1:], but) || !overlap(left, r.conds[at].spans) || !v.withinBut(r, but) {
			continue
		}
		left = intersect(left, complement(r.conds[at].spans, len(c.key)))
		by = append(by, r.info)
		if len(left) == 0 {
			return by
		}
	}
	return nil
}

// intersect returns the values that are in both; they are joined, as is the
// result.
func intersect(a, b []span) []span {
	var out []span
	for _, s := range a {
		for _, t := range b {
			lo, hi := s.lo, s.hi
			if bytes.Compare(t.lo, lo) > 0 {
				lo = t.lo
			}
			if bytes.Compare(t.hi, hi) < 0 {
				hi = t.hi
			}
			if bytes.Compare(lo, hi) <= 0 {
				out = append(out, span{lo, hi})
			}
		}
	}
	return out
}

// sameAnyway returns the later rule that gives every packet, which the rule
// does not decide about because of its limit, or would not if it were not
// there, the verdict of the rule; or nil.
func (l *chainLint) sameAnyway(at int) *view {
	v := &l.rules[at]
	for _, i := range l.all.near(v) {
		r := &l.rules[i]
		switch {
		case i <= at:
		case r.never || v.apart(r):
		case r.writes || r.jumps:
			return nil
		case !r.terminal:
		case r.verdict != v.verdict:
			return nil
		case r.limit == nil && v.within(r):
			return r
		}
	}
	return nil
}

// bypass returns the earlier rules that accept packets for which the rule's
// limit is meant. Traffic of the host with itself does not count.
func (l *chainLint) bypass(at int) []RuleInfo {
	v := &l.rules[at]
	if v.verdict == nft.VerdictAccept == v.limit.Over || v.chance {
		return nil
	}
	var by []RuleInfo
	for _, i := range l.all.near(v) {
		r := &l.rules[i]
		if l.from <= i && i < at && r.decides() && r.verdict == nft.VerdictAccept && !r.loopback() && !v.apart(r) {
			by = append(by, r.info)
		}
	}
	return by
}

// overlap looks for an earlier rule with another verdict, and no other
// conditions, whose set has elements that the rule's set has, too.
func (l *chainLint) overlap(at int) *Warning {
	v := &l.rules[at]
	set := v.onlySet()
	if set == nil {
		return nil
	}
	for i := l.from; i < at; i++ {
		r := &l.rules[i]
		other := r.onlySet()
		if other == nil || !r.decides() || r.verdict == v.verdict || other.set == set.set || !v.withinBut(r.withoutSets(), func(condition) bool { return false }) || !sameKeys(set.keys, other.keys) {
			continue
		}
		a, b := l.p.Sets[set.set], l.p.Sets[other.set]
		if e := commonElement(a, b); e != "" {
			return &Warning{Kind: SetsOverlap, By: []RuleInfo{r.info}, Elements: e}
		}
	}
	return nil
}

// onlySet returns the one lookup of a rule that looks into one set.
func (v *view) onlySet() *opLookup {
	if len(v.opaque) != 1 {
		return nil
	}
	o, ok := v.opaque[0].(*opLookup)
	if !ok || o.invert {
		return nil
	}
	return o
}

func (v *view) withoutSets() *view {
	w := *v
	w.opaque = nil
	return &w
}

func sameKeys(a, b [][]sym) bool {
	return slices.EqualFunc(a, b, func(a, b []sym) bool { return slices.Equal(a, b) })
}

// commonElement returns an element that both sets have, as text; empty: none,
// or not known.
func commonElement(a, b *Set) string {
	if a.isMap || b.isMap || a.keySize() != b.keySize() || len(a.fields) != 1 || len(b.fields) != 1 {
		return ""
	}
	spansOf := func(s *Set) []span {
		var out []span
		for _, r := range s.ranges {
			out = append(out, span{r.From, r.To})
		}
		return joinSpans(out)
	}
	x, y := spansOf(a), spansOf(b)
	for i, j := 0, 0; i < len(x) && j < len(y); {
		if common := intersect(x[i:i+1], y[j:j+1]); len(common) > 0 {
			return a.textOf(common[0].lo)
		}
		if bytes.Compare(x[i].hi, y[j].hi) < 0 {
			i++
		} else {
			j++
		}
	}
	return ""
}

// textOf writes a key in the layout of nft as nft does.
func (s *Set) textOf(key []byte) string {
	k, ok := s.mapKey(key)
	if !ok {
		return ""
	}
	if s.Interval {
		k = append(binary.NativeEndian.AppendUint32(nil, uint32(8*len(k))), k...)
	}
	text, err := s.Decode(k)
	if err != nil {
		return ""
	}
	return text
}
