// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
)

// condition is a condition on one key: its value is in spans, which are sorted
// and apart.
type condition struct {
	key   []sym
	spans []span
	flat  bool // see plain
}

func newCondition(m *opMatch) condition {
	c := condition{key: m.keys[0]}
	for _, e := range m.elems {
		c.spans = append(c.spans, e[0])
	}
	c.spans = joinSpans(c.spans)
	if m.invert {
		c.spans = complement(c.spans, len(c.key))
	}
	c.flat = isPlain(c.key)
	return c
}

func sameOp(a, b op) bool { return reflect.DeepEqual(a, b) }

// plain tells whether the key is just bytes of a field, or of a name.
func (c condition) plain() bool { return c.flat }

func isPlain(key []sym) bool {
	first := key[0]
	for i, s := range key {
		if s.field == fieldNone || s.and != 0xff || s.xor != 0 || s.name != first.name ||
			s.field != first.field || s.index != first.index+uint8(i) {
			return false
		}
	}
	return true
}

// Values that ct_state can have: always one bit (NF_CT_STATE_BIT and
// NF_CT_STATE_UNTRACKED_BIT of the kernel).
var ctStates = []uint32{1 << 0, ctEstablished, 1 << 2, 1 << 3, 1 << 6}

const ctEstablished = 1 << 1

// onCtState tells whether the condition is about ct_state alone.
func (c condition) onCtState() bool {
	return !slices.ContainsFunc(c.key, func(s sym) bool { return s.field != fieldCtState && s.field != fieldNone })
}

// holds evaluates the condition for a value of the bytes of a field from the
// given one on. ok is false when they do not decide.
func (c condition) holds(f pktField, from int, value []byte) (holds, ok bool) {
	v := make([]byte, len(c.key))
	for i, s := range c.key {
		if s.field != fieldNone {
			at := int(s.index) - from
			if s.field != f || s.name || at < 0 || at >= len(value) {
				return false, false
			}
			v[i] = value[at] & s.and
		}
		v[i] ^= s.xor
	}
	return slices.ContainsFunc(c.spans, func(s span) bool { return s.contains(v) }), true
}

// manyValues is up to how many values are tried one by one.
const manyValues = 64

// decides calls fn with whether d holds for each value that c allows, if c
// allows few and they decide d.
func (c condition) decides(d condition, fn func(holds bool)) bool {
	if !c.plain() || c.key[0].name || len(c.spans) > manyValues || !singles(c.spans) {
		return false
	}
	for _, s := range c.spans {
		if _, ok := d.holds(c.key[0].field, int(c.key[0].index), s.lo); !ok {
			return false
		}
	}
	for _, s := range c.spans {
		h, _ := d.holds(c.key[0].field, int(c.key[0].index), s.lo)
		fn(h)
	}
	return true
}

// align brings both conditions to keys of one length, if they are about bytes
// that begin at the same place. What the shorter one does not say can be
// anything.
func align(c, d condition) (a, b []span, ok bool) {
	if len(c.key) == len(d.key) && slices.Equal(c.key, d.key) {
		return c.spans, d.spans, true
	}
	if !c.plain() || !d.plain() || c.key[0] != d.key[0] {
		return nil, nil, false
	}
	n := max(len(c.key), len(d.key))
	return extend(c.spans, n), extend(d.spans, n), true
}

// extend makes spans of longer values, of which these are the beginning.
func extend(spans []span, n int) []span {
	out := make([]span, len(spans))
	for i, s := range spans {
		more := n - len(s.lo)
		out[i] = span{
			append(bytes.Clone(s.lo), make([]byte, more)...),
			append(bytes.Clone(s.hi), bytes.Repeat([]byte{0xff}, more)...),
		}
	}
	return joinSpans(out)
}

// implies tells whether d holds wherever c does.
func (c condition) implies(d condition) bool {
	if c.onCtState() && d.onCtState() {
		return !slices.ContainsFunc(ctStates, func(v uint32) bool {
			return c.holdsCt(v) && !d.holdsCt(v)
		})
	}
	if a, b, ok := align(c, d); ok {
		return subset(a, b)
	}
	all := true
	return c.decides(d, func(h bool) { all = all && h }) && all
}

// excludes tells whether c and d never hold both.
func (c condition) excludes(d condition) bool {
	if c.onCtState() && d.onCtState() {
		return !slices.ContainsFunc(ctStates, func(v uint32) bool {
			return c.holdsCt(v) && d.holdsCt(v)
		})
	}
	if a, b, ok := align(c, d); ok {
		return !overlap(a, b)
	}
	none := true
	count := func(h bool) { none = none && !h }
	return (c.decides(d, count) || d.decides(c, count)) && none
}

func (c condition) holdsCt(v uint32) bool {
	h, _ := c.holds(fieldCtState, 0, binary.NativeEndian.AppendUint32(nil, v))
	return h
}

// joinSpans sorts spans of one length and joins those that touch.
func joinSpans(spans []span) []span {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return bytes.Compare(a.lo, b.lo) })
	var out []span
	for _, s := range spans {
		if bytes.Compare(s.lo, s.hi) > 0 {
			continue
		}
		if n := len(out); n > 0 {
			last := &out[n-1]
			if next, ok := step(last.hi, 1); !ok || bytes.Compare(s.lo, next) <= 0 {
				if bytes.Compare(s.hi, last.hi) > 0 {
					last.hi = s.hi
				}
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// step adds 1 or -1 to a value; ok is false when it wraps.
func step(v []byte, by int) (next []byte, ok bool) {
	next = bytes.Clone(v)
	wraps, becomes := byte(0xff), byte(0)
	if by < 0 {
		wraps, becomes = 0, 0xff
	}
	for i := len(next) - 1; i >= 0; i-- {
		if next[i] != wraps {
			next[i] += byte(by)
			return next, true
		}
		next[i] = becomes
	}
	return next, false
}

// complement returns the values of n bytes that are in none of the spans.
func complement(spans []span, n int) []span {
	var out []span
	lo := make([]byte, n)
	for _, s := range spans {
		if hi, ok := step(s.lo, -1); ok && bytes.Compare(lo, hi) <= 0 {
			out = append(out, span{lo, hi})
		}
		next, ok := step(s.hi, 1)
		if !ok {
			return out
		}
		lo = next
	}
	return append(out, span{lo, bytes.Repeat([]byte{0xff}, n)})
}

// subset tells whether all values of a are in b; both are joined.
func subset(a, b []span) bool {
	return !slices.ContainsFunc(a, func(s span) bool {
		return !slices.ContainsFunc(b, func(t span) bool { return t.contains(s.lo) && t.contains(s.hi) })
	})
}

// overlap tells whether a and b have values in common.
func overlap(a, b []span) bool {
	return slices.ContainsFunc(a, func(s span) bool {
		return slices.ContainsFunc(b, func(t span) bool {
			return bytes.Compare(s.lo, t.hi) <= 0 && bytes.Compare(t.lo, s.hi) <= 0
		})
	})
}
