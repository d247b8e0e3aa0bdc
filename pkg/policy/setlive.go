// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// ErrRecompile says that a change of a set is also one of the program: the
// ruleset has to be compiled anew.
var ErrRecompile = errors.New("the ruleset has to be compiled anew")

// Dynamic tells that rules add elements to the set.
func (s *Set) Dynamic() bool { return s.dynamic }

// Kind is what nft calls it: "set" or "map".
func (s *Set) Kind() string {
	if s.isMap || s.dataLen > 0 {
		return "map"
	}
	return "set"
}

// InPrefixes tells whether an element that is a range can be several in the set's
// map.
func (s *Set) InPrefixes() bool { return s.Interval && !s.classes }

// Keys returns the keys that an element as the kernel's nftables holds it has in
// the set's map; none if the map has no place for it.
func (s *Set) Keys(r nft.Range) [][]byte {
	var keys [][]byte
	for _, e := range s.entriesOf(&r) {
		keys = append(keys, e.key)
	}
	return keys
}

// Update takes elements as the kernel's nftables holds them out of the set, and
// puts others into it. An element that is in both stays there all the time. The
// error is [ErrRecompile] when the program has no place for an element, such as
// a verdict that no element had.
func (s *Set) Update(maps Maps, gone, come []nft.Range) error {
	if s.Constant {
		return ErrRecompile
	}
	n := 0
	for _, f := range s.Fields {
		n = max(n, f.Offset+f.Len)
	}
	for _, r := range slices.Concat(gone, come) {
		if len(r.From) < n {
			return ErrRecompile // the element of another set of the same name
		}
	}
	if s.classes {
		return s.updateRanges(maps, gone, come, false)
	}
	s.index = nil
	m, now := maps[s.MapName], Now()
	keep := make(map[string]bool, len(come))
	for _, r := range come {
		for _, e := range s.entriesOf(&r) {
			if !s.holds(e.element) {
				return ErrRecompile
			}
			keep[string(e.key)] = true
			if err := s.renew(m, e, now); err != nil {
				return err
			}
		}
	}
	for _, r := range gone {
		for _, e := range s.entriesOf(&r) {
			if keep[string(e.key)] {
				continue
			}
			if err := m.Delete(e.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("set %v: %w", s, err)
			}
		}
	}
	return nil
}

// holds tells whether a value can say what an element does.
func (s *Set) holds(e *nft.Element) bool {
	return (!s.isMap || s.verdictOf(e) >= 0) && len(e.Data) == s.dataLen
}

// renew stores an element. One that is there keeps its state.
func (s *Set) renew(m *ebpf.Map, e initialElement, now uint64) error {
	value := s.initialValue(e.element, now)
	if at := s.stateOffset(); len(s.states) > 0 {
		if before, err := m.LookupBytes(e.key); err == nil && before != nil {
			copy(value[at:], before[at:])
		}
	}
	if err := s.update(m, e.key, value, now); err != nil {
		return s.full(err)
	}
	return nil
}

// full makes of the error of a map without room one that has a larger map made,
// unless the size is the ruleset's.
func (s *Set) full(err error) error {
	if full := setFullError(0); errors.As(err, &full) && !s.dynamic {
		return fmt.Errorf("set %v: %v elements are all that it has room for: %w", s, s.MaxEntries, ErrRecompile)
	}
	return fmt.Errorf("set %v: %w", s, err)
}

// Sync makes the set what the kernel's nftables holds. Elements that only the map
// has are taken out, but for those of a dynamic set, which rules may have added.
func (s *Set) Sync(maps Maps, kernel []nft.Range) error {
	if s.Constant {
		return nil
	}
	s.index = nil
	m, now := maps[s.MapName], Now()
	if s.catchAll != nil {
		any := initialElement{binary.NativeEndian.AppendUint32(nil, anyKey), s.catchAll}
		if err := s.renew(maps[s.anyName], any, now); err != nil {
			return err
		}
	}
	if s.classes {
		return s.updateRanges(maps, nil, kernel, true)
	}
	wanted := make(map[string]bool)
	for _, r := range kernel {
		for _, e := range s.entriesOf(&r) {
			if !s.holds(e.element) {
				return ErrRecompile
			}
			wanted[string(e.key)] = true
			if err := s.renew(m, e, now); err != nil {
				return err
			}
		}
	}
	if s.dynamic {
		return nil
	}
	var stale [][]byte
	err := each(m, func(key, _ []byte) error {
		if !wanted[string(key)] {
			stale = append(stale, bytes.Clone(key))
		}
		return nil
	})
	for _, k := range stale {
		if e := m.Delete(k); e != nil && !errors.Is(e, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	return nil
}

// CarryEntries gives the map of a set the elements of another one's, with all
// that they have, that have not expired, are not there, and are chosen by their
// key.
func CarryEntries(to, from *ebpf.Map, chosen func(key []byte) bool) error {
	now := Now()
	return each(from, func(key, value []byte) error {
		if isExpired(value, now) || !chosen(key) {
			return nil
		}
		err := to.Update(key, value, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) {
			return nil
		}
		return err
	})
}

// ReplaceEntries makes the map of a set what another one is.
func ReplaceEntries(to, from *ebpf.Map) error {
	wanted := make(map[string]bool)
	err := each(from, func(key, value []byte) error {
		wanted[string(key)] = true
		return to.Put(key, value)
	})
	if err != nil {
		return err
	}
	var stale [][]byte
	err = each(to, func(key, _ []byte) error {
		if !wanted[string(key)] {
			stale = append(stale, bytes.Clone(key))
		}
		return nil
	})
	for _, k := range stale {
		err = errors.Join(err, to.Delete(k))
	}
	return err
}
