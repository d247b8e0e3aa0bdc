// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
)

// compatible says whether a pinned state map can serve this build's programs:
// same type, sizes and flags. The maximum of entries may differ, as the
// configuration sets it.
func compatible(m *ebpf.Map, spec *ebpf.MapSpec) error {
	switch {
	case m.Type() != spec.Type:
		return fmt.Errorf("type %v, not %v", m.Type(), spec.Type)
	case m.KeySize() != spec.KeySize && spec.KeySize != 0:
		return fmt.Errorf("key of %d bytes, not %d", m.KeySize(), spec.KeySize)
	case m.ValueSize() != spec.ValueSize && spec.ValueSize != 0:
		return fmt.Errorf("value of %d bytes, not %d", m.ValueSize(), spec.ValueSize)
	}
	return nil
}

// takeOver sorts the pinned state maps into those that this configuration can
// use as they are and those whose contents have to move to a new map: because
// the configured size has changed, or because a replacement was cut off that
// had begun to do so. A layout that this build does not know is an error:
// nobody's flows are thrown away without being asked.
func takeOver(cfg *Config, pinned, cutOff map[string]*ebpf.Map) (keep map[string]*ebpf.Map, resize map[string][]*ebpf.Map, err error) {
	keep, resize = map[string]*ebpf.Map{}, map[string][]*ebpf.Map{}
	specs := map[string]*ebpf.MapSpec{}
	objects, err := objects()
	if err != nil {
		return nil, nil, err
	}
	for _, object := range objects {
		maps.Copy(specs, object.Maps)
	}
	specs["l2_flows"].MaxEntries = 2 * cfg.MaxFlows
	specs["l2_half_open"].MaxEntries = 2 * cfg.MaxHalfOpen
	for name, m := range pinned {
		spec := specs[name]
		if spec == nil {
			continue // of another version, and of no use to this one
		}
		if err := compatible(m, spec); err != nil {
			return nil, nil, fmt.Errorf("pinned map %s of the running dataplane has another layout (%w): its flows cannot be taken over; `l2ctl detach` ends them", name, err)
		}
		if newer := cutOff[name]; newer != nil && compatible(newer, spec) == nil {
			resize[name] = []*ebpf.Map{newer, m}
			continue
		}
		if m.MaxEntries() != spec.MaxEntries && (name == "l2_flows" || name == "l2_half_open") {
			resize[name] = []*ebpf.Map{m}
			continue
		}
		keep[name] = m
	}
	return keep, resize, nil
}

// copyEntries moves flows to a map of another size. Entries that are there
// already are newer and stay. Entries that do not fit are left behind: the
// half-open tier evicts, and a smaller limit of flows is the operator's word.
func copyEntries(to, from *ebpf.Map) error {
	var key l2TCTuple
	var value l2TCFlow
	it := from.Iterate()
	for it.Next(&key, &value) {
		pickUp(&value)
		err := to.Update(&key, &value, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) && !isFull(err) {
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
func pickUp(f *l2TCFlow) {
	if f.Seen.Maxwin == 0 {
		return
	}
	f.Seen.Maxwin = 0
	f.Seen.Flags = f.Seen.Flags&(seenScale|seenSACK|seenClose) | seenLiberal
}
