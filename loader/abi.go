// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
)

// source is a map whose entries move to one that is made anew.
type source struct {
	m          *ebpf.Map
	key, value *conversion
}

// carriedMaps are the state maps whose entries are moved. What is in others is
// written anew by each replacement, or is nothing that anybody would miss.
var carriedMaps = []string{"l2_flows", "l2_half_open", "l2_frags", "l2_mappings"}

// statsMap has the counter of each statistic, for each CPU.
const statsMap = "l2_stats"

// isFlowTable tells the tables of flows.
func isFlowTable(name string) bool { return name == "l2_flows" || name == "l2_half_open" }

// takeOver sorts the pinned state maps into those that this configuration can
// use as they are and those that are made anew, with the maps that their entries
// come from, newest first: because the configured size has changed, because the
// running dataplane is another build's, with another layout, or because a
// replacement was cut off that had begun to move them. It is an error if entries
// cannot be moved: nobody's flows are thrown away without being asked.
func takeOver(cfg *Config, pinned, cutOff map[string]*ebpf.Map) (keep map[string]*ebpf.Map, anew map[string][]source, err error) {
	keep, anew = map[string]*ebpf.Map{}, map[string][]source{}
	specs := map[string]*ebpf.MapSpec{}
	objects, err := objects()
	if err != nil {
		return nil, nil, err
	}
	for _, object := range objects {
		maps.Copy(specs, object.Maps)
	}
	for name, entries := range cfg.sizes() {
		specs[name].MaxEntries = entries
	}
	for name, m := range pinned {
		spec := specs[name]
		if spec == nil {
			continue // of another version, and of no use to this one
		}
		newer := cutOff[name]
		if newer == nil && usable(m, spec) {
			keep[name] = m
			continue
		}
		anew[name] = nil
		if !slices.Contains(carriedMaps, name) {
			continue
		}
		s, err := newSource(m, spec)
		if err != nil {
			return nil, nil, fmt.Errorf("pinned map %s of the running dataplane has another layout (%w): its entries cannot be taken over; `l2ctl detach` ends its flows", name, err)
		}
		anew[name] = []source{s}
		if newer == nil {
			continue
		}
		// What another build had begun to fill counts only if it can be read.
		if s, err := newSource(newer, spec); err == nil {
			anew[name] = []source{s, anew[name][0]}
		}
	}
	return keep, anew, nil
}

// usable tells whether a map can serve this build's programs as it is. The kernel
// adds flags of its own.
func usable(m *ebpf.Map, spec *ebpf.MapSpec) bool {
	if m.Type() != spec.Type || m.MaxEntries() != spec.MaxEntries || m.Flags()&spec.Flags != spec.Flags {
		return false
	}
	if m.KeySize() != spec.KeySize || m.ValueSize() != spec.ValueSize {
		return false
	}
	if spec.Key == nil || spec.Value == nil {
		return true
	}
	key, value, err := pinnedTypes(m, spec)
	if errors.Is(err, errNoTypes) {
		return true // the kernel takes none for some types of map
	}
	return err == nil && sameLayout(key, spec.Key) && sameLayout(value, spec.Value)
}

// newSource says how a map's entries become those of this build.
func newSource(m *ebpf.Map, spec *ebpf.MapSpec) (s source, err error) {
	key, value, err := pinnedTypes(m, spec)
	if err != nil {
		return s, err
	}
	s.m = m
	if s.key, err = newConversion(spec.Key, key); err != nil {
		return s, err
	}
	s.value, err = newConversion(spec.Value, value)
	return s, err
}

// copying is what there is to do with entries beside copying them.
type copying struct {
	// takes tells whether an entry is wanted, and may change its value.
	takes func(key, value []byte) bool
	// left is called with one that there is no room for, copied with one that was not there.
	left, copied func(key, value []byte) error
}

