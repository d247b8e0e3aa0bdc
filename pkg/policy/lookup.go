// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Sets that cannot change become code up to these numbers of elements.
const (
	codeElements       = 32
	codeConcatElements = 256 // ranges in concatenations, which no map can hold
)

func (l *lowerer) lookup(e *nft.ExprLookup) error {
	const sets = "sets of keys, ranges and concatenations"
	t := l.rule.Chain.Table
	s := t.Set(e.Set)
	if s == nil {
		return fmt.Errorf("table %v chain %s rule handle %d: no set %q", t, l.rule.Chain.Name, l.rule.Handle, e.Set)
	}
	switch {
	case e.Map && e.Dst == nft.RegVerdict:
		return refuse(sets, "a verdict map")
	case e.Map || s.Has(nft.SetMap) || s.Has(nft.SetObject):
		return refuse(sets, "a map")
	case s.Fields == nil:
		return refuse(sets, "set %s of type %s", s.Name, s.KeyType)
	case len(s.Exprs) > 0:
		return refuse(sets, "set %s with %s for each element", s.Name, s.Exprs[0].ExprName())
	}
	for _, el := range s.Elements {
		switch {
		case el.CatchAll:
			return refuse(sets, "set %s with a catch-all element", s.Name)
		case len(el.Exprs) > 0:
			return refuse(sets, "set %s with %s in an element", s.Name, el.Exprs[0].ExprName())
		}
	}

	v, err := l.load(e.Reg, s.KeyLen)
	if err != nil {
		return err
	}
	keys := make([][]sym, len(s.Fields))
	for i, f := range s.Fields {
		keys[i] = v[f.Offset : f.Offset+f.Len]
	}

	ranges := s.Ranges()
	fixed := (s.Has(nft.SetAnonymous) || s.Has(nft.SetConstant)) && !s.Has(nft.SetTimeout)
	concat := s.Has(nft.SetInterval) && len(s.Fields) > 1
	switch {
	case fixed && (len(ranges) <= codeElements || concat && len(ranges) <= codeConcatElements):
		elems := make([][]span, len(ranges))
		for i, r := range ranges {
			for _, f := range s.Fields {
				elems[i] = append(elems[i], span{r.From[f.Offset : f.Offset+f.Len], r.To[f.Offset : f.Offset+f.Len]})
			}
		}
		return l.matchKeys(keys, elems, e.Invert)
	case concat && fixed:
		return refuse(sets, "set %s with %d ranges in concatenations, more than %d", s.Name, len(ranges), codeConcatElements)
	case concat:
		return refuse(sets+" (with ranges only if the set is constant)", "set %s with ranges in concatenations that can change", s.Name)
	}
	return l.lookupMap(s, keys, e.Invert)
}

// lookupMap adds a lookup in a set that is a map.
func (l *lowerer) lookupMap(s *nft.Set, keys [][]sym, invert bool) error {
	for i, key := range keys {
		field, ok, err := nameKey(key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if s.Has(nft.SetInterval) {
			return refuse("ranges of names in constant sets", "set %s with ranges of interface names that can change", s.Name)
		}
		keys[i] = fieldBytes(field, 0, 4)
	}
	index, ok := l.sets[s]
	if !ok {
		index = len(l.p.Sets)
		l.sets[s] = index
		l.p.Sets = append(l.p.Sets, newSet(index, s, l.p.options))
	}
	l.ops = append(l.ops, &opLookup{keys, index, invert})
	return nil
}
