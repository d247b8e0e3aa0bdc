// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Sets that cannot change become code up to these numbers of elements.
const (
	codeElements       = 32
	codeConcatElements = 64 // of ranges in concatenations
)

func (l *lowerer) lookup(e *nft.ExprLookup) error {
	s := l.rule.Chain.Table.Set(e.Set)
	switch {
	case s == nil:
		return l.errorf("no set %q", e.Set)
	}
	return l.lookupIn(s, e)
}

// setKeys are the fields of a set's key, from the registers that hold it.
func (l *lowerer) setKeys(s *nft.Set, reg nft.Register) ([][]sym, error) {
	v, err := l.load(reg, s.KeyLen)
	if err != nil {
		return nil, err
	}
	keys := make([][]sym, len(s.Fields))
	for i, f := range s.Fields {
		keys[i] = v[f.Offset : f.Offset+f.Len]
	}
	return keys, l.checkStatus(keys)
}

func (l *lowerer) lookupIn(s *nft.Set, e *nft.ExprLookup) error {
	if err := checkSet(s); err != nil {
		return err
	}

	keys, err := l.setKeys(s, e.Reg)
	if err != nil {
		return err
	}
	switch {
	case isDataMap(s):
		return l.dataMap(s, keys, e.Dst)
	case e.Map:
		return l.verdictMap(s, keys)
	}
	if isCode(s) && catchAll(s) != nil {
		// It holds everything.
		return l.matchKeys(keys, nil, !e.Invert)
	}
	if isCode(s) {
		ranges := s.Ranges()
		elems := make([][]span, len(ranges))
		for i, r := range ranges {
			elems[i] = fieldSpans(s, r)
		}
		return l.matchKeys(keys, elems, e.Invert)
	}
	if err := checkMap(s); err != nil {
		return err
	}
	return l.lookupMap(s, keys, e.Invert)
}

const supportedSets = "sets and maps of keys, ranges and concatenations"

// checkSet refuses sets of a kind that is not known.
func checkSet(s *nft.Set) error {
	states, err := elemStates(s.Exprs)
	if err != nil {
		return err
	}
	for _, el := range s.Elements {
		own, err := elemStates(el.Exprs)
		if err != nil {
			return err
		}
		if !el.IntervalEnd && !sameStates(own, states) {
			return refuse("the same for all", "set %s with an element whose statements are not the set's", s.Name)
		}
	}
	return nil
}

// catchAll returns the element that holds what no other does, or nil.
func catchAll(s *nft.Set) *nft.Element {
	for i := range s.Elements {
		if s.Elements[i].CatchAll {
			return &s.Elements[i]
		}
	}
	return nil
}

// isMap tells whether elements have a verdict, or an object.
func isMap(s *nft.Set) bool { return s.Has(nft.SetMap) || s.Has(nft.SetObject) }

// isFixed tells whether a set cannot change.
func isFixed(s *nft.Set) bool {
	return (s.Has(nft.SetAnonymous) || s.Has(nft.SetConstant)) && !s.Has(nft.SetTimeout) && !s.Has(nft.SetDynamic) && len(s.Exprs) == 0
}

// concatRanges tells whether the fields of a concatenation are ranges.
func concatRanges(s *nft.Set) bool { return s.Has(nft.SetInterval) && len(s.Fields) > 1 }

// nameRanges tells whether a set has ranges of interface names.
func nameRanges(s *nft.Set) bool {
	return s.Has(nft.SetInterval) && slices.ContainsFunc(s.Fields, func(f nft.Field) bool { return f.Type == "ifname" })
}

// isCode tells whether a set becomes code.
func isCode(s *nft.Set) bool {
	if !isFixed(s) {
		return false
	}
	n := len(s.Elements)
	if s.Has(nft.SetInterval) && n <= 2*codeConcatElements {
		n = len(s.Ranges()) // ends of ranges are elements, too
	}
	return n <= codeElements || hasClasses(s) && n <= codeConcatElements
}

// checkMap refuses sets that cannot be maps.
func checkMap(s *nft.Set) error {
	if !hasClasses(s) || !s.Has(nft.SetTimeout) {
		return nil
	}
	set := newSet(0, s, Options{})
	for i, r := range set.ranges {
		for _, other := range set.ranges[:i] {
			if set.overlaps(other, r) {
				return refuse(supportedSets, "set %s with elements that overlap and expire", s.Name)
			}
		}
	}
	return nil
}

// lookupMap adds a lookup in a set that is a map.
func (l *lowerer) lookupMap(s *nft.Set, keys [][]sym, invert bool) error {
	keys, err := mapKeys(keys)
	if err == nil {
		l.ops = append(l.ops, &opLookup{keys, l.setMap(s), invert})
	}
	return err
}

// mapKeys returns the keys that a map is asked for: interfaces are known by
// their indexes.
func mapKeys(keys [][]sym) ([][]sym, error) {
	keys = slices.Clone(keys)
	for i, key := range keys {
		field, ok, err := nameKey(key)
		if err != nil {
			return nil, err
		}
		if ok {
			keys[i] = fieldBytes(field, 0, 4)
		}
	}
	return keys, nil
}

// setMap returns the index of the set that is a map.
func (c *compiler) setMap(s *nft.Set) int {
	index, ok := c.sets[s]
	if !ok {
		index = len(c.p.Sets)
		c.sets[s] = index
		set := newSet(index, s, c.p.options)
		// checkSet has refused what this could not be.
		set.states, _ = elemStates(s.Exprs)
		c.p.Sets = append(c.p.Sets, set)
	}
	return index
}

// nameMaps gives the maps of all sets their names, once it is known what is in
// them.
func (p *Program) nameMaps() {
	taken := map[string]bool{}
	for _, s := range p.Sets {
		for n := 0; ; n++ {
			s.nameMaps(n)
			if !slices.ContainsFunc(s.mapNames(), func(name string) bool { return taken[name] }) {
				break
			}
		}
		for _, name := range s.mapNames() {
			taken[name] = true
		}
	}
}

// namedSets gives a map to each named set that no rule uses (yet), so that its
// elements can be changed all the same, and notes which sets cannot change.
func (c *compiler) namedSets(t *nft.Table) {
	for _, s := range t.Sets {
		switch {
		case s.Has(nft.SetAnonymous):
		case isFixed(s):
			c.p.fixed = append(c.p.fixed, fmt.Sprintf("%v %s", t, s.Name))
		case isMap(s) && !isDataMap(s):
		case checkSet(s) == nil && checkMap(s) == nil:
			c.setMap(s)
		}
	}
}