// copyEntry is the copying of entries that are for themselves.
var copyEntry = copying{
	takes:  func(_, _ []byte) bool { return true },
	left:   func(_, _ []byte) error { return nil },
	copied: func(_, _ []byte) error { return nil },
}

// copyFlow is the copying of flows to a table: those that there is no room for leave no
// half of them behind. Where packets meet the table already, both directions are copied
// at once: what has one of them for long ends (flow_sync() of bpf/lib/flow.h).
func copyFlow(s source, to *ebpf.Map, inUse bool) copying {
	gone := map[l2TCTuple]struct{}{} // other directions of what was left
	c := copyEntry
	c.takes = func(key, value []byte) bool {
		pickUp(value)
		_, ok := gone[*tupleOf(key)]
		return !ok
	}
	c.left = func(key, value []byte) error {
		other := otherDirection(tupleOf(key), flowOf(value))
		gone[other] = struct{}{}
		return deleteEntry(to, other)
	}
	if inUse && s.key.keeps(s.m.KeySize()) {
		buffer := make([]byte, s.value.size)
		c.copied = func(key, value []byte) error {
			other := otherDirection(tupleOf(key), flowOf(value))
			old, err := s.m.LookupBytes(other)
			if err != nil || old == nil {
				return err
			}
			twin := s.value.apply(buffer, old)
			pickUp(twin)
			err = to.Update(other, twin, ebpf.UpdateNoExist)
			if errors.Is(err, ebpf.ErrKeyExist) || isFull(err) {
				return nil // full: it comes to it itself
			}
			return err
		}
	}
	return c
}

// copyTo copies the entries. Those that are there already are newer and stay.
// Those that do not fit are left behind: the half-open tier evicts, and a
// smaller limit of flows is the operator's word.
func (s source) copyTo(to *ebpf.Map, c copying) error {
	var key, value []byte
	newKey, newValue := make([]byte, s.key.size), make([]byte, s.value.size)
	it := s.m.Iterate()
	for it.Next(&key, &value) {
		k, v := s.key.apply(newKey, key), s.value.apply(newValue, value)
		if !c.takes(k, v) {
			continue
		}
		err := to.Update(k, v, ebpf.UpdateNoExist)
		switch {
		case err == nil:
			err = c.copied(k, v)
		case isFull(err):
			err = c.left(k, v)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return err
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	return nil
}

// Those of enum seen_flag of bpf/lib/tcp_window.h that outlive a move.
const (
	seenScale   = uint8(l2TCSeenFlagSEEN_SCALE)
	seenSACK    = uint8(l2TCSeenFlagSEEN_SACK)
	seenClose   = uint8(l2TCSeenFlagSEEN_CLOSE)
	seenLiberal = uint8(l2TCSeenFlagSEEN_LIBERAL)
)

// pickUp makes a connection one whose windows are not known, as one that was
// there before its first packet was seen: packets go on by the old table while
// the entries are copied, and would be out of the window of the copy for ever.
func pickUp(value []byte) {
	f := flowOf(value)
	if f.Seen.Maxwin == 0 {
		return
	}
	f.Seen.Maxwin = 0
	f.Seen.Flags = f.Seen.Flags&(seenScale|seenSACK|seenClose) | seenLiberal
}

// flowOf is an entry of a flow table, of the size that it was converted to.
func flowOf(value []byte) *l2TCFlow {
	return (*l2TCFlow)(unsafe.Pointer(unsafe.SliceData(value)))
}

// tupleOf is the key of one.
func tupleOf(key []byte) *l2TCTuple {
	return (*l2TCTuple)(unsafe.Pointer(unsafe.SliceData(key)))
}

// otherDirection is the key of the entry that a flow's entry with a key has for the other
// direction.
func otherDirection(key *l2TCTuple, f *l2TCFlow) l2TCTuple {
	t := *key
	t.Saddr, t.Daddr, t.Sport, t.Dport, t.Zone = f.Out.Daddr, f.Out.Saddr, f.Out.Dport, f.Out.Sport, f.Zone
	return t
}
