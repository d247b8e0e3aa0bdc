// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Set finds a set by name. The error says which sets there are.
func (p *Program) Set(family nft.Family, table, name string) (*Set, error) {
	var names []string
	for _, s := range p.Sets {
		if s.Family == family && s.Table == table && s.Name == name {
			return s, nil
		}
		if !s.Constant {
			names = append(names, s.String())
		}
	}
	if slices.Contains(p.fixed, fmt.Sprintf("%v %s %s", family, table, name)) {
		return nil, fmt.Errorf("set %v %s %s is constant: change it in the ruleset and reload", family, table, name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no set %v %s %s: the ruleset has no set that can change", family, table, name)
	}
	return nil, fmt.Errorf("no set %v %s %s; there are: %s", family, table, name, strings.Join(names, ", "))
}

// Maps are maps by their names, those of a set among them.
type Maps map[string]*ebpf.Map

// Add puts an element into the set. It expires after timeout; 0 means what the
// set says. An element that is there already gets the new timeout; a range that
// overlaps with another one is refused, as nft does. An element of a map is
// "key : data" or "key : verdict"; jump and goto can only name chains that
// elements of the ruleset jump or go to. The key of a catch-all element, where
// the ruleset has one, is "*".
func (s *Set) Add(maps Maps, element string, timeout time.Duration) error {
	switch {
	case s.Constant:
		return fmt.Errorf("set %v is constant", s)
	case timeout < 0:
		return fmt.Errorf("set %v: element %q: timeout %v is negative", s, element, timeout)
	case timeout > 0 && !s.Timeouts:
		return fmt.Errorf("set %v: element %q: the set has no flag \"timeout\"", s, element)
	case timeout == 0:
		timeout = s.Timeout
	}
	key, verdict, data, err := s.splitElement(element)
	if err != nil {
		return err
	}
	now := Now()
	expires := uint64(forever)
	if timeout > 0 {
		expires = now + uint64(timeout)
	}
	value := s.value(expires, verdict, data, now)
	if s.classes && key != anyText {
		return s.addRange(maps, element, key, value, now)
	}
	m, keys, err := s.place(maps, key)
	if err != nil {
		return err
	}
	if s.Interval && key != anyText {
		if err := s.overlap(m, element, keys, now); err != nil {
			return err
		}
	}
	for i, k := range keys {
		if err := s.update(m, k, value, now); err != nil {
			for _, done := range keys[:i] {
				_ = m.Delete(done)
			}
			s.index = nil
			return fmt.Errorf("set %v: element %q: %w", s, element, err)
		}
		if s.index != nil && key != anyText {
			s.index.add(k)
		}
	}
	return nil
}

// anyText is the key of a catch-all element.
const anyText = "*"

// place returns the map that has, or would have, an element, and its keys there.
func (s *Set) place(maps Maps, key string) (*ebpf.Map, [][]byte, error) {
	if key == anyText {
		if s.catchAll == nil {
			return nil, nil, fmt.Errorf("set %v: no element \"*\": it has to be in the ruleset", s)
		}
		return maps[s.anyName], [][]byte{binary.NativeEndian.AppendUint32(nil, anyKey)}, nil
	}
	keys, err := s.Encode(key)
	return maps[s.MapName], keys, err
}

// update stores a key; when the set is full, expired elements make room.
func (s *Set) update(m *ebpf.Map, key, value []byte, now uint64) error {
	err := m.Put(key, value)
	if !isFull(err) {
		return err
	}
	s.index = nil
	n, perr := s.purge(m, now)
	if perr != nil {
		return perr
	}
	if n > 0 {
		err = m.Put(key, value)
	}
	if isFull(err) {
		return setFullError(s.MaxEntries)
	}
	return err
}

// setFullError is the number of elements of a set that has room for no more.
type setFullError uint32

func (e setFullError) Error() string { return fmt.Sprintf("the set is full: %d elements", uint32(e)) }

func isFull(err error) bool { return errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ENOSPC) }

// overlap refuses keys that overlap with those of other elements: the longest
// prefix decides in an LPM trie, and when it expired it would hide the others.
func (s *Set) overlap(m *ebpf.Map, element string, keys [][]byte, now uint64) error {
	if s.index == nil {
		var err error
		if s.index, err = newKeyIndex(m); err != nil {
			return fmt.Errorf("set %v: %w", s, err)
		}
	}
	var expired [][]byte
	for _, k := range keys {
		for _, other := range s.index.around(k) {
			value, err := m.LookupBytes(other)
			switch {
			case err != nil:
				return fmt.Errorf("set %v: %w", s, err)
			case value == nil:
			case isExpired(value, now):
				expired = append(expired, other)
			default:
				text, err := s.Decode(other)
				if err != nil {
					return err
				}
				return fmt.Errorf("set %v: element %q overlaps with %s", s, element, text)
			}
		}
	}
	for _, k := range expired {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("set %v: %w", s, err)
		}
		s.index.remove(k)
	}
	return nil
}

// prefixesOverlap tells whether one of two keys of an LPM trie holds the other.
func prefixesOverlap(a, b []byte) bool {
	bits := min(binary.NativeEndian.Uint32(a), binary.NativeEndian.Uint32(b))
	a, b = a[prefixLen:], b[prefixLen:]
	n := int(bits / 8)
	if !bytes.Equal(a[:n], b[:n]) {
		return false
	}
	rest := bits % 8
	return rest == 0 || (a[n]^b[n])>>(8-rest) == 0
}

