// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// forever is when an element expires that was added at run time and has no
// timeout. 0 is that of an element of the ruleset.
const forever = 1<<63 - 1

// Carry gives the sets of a program what those of the running one got while it
// ran: the elements that rules and users added, and what the statements of
// elements have counted. The names of maps say which sets are the same, with the
// same keys, statements and verdicts.
func (p *Program) Carry(to, from map[string]*ebpf.Map) error {
	for _, s := range p.Sets {
		if s.Constant {
			continue
		}
		for _, name := range s.mapNames() {
			if err := s.carry(name, to, from); err != nil {
				return fmt.Errorf("set %v: elements of the running policy: %w", s, err)
			}
		}
	}
	return nil
}

// Lost names the sets whose elements another program, which takes the place of this one that runs, does not get: the
// sets, with how many elements they were given at run time.
func (p *Program) Lost(next *Program, running map[string]*ebpf.Map) (names []string, err error) {
	stays := map[string]bool{}
	for _, s := range next.Sets {
		stays[s.MapName] = !s.Constant
	}
	for _, s := range p.Sets {
		if s.Constant || stays[s.MapName] || running[s.MapName] == nil {
			continue
		}
		added, now := 0, Now()
		count := func(value []byte) {
			if binary.NativeEndian.Uint64(value) != 0 && !isExpired(value, now) {
				added++
			}
		}
		if s.classes {
			var c *classSet
			if c, err = s.openClasses(running); err == nil {
				for _, id := range c.ids {
					count(c.values[id])
				}
			}
		} else {
			err = each(running[s.MapName], func(_, value []byte) error { count(value); return nil })
		}
		if err != nil {
			return nil, fmt.Errorf("set %v: %w", s, err)
		}
		if added > 0 {
			names = append(names, fmt.Sprintf("%v (%d)", s, added))
		}
	}
	return names, nil
}

func (s *Set) carry(name string, to, from Maps) error {
	m, old := to[name], from[name]
	switch {
	case m == nil || old == nil || m.Type() != old.Type() || m.KeySize() != old.KeySize() || m.ValueSize() != old.ValueSize():
		return nil
	case name == s.className:
		return nil
	case s.classes && name == s.MapName:
		return s.carryRanges(to, from)
	}
	now, at := Now(), s.stateOffset()
	return each(old, func(key, value []byte) error {
		if isExpired(value, now) {
			return nil
		}
		is, err := m.LookupBytes(key)
		if err != nil {
			return err
		}
		// Of a trie it may be a shorter prefix.
		exact := is != nil && !s.Interval
		switch {
		case exact && len(s.states) > 0:
			copy(is[at:], value[at:])
			return m.Put(key, is)
		case exact || binary.NativeEndian.Uint64(value) == 0:
			return nil
		}
		if err := m.Update(key, value, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) && !isFull(err) {
			return err
		}
		return nil
	})
}

// carryRanges is carry of a set of classes.
func (s *Set) carryRanges(to, from Maps) error {
	old, err := s.openClasses(from)
	if err != nil {
		return err
	}
	c, err := s.openClasses(to)
	if err != nil {
		return err
	}
	now, at := Now(), s.stateOffset()
	for _, id := range old.ids {
		value := old.values[id]
		if isExpired(value, now) {
			continue
		}
		r := old.rangeOf(value)
		value = bytes.Clone(value[:s.valueSize()])
		_, overlaps := c.overlapping(r, now)
		switch is := c.find(r); {
		case is != 0:
			copy(c.values[is][at:s.valueSize()], value[at:])
			if err := c.elements.Put(is, c.values[is]); err != nil {
				return err
			}
		case binary.NativeEndian.Uint64(value) == 0 || overlaps || uint32(len(c.ids)) >= c.MaxEntries:
		default:
			if err := c.put(r, value); err != nil {
				return err
			}
		}
	}
	return c.commit()
}

// Relink has a set of classes find the interfaces that are there now.
func (s *Set) Relink(maps Maps) error {
	if !s.classes {
		return nil
	}
	c, err := s.openClasses(maps)
	if err == nil {
		c.changed = true
		err = c.commit()
	}
	if err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	return nil
}
