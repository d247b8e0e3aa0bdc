// SPDX-License-Identifier: GPL-2.0-only

// Package mapdiff says how two states differ, for tests of what is to be as it was.
package mapdiff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Of are the differences between what was and what is, in the order of their keys: KEY: was VALUE, is VALUE. It is nil
// if there are none.
func Of[V comparable](before, after map[string]V) (out []string) {
	keys := maps.Clone(before)
	if keys == nil {
		keys = map[string]V{}
	}
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, had := before[key]
		is, has := after[key]
		if had != has || was != is {
			out = append(out, fmt.Sprintf("%s: was %s, is %s", key, text(was, had), text(is, has)))
		}
	}
	return out
}

// text is a value; one of several lines begins on one of its own.
func text[V any](value V, there bool) string {
	if !there {
		return "nothing"
	}
	s := strings.TrimSuffix(fmt.Sprint(value), "\n")
	if strings.Contains(s, "\n") {
		return "\n" + s + "\n"
	}
	return fmt.Sprintf("%q", s)
}
