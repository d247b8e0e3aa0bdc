// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// InterfaceStatus is how the dataplane is attached to an interface.
type InterfaceStatus struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	TC    bool   `json:"tc"`
	XDP   string `json:"xdp"` // XDPNative or XDPOff
	// XDPRedirect: XDP may send by it.
	XDPRedirect bool `json:"xdp_redirect"`
	// AQM: a queue manager is at its root, or is said to be.
	AQM bool `json:"aqm"`
	// Shaper is the interface at whose qdisc what comes in is held back.
	Shaper string `json:"shaper,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Status is a dataplane at a glance.
type Status struct {
	PinPath    string            `json:"pin_path"`
	Generation string            `json:"generation"` // of programs and policy
	Interfaces []InterfaceStatus `json:"interfaces"`
	Programs   []Program         `json:"programs"`
	// Runs are those of the programs; nothing if the kernel does not count them.
	Runs []Run `json:"runs,omitempty"`
	// Phases are the parts of the last replacement.
	Phases []Phase    `json:"phases"`
	Flows  FlowStatus `json:"flows"`
	// Stats are packets and events since the dataplane was first attached,
	// by the names of STATISTICS of bpf/lib/types.h in lower case.
	Stats map[string]uint64 `json:"stats"`
	// CPUs are those that have handled a packet, in order.
	CPUs []CPUStatus `json:"cpus"`
	// FlowCPUs are what those CPUs have done to flows that have done anything, in
	// order.
	FlowCPUs []FlowCPUStatus `json:"flow_cpus"`
}

// FlowStatus is the fill of the flow tables, as the collector found it at its
// last run, at most ten seconds ago.
type FlowStatus struct {
	Confirmed    uint64 `json:"confirmed"`
	MaxConfirmed uint32 `json:"max_confirmed"`
	HalfOpen     uint64 `json:"half_open"`
	MaxHalfOpen  uint32 `json:"max_half_open"`
	Collected    uint64 `json:"collected"` // entries, since first attached
	// Mappings are external ports that clients have.
	Mappings uint64 `json:"mappings"`
	// Sources are addresses whose flows are counted, because they are limited
	// to MaxPerSource; 0: they are not.
	Sources      uint64 `json:"sources"`
	MaxPerSource uint32 `json:"max_per_source"`
}

// Counter is what a rule, or a base chain's policy, has counted.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Status reads the dataplane's state from the kernel.
func (d *Dataplane) Status() (Status, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.maps == nil {
		return Status{}, errors.New("the dataplane is closed")
	}
	runs, err := d.runs()
	if err != nil {
		return Status{}, err
	}
	s := Status{PinPath: d.cfg.PinPath, Generation: generation(d.identity), Interfaces: d.interfaces, Programs: d.report, Runs: runs, Phases: d.phases}
	var gc l2TCGc
	if err := d.maps["l2_gc"].Lookup(uint32(0), &gc); err != nil {
		return Status{}, fmt.Errorf("collector: %w", err)
	}
	s.Flows = FlowStatus{
		Confirmed: gc.Flows / 2, MaxConfirmed: d.cfg.MaxFlows,
		HalfOpen: gc.HalfOpen / 2, MaxHalfOpen: d.cfg.MaxHalfOpen,
		Collected: gc.Collected, Mappings: gc.Mappings, Sources: gc.Sources, MaxPerSource: d.cfg.MaxFlowsPerSource,
	}
	stats, err := readStats(d.maps[statsMap])
	if err != nil {
		return s, err
	}
	s.Stats, s.CPUs, s.FlowCPUs = stats.sums(), stats.cpus(), stats.flowCPUs()
	return s, nil
}

// Counters returns the policy's counters, in the order of their indexes.
func (d *Dataplane) Counters() ([]Counter, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.maps["l2_counters"]
	if m == nil {
		return nil, errors.New("the dataplane is closed")
	}
	all := make([]Counter, m.MaxEntries())
	if err := addCounters(all, m, ebpf.MustPossibleCPU()); err != nil {
		return nil, fmt.Errorf("counters: %w", err)
	}
	if m := d.maps[countedMap]; m != nil {
		if err := addCounters(all, m, 1); err != nil {
			return nil, fmt.Errorf("counters of the policy before: %w", err)
		}
	}
	return all, nil
}

// StatNames are the names of the statistics, in the order of STATISTICS of
// bpf/lib/types.h. Those of drops begin with "drop_".
func StatNames() ([]string, error) { return statNames() }

// addCounters adds the counters in an array to those that are there. They are read
// many at a time: a system call for each would be most of the work.
func addCounters(all []Counter, m *ebpf.Map, perEntry int) error {
	const most = 1024
	keys, values := make([]uint32, most), make([]l2TCCounter, most*perEntry)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		for i, key := range keys[:n] {
			for _, c := range values[i*perEntry : (i+1)*perEntry] {
				all[key].Packets += c.Packets
				all[key].Bytes += c.Bytes
			}
		}
		if err != nil {
			return nil // that was all
		}
	}
}

// statNames are the statistics' names in the programs' own BTF, so that there is
// one list of them.
var statNames = sync.OnceValues(func() ([]string, error) {
	specs, err := parsed()
	if err != nil {
		return nil, err
	}
	return statNamesIn(specs[0].Types)
})

// statNamesIn are those in a build's type information.
func statNamesIn(types *btf.Spec) ([]string, error) {
	var value *btf.Struct
	if err := types.TypeByName("statistics", &value); err != nil {
		return nil, fmt.Errorf("struct statistics: %w", err)
	}
	var names []string
	for _, m := range value.Members {
		names = append(names, strings.ToLower(m.Name))
	}
	return names, nil
}
