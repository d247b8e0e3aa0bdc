// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cilium/ebpf"
)

// isAnew tells whether a state map that was there is made anew.
func (r *replacement) isAnew(name string) bool {
	_, ok := r.anew[name]
	return ok
}

// movesFlows tells whether flows move from one table to another.
func (r *replacement) movesFlows() bool { return r.isAnew("l2_flows") || r.isAnew("l2_half_open") }

// copyEntries fills the maps that are made anew.
func (r *replacement) copyEntries() error {
	for name, sources := range r.anew {
		change := func([]byte) {}
		if isFlowTable(name) {
			change = pickUp
		}
		for _, s := range sources {
			if err := s.copyTo(r.loaded.maps[name], change); err != nil {
				return fmt.Errorf("entries of %s to a new map: %w", name, err)
			}
		}
	}
	return nil
}

// makeLiberal has the programs that run take all segments to be in the window,
// where their settings are not those of the new ones.
func (r *replacement) makeLiberal() error {
	old := r.pinned["l2_settings"]
	if old == nil || !r.isAnew("l2_settings") {
		return nil
	}
	specs, err := objects()
	if err != nil {
		return err
	}
	_, value, err := pinnedTypes(old, specs[0].Maps["l2_settings"])
	if err != nil {
		return err
	}
	offset, err := memberOffset(value, "tcp_liberal")
	if err != nil {
		return err
	}
	settings, err := old.LookupBytes(uint32(0))
	if err != nil {
		return err
	}
	settings[offset] = 1
	return r.put(old, uint32(0), settings)
}

// carryStatistics gives the new statistics what the old ones of the same name
// have counted. What is counted before the programs change is lost.
func (r *replacement) carryStatistics() error {
	if !r.isAnew(statsMap) {
		return nil
	}
	old, err := pinnedStatNames(r.pinned)
	if err != nil {
		slog.Warn("statistics begin anew", "err", err)
		return nil
	}
	names, err := statNames()
	if err != nil {
		return err
	}
	from, to := r.pinned[statsMap], r.loaded.maps[statsMap]
	var perCPU []uint64
	for i, name := range names {
		j := slices.Index(old, name)
		if j < 0 || uint32(j) >= from.MaxEntries() {
			continue
		}
		if err := from.Lookup(uint32(j), &perCPU); err != nil {
			return fmt.Errorf("statistic %s: %w", name, err)
		}
		if err := to.Update(uint32(i), perCPU, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("statistic %s: %w", name, err)
		}
	}
	return nil
}

// sameStatistics tells whether the pinned settings are of a build that counts
// the same.
func sameStatistics(pinned map[string]*ebpf.Map) bool {
	old, err := pinnedStatNames(pinned)
	names, nerr := statNames()
	return err == nil && nerr == nil && slices.Equal(old, names)
}

// pinnedStatNames are the statistics' names in the build that made the settings.
func pinnedStatNames(pinned map[string]*ebpf.Map) ([]string, error) {
	m := pinned["l2_settings"]
	if m == nil {
		return nil, errors.New("no settings are pinned")
	}
	types, err := typesOf(m)
	if err != nil {
		return nil, err
	}
	return statNamesIn(types)
}