// Delete removes an element from the set. Of an element of a map the key is
// enough.
func (s *Set) Delete(maps Maps, element string) error {
	if s.Constant {
		return fmt.Errorf("set %v is constant", s)
	}
	key := strings.TrimSpace(s.keyOf(element))
	if s.classes && key != anyText {
		return s.deleteRange(maps, element, key)
	}
	m, keys, err := s.place(maps, key)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := m.Lookup(k, make([]byte, s.valueSize())); err != nil {
			return fmt.Errorf("set %v: element %q: %w", s, element, err)
		}
	}
	for _, k := range keys {
		if err := m.Delete(k); err != nil {
			return fmt.Errorf("set %v: element %q: %w", s, element, err)
		}
		if s.index != nil && key != anyText {
			s.index.remove(k)
		}
	}
	return nil
}

// Flush removes all elements from the set.
func (s *Set) Flush(maps Maps) error {
	if s.Constant {
		return fmt.Errorf("set %v is constant", s)
	}
	_, err := s.removeAll(maps, func([]byte) bool { return true })
	return err
}

// SetElement is an element of a set as text.
type SetElement struct {
	// Element as nft writes it; a range is listed as prefixes, and an element
	// of a map with its data or verdict.
	Element string
	// State of its statements as nft lists it, such as "counter packets 1 bytes
	// 60"; empty when there is nothing to see.
	State string
	// Expires is what is left of its life; 0: it does not expire.
	Expires time.Duration
}

// Command returns the element as "nft add element" wants it: with what is left
// of its life, to the millisecond, as its timeout.
func (e SetElement) Command() string {
	if e.Expires == 0 {
		return e.Element
	}
	key, data := e.Element, ""
	if at := strings.LastIndex(key, " : "); at >= 0 {
		key, data = key[:at], key[at:]
	}
	return fmt.Sprintf("%s timeout %dms%s", key, max(1, e.Expires.Milliseconds()), data)
}

// Elements lists the set in the order of the keys. Elements
// that have expired are left out.
func (s *Set) Elements(maps Maps) ([]SetElement, error) {
	now := Now()
	list := s.listKeys
	if s.classes {
		list = s.listRanges
	}
	out, err := list(maps, now)
	if err != nil {
		return nil, fmt.Errorf("set %v: %w", s, err)
	}
	if s.catchAll != nil {
		err = each(maps[s.anyName], func(_, value []byte) error {
			if !isExpired(value, now) {
				out = append(out, s.listed(anyText, value, now))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("set %v: %w", s, err)
		}
	}
	return out, nil
}

// listKeys returns the elements of a set that is no set of classes.
func (s *Set) listKeys(maps Maps, now uint64) ([]SetElement, error) {
	type entry struct {
		key     []byte
		element SetElement
	}
	var entries []entry
	err := each(maps[s.MapName], func(key, value []byte) error {
		if isExpired(value, now) {
			return nil
		}
		text, err := s.Decode(key)
		if err != nil {
			return err
		}
		entries = append(entries, entry{bytes.Clone(key), s.listed(text, value, now)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	skip := 0
	if s.Interval {
		skip = prefixLen
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := bytes.Compare(a.key[skip:], b.key[skip:]); c != 0 {
			return c
		}
		return bytes.Compare(a.key, b.key)
	})
	out := make([]SetElement, len(entries))
	for i, e := range entries {
		out[i] = e.element
	}
	return out, nil
}

// listed returns an element of a list.
func (s *Set) listed(key string, value []byte, now uint64) SetElement {
	e := SetElement{Element: key + s.targetText(value)}
	for i := range s.states {
		e.State += s.states[i].text(value[s.stateOffset()+stateSize*i:])
	}
	e.State = strings.TrimPrefix(e.State, " ")
	if t := binary.NativeEndian.Uint64(value); t != 0 && t != forever {
		e.Expires = time.Duration(t - now)
	}
	return e
}

// Purge removes the elements that have expired and returns how many it were.
func (s *Set) Purge(maps Maps) (int, error) {
	if !s.Timeouts {
		return 0, nil
	}
	now := Now()
	return s.removeAll(maps, func(value []byte) bool { return isExpired(value, now) })
}

func (s *Set) purge(m *ebpf.Map, now uint64) (int, error) {
	return s.remove(m, func(value []byte) bool { return isExpired(value, now) })
}

// removeAll removes elements from all maps of the set.
func (s *Set) removeAll(maps Maps, selects func(value []byte) bool) (int, error) {
	total := 0
	for _, name := range s.mapNames() {
		var n int
		var err error
		switch {
		case name == s.className:
			continue
		case s.classes && name == s.MapName:
			n, err = s.removeRanges(maps, selects)
		default:
			n, err = s.remove(maps[name], selects)
		}
		if total += n; n > 0 || err != nil {
			s.index = nil
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// remove removes the elements whose value the function selects.
func (s *Set) remove(m *ebpf.Map, selects func(value []byte) bool) (int, error) {
	var keys [][]byte
	err := each(m, func(key, value []byte) error {
		if selects(value) {
			keys = append(keys, bytes.Clone(key))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("set %v: %w", s, err)
	}
	if err := deleteAll(m, keys); err != nil {
		return 0, fmt.Errorf("set %v: %w", s, err)
	}
	return len(keys), nil
}

// SameKeys tells whether the keys of another set's map fit into this one's.
func (s *Set) SameKeys(o *Set) bool {
	return s.Interval == o.Interval && slices.Equal(s.fields, o.fields)
}

func isExpired(value []byte, now uint64) bool {
	t := binary.NativeEndian.Uint64(value)
	return t != 0 && t <= now
}
