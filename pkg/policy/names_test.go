// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"
	"testing"
)

// A range of names that holds the empty one matches packets without an
// interface, and those of interfaces that nobody named.
func TestResolveEmptyName(t *testing.T) {
	c := &compiler{p: &Program{options: Options{Links: testLinks}}, links: []string{"br0", "hs0", "hs1", "lo", "wan0"}}
	for _, invert := range []bool{false, true} {
		m := &opMatch{
			keys:   [][]sym{ifname(fieldIif)},
			elems:  [][]span{{{paddedName("", ifnameLen), paddedName("hs0", ifnameLen)}}},
			invert: invert,
		}
		got, err := c.resolveNames(m)
		if err != nil {
			t.Fatal(err)
		}
		matches := func(index int) bool {
			in := slices.ContainsFunc(got.elems, func(e []span) bool { return e[0].contains(ifindexBytes(index)) })
			return in != got.invert
		}
		for index, want := range map[int]bool{0: true, 7: true, 11: true, 12: false, 3: false, 1: false, 99: true} {
			if matches(index) == (want == invert) {
				t.Errorf("inverted %v: index %d matches: %v", invert, index, matches(index))
			}
		}
	}
}

func TestResolvePartsOfNames(t *testing.T) {
	c := &compiler{p: &Program{options: Options{Links: testLinks}}}
	for _, key := range [][]sym{ifname(fieldIif)[1:], append(ifname(fieldIif)[:2], constant(0))} {
		if m, err := c.resolveNames(&opMatch{keys: [][]sym{key}}); err == nil {
			t.Errorf("%+v: %+v", key, m)
		}
	}
}
