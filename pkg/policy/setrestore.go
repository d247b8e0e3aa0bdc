// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
)

// Restore gives the sets of a program, which another one took the place of for a while, what they had before that, by the
// maps that were kept of it. What users and rules did meanwhile stays: elements that came are there, those that went
// do not come back, and of those that both programs had the statements and the time to live go on.
func (p *Program) Restore(to, from, kept map[string]*ebpf.Map) error {
	for _, s := range p.Sets {
		if s.Constant {
			continue
		}
		for _, name := range s.mapNames() {
			var err error
			switch {
			case !isLike(to[name], kept[name]):
				err = s.carry(name, to, from)
			case name == s.className:
			case s.classes && name == s.MapName:
				err = s.restoreRanges(to, from, kept)
			default:
				err = s.restore(to[name], from[name], kept[name])
			}
			if err != nil {
				return fmt.Errorf("set %v: elements of before: %w", s, err)
			}
		}
	}
	return nil
}

// isLike tells whether a map has the layout of another one.
func isLike(m, other *ebpf.Map) bool {
	return m != nil && other != nil && m.Type() == other.Type() && m.KeySize() == other.KeySize() && m.ValueSize() == other.ValueSize()
}

// restored is the value of an element that had one before another program took the set's place, and has one in that: nil
// is that it has none. What the other ruleset says of its own elements counts for nothing; what was done at run time does.
func (s *Set) restored(was, is []byte) []byte {
	ofRuleset := func(value []byte) bool { return binary.NativeEndian.Uint64(value) == 0 }
	switch {
	case was == nil && ofRuleset(is), is == nil && !ofRuleset(was):
		return nil
	case is == nil:
		return was
	case was == nil || !ofRuleset(is):
		return is
	}
	value := bytes.Clone(was)
	copy(value[s.stateOffset():s.valueSize()], is[s.stateOffset():])
	return value
}

// restore makes a map of the set what [Program.Restore] says.
func (s *Set) restore(to, from, kept *ebpf.Map) error {
	was, err := entriesOf(kept)
	if err != nil {
		return err
	}
	is := was // of a set that went
	if isLike(to, from) {
		if is, err = entriesOf(from); err != nil {
			return err
		}
	}
	now := Now()
	var keys, values [][]byte
	for key, before := range was {
		if value := s.restored(before, is[key]); value != nil && !isExpired(value, now) {
			keys, values = append(keys, []byte(key)), append(values, value)
		}
	}
	if _, err := s.remove(to, func([]byte) bool { return true }); err != nil {
		return err
	}
	if err := putAll(to, keys, values); err != nil {
		return err
	}
	for key, value := range is {
		if was[key] != nil || s.restored(nil, value) == nil || isExpired(value, now) {
			continue
		}
		if err := to.Put([]byte(key), value); err != nil && !isFull(err) {
			return err
		}
	}
	return nil
}

// entriesOf are the entries of a map.
func entriesOf(m *ebpf.Map) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := each(m, func(key, value []byte) error {
		out[string(key)] = bytes.Clone(value)
		return nil
	})
	return out, err
}

// restoreRanges is restore of a set of classes.
func (s *Set) restoreRanges(to, from, kept Maps) error {
	was, err := s.openClasses(kept)
	if err != nil {
		return err
	}
	is := was
	if isLike(to[s.MapName], from[s.MapName]) {
		if is, err = s.openClasses(from); err != nil {
			return err
		}
	}
	c, err := s.openClasses(to)
	if err != nil {
		return err
	}
	if err := c.remove(c.ids...); err != nil {
		return err
	}
	before, later := was.byRange(), is.byRange()
	now := Now()
	put := func(value []byte) error {
		r := s.rangeOf(value)
		if _, overlaps := c.overlapping(r, now); overlaps || isExpired(value, now) || uint32(len(c.ids)) >= c.MaxEntries {
			return nil
		}
		return c.put(r, bytes.Clone(value[:s.valueSize()]))
	}
	for _, id := range was.ids { // their order is that of lookups
		value := was.values[id]
		if value = s.restored(value, later[s.rangeKey(value)]); value == nil {
			continue
		}
		if err := put(value); err != nil {
			return err
		}
	}
	for _, id := range is.ids {
		value := is.values[id]
		if before[s.rangeKey(value)] != nil || s.restored(nil, value) == nil {
			continue
		}
		if err := put(value); err != nil {
			return err
		}
	}
	return c.commit()
}

// rangeKey is what an element of a set of classes is known by.
func (s *Set) rangeKey(value []byte) string {
	r := s.rangeOf(value)
	return string(r.From) + string(r.To)
}

// byRange are the elements by their keys.
func (c *classSet) byRange() map[string][]byte {
	out := make(map[string][]byte, len(c.ids))
	for _, id := range c.ids {
		out[c.rangeKey(c.values[id])] = c.values[id]
	}
	return out
}
