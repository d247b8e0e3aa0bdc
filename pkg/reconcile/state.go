// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"maps"
	"slices"
)

// State is the values of attributes by name, as text. What they mean is the
// kind's.
type State map[string]string

// Keys are the names of the attributes, in order.
func (s State) Keys() []string { return slices.Sorted(maps.Keys(s)) }

// Pick returns the attributes that are in keys.
func (s State) Pick(keys []string) State {
	out := make(State, len(keys))
	for _, k := range keys {
		if v, ok := s[k]; ok {
			out[k] = v
		}
	}
	return out
}
