// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// countedMap has what the counters of a policy begin with: rules that were in the
// policy before go on counting. The programs do not know it, so that nothing they
// count meanwhile is lost.
const countedMap = "l2_counted"

// addCounted makes the map, if it is needed.
func (r *replacement) addCounted() error {
	if len(r.cfg.Counted) == 0 || r.oldPolicy["l2_counters"] == nil {
		return nil
	}
	u64 := &btf.Int{Name: "__u64", Size: 8}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: countedMap, Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: r.loaded.maps["l2_counters"].MaxEntries(),
		Key: &btf.Int{Name: "unsigned int", Size: 4},
		Value: &btf.Struct{Name: "counter", Size: 16, Members: []btf.Member{
			{Name: "packets", Type: u64}, {Name: "bytes", Type: u64, Offset: 64},
		}},
	})
	if err != nil {
		return fmt.Errorf("map %s: %w", countedMap, err)
	}
	r.loaded.maps[countedMap] = m
	return nil
}

// fillCounted takes over what the old programs have counted, when they are not
// run any more.
func (r *replacement) fillCounted() error {
	m := r.loaded.maps[countedMap]
	if r.same || m == nil {
		return nil
	}
	for to, from := range r.cfg.Counted {
		c, err := countedBy(r.oldPolicy, from)
		if err == nil {
			err = m.Put(to, l2TCCounter{Packets: c.Packets, Bytes: c.Bytes})
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("counter %d: %w", to, err)
		}
	}
	return nil
}

// countedBy is what the rule of an index has counted, in the maps of a policy.
func countedBy(maps map[string]*ebpf.Map, index uint32) (Counter, error) {
	var sum Counter
	var perCPU []l2TCCounter
	if err := maps["l2_counters"].Lookup(index, &perCPU); err != nil {
		return sum, err
	}
	if m := maps[countedMap]; m != nil {
		var before l2TCCounter
		if err := m.Lookup(index, &before); err != nil {
			return sum, err
		}
		perCPU = append(perCPU, before)
	}
	for _, c := range perCPU {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum, nil
}
