// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// State is the values of attributes by name, as text. What they mean is the
// kind's.
type State map[string]string

// Absent is the value of an attribute that says what kind of thing a resource is, if there is
// none.
const Absent = "absent"

// isAbsent tells whether the resource is not there.
func (s State) isAbsent() bool { return slices.Contains(slices.Collect(maps.Values(s)), Absent) }

// Keys are the names of the attributes, in order.
func (s State) Keys() []string { return slices.Sorted(maps.Keys(s)) }

// LogValue implements slog.LogValuer: of a text it says how long it is.
func (s State) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, len(s))
	for _, key := range s.Keys() {
		v := s[key]
		if isText(v) {
			v = fmt.Sprintf("(%d lines)", strings.Count(v, "\n"))
		}
		attrs = append(attrs, slog.String(key, v))
	}
	return slog.GroupValue(attrs...)
}

// isText tells a value of several lines.
func isText(v string) bool { return strings.Contains(v, "\n") }

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
