// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"maps"
	"slices"
)

// lintIndex finds the rules that may decide about what another one matches,
// without a look at all of them. A rule with a condition that a field has one
// value can only do so if the other has that value, too.
type lintIndex struct {
	byValue map[string][]int
	byField map[string][]int // those in byValue, by what their value is of
	others  []int
}

func newLintIndex() *lintIndex {
	return &lintIndex{byValue: make(map[string][]int), byField: make(map[string][]int)}
}

// fieldName names the bytes that a plain condition is about.
func fieldName(key []sym, n int) string {
	name := []byte{byte(key[0].field), key[0].index, byte(n)}
	if key[0].name {
		name = append(name, 'n')
	}
	return string(name)
}

// one returns the value of a condition that leaves one.
func (c condition) one() ([]byte, bool) {
	if !c.plain() || len(c.spans) != 1 || !c.spans[0].single() {
		return nil, false
	}
	return c.spans[0].lo, true
}

// add takes in a rule.
func (x *lintIndex) add(at int, v *view) {
	var field, value string
	for _, c := range v.conds {
		if b, ok := c.one(); ok && len(b) > len(value) {
			field, value = fieldName(c.key, len(b)), string(b)
		}
	}
	if field == "" {
		x.others = append(x.others, at)
		return
	}
	x.byValue[field+value] = append(x.byValue[field+value], at)
	x.byField[field] = append(x.byField[field], at)
}

// candidates returns the rules that may hold all that v matches, in their
// order.
func (x *lintIndex) candidates(v *view) []int {
	found := make(map[int]bool)
	x.with(v, found)
	return slices.Sorted(maps.Keys(found))
}

func (x *lintIndex) with(v *view, found map[int]bool) {
	for _, i := range x.others {
		found[i] = true
	}
	for _, c := range v.conds {
		b, ok := c.one()
		if !ok {
			continue
		}
		for n := 1; n <= len(b); n++ {
			for _, i := range x.byValue[fieldName(c.key, n)+string(b[:n])] {
				found[i] = true
			}
		}
	}
}

// near returns the rules that may match a packet which v matches, in their
// order.
func (x *lintIndex) near(v *view) []int {
	found := slices.Clone(x.others)
	values := make(map[string]string)
	for _, c := range v.conds {
		if b, ok := c.one(); ok {
			values[fieldName(c.key, len(b))] = string(b)
		}
	}
	for field, rules := range x.byField {
		if value, ok := values[field]; ok {
			rules = x.byValue[field+value]
		}
		found = append(found, rules...)
	}
	slices.Sort(found)
	return found
}

// manyRules is up to how many rules with values of one field are looked at.
const manyRules = 256

// onKey returns the rules that may hold a part of what v matches, which is
// divided by the values of a condition's key.
func (x *lintIndex) onKey(v *view, c condition) []int {
	found := make(map[int]bool)
	x.with(v, found)
	if c.plain() {
		field := fieldName(c.key, len(c.key))
		if rules := x.byField[field]; len(rules) <= manyRules {
			for _, i := range rules {
				found[i] = true
			}
		} else if len(c.spans) <= manyValues && singles(c.spans) {
			for _, s := range c.spans {
				for _, i := range x.byValue[field+string(s.lo)] {
					found[i] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
