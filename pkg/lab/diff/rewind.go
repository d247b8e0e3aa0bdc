// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// To load a ruleset takes the verifier longer than a run's packets take. What is
// to be run again with other packets is rewound instead: the tables of l2d are
// made as they were before the first packet.

// table is a map of l2d and what was in it.
type table struct {
	m       *ebpf.Map
	entries []entry
}

type entry struct {
	key   []byte
	value any // []byte, or [][]byte for each CPU
}

// transient are maps that have timers, or nothing that outlives a packet.
var transient = map[string]bool{"l2_gc": true, "l2_set_gc": true, "l2_clock": true, "l2_scratch": true, "l2_facts": true, "l2_half_way": true, "l2_answered": true, "l2_arrival": true, "l2_chunk": true}

// remember opens the maps that are pinned below a path and copies them.
func remember(pin string) (list []table, err error) {
	defer func() {
		if err != nil {
			forget(list)
		}
	}()
	for _, dir := range []string{"state", "policy"} {
		files, err := os.ReadDir(filepath.Join(pin, dir))
		if err != nil {
			return list, err
		}
		for _, f := range files {
			if transient[f.Name()] {
				continue
			}
			m, err := ebpf.LoadPinnedMap(filepath.Join(pin, dir, f.Name()), nil)
			if err != nil {
				return list, fmt.Errorf("map %s: %w", f.Name(), err)
			}
			t := table{m: m}
			switch m.Type() {
			case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie, ebpf.Array, ebpf.PerCPUArray:
				t.entries, err = t.read()
			default:
				m.Close()
				continue
			}
			list = append(list, t)
			if err != nil {
				return list, fmt.Errorf("map %s: %w", f.Name(), err)
			}
		}
	}
	return list, nil
}

func forget(list []table) {
	for _, t := range list {
		t.m.Close()
	}
}

func (t *table) read() (list []entry, err error) {
	it := t.m.Iterate()
	for {
		e := entry{key: make([]byte, t.m.KeySize())}
		if t.m.Type() == ebpf.PerCPUArray {
			var v [][]byte
			if !it.Next(e.key, &v) {
				return list, it.Err()
			}
			e.value = v
		} else {
			var v []byte
			if !it.Next(e.key, &v) {
				return list, it.Err()
			}
			e.value = v
		}
		list = append(list, e)
	}
}

// rewind makes a map as it was.
func (t *table) rewind() error {
	if t.m.Type() != ebpf.Array && t.m.Type() != ebpf.PerCPUArray {
		now, err := t.read()
		if err != nil {
			return err
		}
		for _, e := range now {
			if err := t.m.Delete(e.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
	}
	for _, e := range t.entries {
		if err := t.m.Update(e.key, e.value, ebpf.UpdateAny); err != nil {
			return err
		}
	}
	return nil
}
