// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// LiveSet turns changes of a set's elements, as the kernel reports them, into
// changes of its ranges. The kernel holds a range as two elements, of which the
// second marks its end, and reports either on its own.
type LiveSet struct {
	set *Set
	// boundaries of a set of ranges, in the order of Ranges; nil for a set
	// whose elements are ranges or keys by themselves.
	boundaries []*boundary
	ranges     bool
	// expires is when the first of the boundaries does; zero: none.
	expires time.Time
}

// boundary is where a range begins or ends.
type boundary struct {
	Element
	expires time.Time // zero: never
}

// NewLiveSet begins with the elements of s at the time when they were read.
func NewLiveSet(s *Set, read time.Time) *LiveSet {
	l := &LiveSet{set: s, ranges: s.Has(SetInterval) && !s.Has(SetConcat)}
	if !l.ranges {
		return l
	}
	for _, e := range s.Elements {
		if !e.CatchAll {
			b := newBoundary(e, read)
			l.boundaries = append(l.boundaries, b)
			l.mind(b)
		}
	}
	slices.SortStableFunc(l.boundaries, compareBoundaries)
	return l
}

func newBoundary(e Element, read time.Time) *boundary {
	b := &boundary{Element: e}
	if e.Expires > 0 {
		b.expires = read.Add(e.Expires)
	}
	return b
}

// compareBoundaries orders by key; an end comes before the beginning of the next.
func compareBoundaries(a, b *boundary) int {
	if c := bytes.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	switch {
	case a.IntervalEnd == b.IntervalEnd:
		return 0
	case a.IntervalEnd:
		return -1
	}
	return 1
}

// Apply takes in the changes of a transaction, in their order, and returns which
// ranges have gone and which have come; one that was replaced is in both.
// Catch-all elements are not for it.
func (l *LiveSet) Apply(changes []ElementChange, now time.Time) (gone, come []Range) {
	if l.ranges {
		return l.applyBoundaries(changes, now)
	}
	// What counts is the last that happened to a key.
	last := map[string]int{}
	for i, c := range changes {
		last[string(c.Element.Key)+string(c.Element.KeyEnd)] = i
	}
	for i, c := range changes {
		e := c.Element
		if last[string(e.Key)+string(e.KeyEnd)] != i {
			continue
		}
		r := Range{From: e.Key, To: e.Key, Element: e}
		if e.KeyEnd != nil {
			r.To = e.KeyEnd
		}
		if c.Deleted {
			gone = append(gone, r)
		} else {
			come = append(come, r)
		}
	}
	return gone, come
}

func (l *LiveSet) applyBoundaries(changes []ElementChange, now time.Time) (gone, come []Range) {
	l.expire(now)
	changed := make(map[string]*boundary, len(changes)) // nil: deleted
	keys := make([]*boundary, 0, len(changes))
	for _, c := range changes {
		b := newBoundary(c.Element, now)
		if _, again := changed[boundaryKey(b)]; !again {
			keys = append(keys, b)
		}
		changed[boundaryKey(b)] = b
		if c.Deleted {
			changed[boundaryKey(b)] = nil
		}
	}
	slices.SortFunc(keys, compareBoundaries)

	// A range is another one if its beginning changed, or the boundary that
	// follows it did.
	starts := map[string]*boundary{}
	l.startsAt(keys, starts)
	gone = l.rangesAt(starts)
	l.change(keys, changed)
	l.startsAt(keys, starts)
	return gone, l.rangesAt(starts)
}

// startsAt adds the beginnings of the ranges that boundaries belong to.
func (l *LiveSet) startsAt(keys []*boundary, starts map[string]*boundary) {
	for _, k := range keys {
		i, found := slices.BinarySearchFunc(l.boundaries, k, compareBoundaries)
		if found && !l.boundaries[i].IntervalEnd {
			starts[string(k.Key)] = k
		}
		if i > 0 && !l.boundaries[i-1].IntervalEnd {
			starts[string(l.boundaries[i-1].Key)] = l.boundaries[i-1]
		}
	}
}

// rangesAt returns the ranges that there are of those that begin at starts.
func (l *LiveSet) rangesAt(starts map[string]*boundary) []Range {
	var out []Range
	for _, s := range sortedBoundaries(starts) {
		if r, ok := rangeAt(l.boundaries, &boundary{Element: Element{Key: s.Key}}); ok {
			out = append(out, r)
		}
	}
	return out
}

func boundaryKey(b *boundary) string {
	if b.IntervalEnd {
		return "e" + string(b.Key)
	}
	return "s" + string(b.Key)
}

func sortedBoundaries(m map[string]*boundary) []*boundary {
	out := make([]*boundary, 0, len(m))
	for _, b := range m {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *boundary) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	return out
}

// mind notes when a boundary expires.
func (l *LiveSet) mind(b *boundary) {
	if !b.expires.IsZero() && (l.expires.IsZero() || b.expires.Before(l.expires)) {
		l.expires = b.expires
	}
}

// expire leaves out ranges whose time is over: the kernel takes them away, end
// and all, without a word.
func (l *LiveSet) expire(now time.Time) {
	if l.expires.IsZero() || l.expires.After(now) {
		return
	}
	list := l.boundaries
	l.expires = time.Time{}
	l.boundaries = make([]*boundary, 0, len(list))
	for i := 0; i < len(list); i++ {
		if !list[i].expired(now) {
			l.boundaries = append(l.boundaries, list[i])
			l.mind(list[i])
			continue
		}
		if i+1 < len(list) && list[i+1].IntervalEnd {
			i++
		}
	}
}

func (b *boundary) expired(now time.Time) bool {
	return !b.expires.IsZero() && !b.expires.After(now)
}

// fewChanges are made where they are. More make a new list, for which the old one
// is walked through once, and not for each.
const fewChanges = 16

// change makes the changes, whose keys are sorted.
func (l *LiveSet) change(keys []*boundary, changed map[string]*boundary) {
	for _, b := range changed {
		if b != nil {
			l.mind(b)
		}
	}
	if len(keys) > fewChanges {
		l.boundaries = merge(l.boundaries, keys, changed)
		return
	}
	for _, k := range keys {
		i, found := slices.BinarySearchFunc(l.boundaries, k, compareBoundaries)
		b := changed[boundaryKey(k)]
		switch {
		case found && b == nil:
			l.boundaries = slices.Delete(l.boundaries, i, i+1)
		case found:
			l.boundaries[i] = b
		case b != nil:
			l.boundaries = slices.Insert(l.boundaries, i, b)
		}
	}
}

// merge returns list with the changes, whose keys are sorted.
func merge(list, keys []*boundary, changed map[string]*boundary) []*boundary {
	out := make([]*boundary, 0, len(list)+len(keys))
	for _, k := range keys {
		i, found := slices.BinarySearchFunc(list, k, compareBoundaries)
		out = append(out, list[:i]...)
		if found {
			i++
		}
		list = list[i:]
		if b := changed[boundaryKey(k)]; b != nil {
			out = append(out, b)
		}
	}
	return append(out, list...)
}

// rangeAt returns the range that begins at start.
func rangeAt(list []*boundary, start *boundary) (Range, bool) {
	i, found := slices.BinarySearchFunc(list, start, compareBoundaries)
	if !found {
		return Range{}, false
	}
	r := Range{From: list[i].Key, Element: list[i].Element}
	if i+1 < len(list) {
		r.To = before(list[i+1].Key)
	} else {
		r.To = bytes.Repeat([]byte{0xff}, len(r.From))
	}
	return r, true
}
