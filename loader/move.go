// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
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

// copyEntries fills the maps that are made anew: once before packets meet them, and once
// behind that.
func (r *replacement) copyEntries() error {
	defer func() { r.copied = true }()
	for name, sources := range r.anew {
		to := r.loaded.maps[name]
		for _, s := range sources {
			c := copyEntry
			if isFlowTable(name) {
				c = copyFlow(s, to, r.copied)
			}
			if err := s.copyTo(to, c); err != nil {
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
	old, err := readPinnedStats(r.pinned[statsMap])
	if err != nil {
		slog.Warn("statistics begin anew", "err", err)
		return nil
	}
	names, err := statNames()
	if err != nil {
		return err
	}
	all := make([][]uint64, ebpf.MustPossibleCPU())
	for cpu := range all {
		all[cpu] = make([]uint64, len(names))
	}
	for i, name := range names {
		j := slices.Index(old.names, name)
		if j < 0 {
			continue
		}
		for cpu, n := range old.perCPU[j] {
			all[cpu][i] = n
		}
	}
	if err := r.loaded.maps[statsMap].Put(uint32(0), all); err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	return nil
}
