// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"slices"
)

// Range is a range of keys, both ends included, compared as memory is. In a
// concatenation each field is a range of its own.
type Range struct {
	From, To []byte
	Element  Element
}

// Ranges returns the set's elements as ranges in ascending order, or in the
// kernel's, in which the first one holds, where their fields are ranges.
// Catch-all elements are left out.
func (s *Set) Ranges() []Range {
	elems := make([]*Element, 0, len(s.Elements))
	for i := range s.Elements {
		if e := &s.Elements[i]; !e.CatchAll {
			elems = append(elems, e)
		}
	}
	if s.Has(SetInterval | SetConcat) {
		return concatRanges(elems)
	}
	// An interval that ends where the next begins: the end sorts first.
	slices.SortFunc(elems, func(a, b *Element) int {
		c := bytes.Compare(a.Key, b.Key)
		switch {
		case c != 0 || a.IntervalEnd == b.IntervalEnd:
			return c
		case a.IntervalEnd:
			return -1
		}
		return 1
	})
	ranges := make([]Range, 0, len(elems))
	for i, e := range elems {
		if e.IntervalEnd {
			continue
		}
		r := Range{From: e.Key, To: e.Key, Element: *e}
		switch {
		case e.KeyEnd != nil:
			r.To = e.KeyEnd
		case !s.Has(SetInterval):
		case i+1 < len(elems):
			r.To = before(elems[i+1].Key)
		default:
			r.To = bytes.Repeat([]byte{0xff}, len(e.Key))
		}
		ranges = append(ranges, r)
	}
	return ranges
}

func concatRanges(elems []*Element) []Range {
	ranges := make([]Range, len(elems))
	for i, e := range elems {
		ranges[i] = Range{From: e.Key, To: e.Key, Element: *e}
		if e.KeyEnd != nil {
			ranges[i].To = e.KeyEnd
		}
	}
	return ranges
}

// before returns the key that precedes k.
func before(k []byte) []byte {
	p := bytes.Clone(k)
	for i := len(p) - 1; i >= 0; i-- {
		p[i]--
		if p[i] != 0xff {
			break
		}
	}
	return p
}
