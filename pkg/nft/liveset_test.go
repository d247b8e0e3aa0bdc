// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// state of a set by the first key of each range.
func rangesByStart(ranges []Range) map[string]string {
	m := map[string]string{}
	for _, r := range ranges {
		m[string(r.From)] = fmt.Sprintf("%x-%x %v", r.From, r.To, r.Element.Timeout)
	}
	return m
}

// The ranges that Apply takes away and adds lead to what all elements together
// say, whatever the changes are.
func TestLiveSetOfRanges(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	for round := range 300 {
		set := &Set{Flags: SetInterval}
		type key struct {
			k   byte
			end bool
		}
		all := map[key]Element{}
		element := func() (key, Element) {
			k := key{byte(r.IntN(24)), r.IntN(2) == 0}
			e := Element{Key: []byte{k.k}, IntervalEnd: k.end}
			if !k.end {
				e.Timeout = time.Duration(r.IntN(3)) * time.Hour
			}
			return k, e
		}
		for range r.IntN(12) {
			k, e := element()
			all[k] = e
		}
		elements := func() []Element { return slices.Collect(maps.Values(all)) }
		set.Elements = elements()
		live := NewLiveSet(set, time.Now())
		got := rangesByStart(set.Ranges())
		for step := range 20 {
			var changes []ElementChange
			most := 4
			if round%4 == 0 {
				most = 3 * fewChanges
			}
			for range 1 + r.IntN(most) {
				k, e := element()
				deleted := r.IntN(2) == 0
				changes = append(changes, ElementChange{Element: e, Deleted: deleted})
				if deleted {
					delete(all, k)
				} else {
					all[k] = e
				}
			}
			gone, come := live.Apply(changes, time.Now())
			for start := range rangesByStart(gone) {
				delete(got, start)
			}
			maps.Copy(got, rangesByStart(come))
			want := rangesByStart((&Set{Flags: SetInterval, Elements: elements()}).Ranges())
			if !maps.Equal(got, want) {
				t.Fatalf("round %d step %d:\nchanges %+v\ngot  %q\nwant %q", round, step, changes, got, want)
			}
		}
	}
}

// The end of a range that has expired is not that of one that takes its place.
func TestLiveSetExpires(t *testing.T) {
	now := time.Now()
	add := func(k byte, end bool) ElementChange {
		return ElementChange{Element: Element{Key: []byte{k}, IntervalEnd: end}}
	}
	l := NewLiveSet(&Set{Flags: SetInterval | SetTimeout, Elements: []Element{
		{Key: []byte{10}, Timeout: time.Second, Expires: time.Second}, {Key: []byte{20}, IntervalEnd: true},
	}}, now)
	gone, come := l.Apply([]ElementChange{add(10, false), add(40, true)}, now.Add(2*time.Second))
	if len(gone) != 0 || len(come) != 1 || come[0].To[0] != 39 {
		t.Errorf("gone %+v, come %+v", gone, come)
	}
	// So is that of one that came later.
	short := add(50, false)
	short.Element.Timeout, short.Element.Expires = time.Second, time.Second
	l.Apply([]ElementChange{short, add(60, true)}, now.Add(3*time.Second))
	gone, come = l.Apply([]ElementChange{add(50, false), add(90, true)}, now.Add(5*time.Second))
	if len(gone) != 0 || len(come) != 1 || come[0].To[0] != 89 {
		t.Errorf("gone %+v, come %+v", gone, come)
	}
}

func TestLiveSetOfKeys(t *testing.T) {
	l := NewLiveSet(&Set{}, time.Now())
	e := func(k byte, deleted bool) ElementChange {
		return ElementChange{Element: Element{Key: []byte{k}}, Deleted: deleted}
	}
	gone, come := l.Apply([]ElementChange{e(1, true), e(1, false), e(2, false), e(2, true), e(3, true)}, time.Now())
	if len(come) != 1 || come[0].From[0] != 1 || len(gone) != 2 {
		t.Errorf("gone %+v, come %+v", gone, come)
	}
}
