// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// TestForgetTypes: maps that the kernel takes no types for are made without, and so once.
func TestForgetTypes(t *testing.T) {
	needRoot(t)
	specs, err := objects()
	if err != nil {
		t.Fatal(err)
	}
	without := 0
	for _, spec := range specs {
		l := &loaded{maps: map[string]*ebpf.Map{}}
		maps, err := l.makeMaps(spec)
		if err != nil {
			t.Fatal(err)
		}
		closeMaps(maps)
		l.close()
		for name, m := range spec.Maps {
			switch m.Type {
			case ebpf.DevMapHash, ebpf.CPUMap:
				if without++; m.Key != nil || m.Value != nil {
					t.Errorf("%s has types", name)
				}
			case ebpf.Hash:
				if m.Key == nil || m.Value == nil {
					t.Errorf("%s has none", name)
				}
			}
		}
	}
	if without == 0 {
		t.Error("there is no such map")
	}
}

// TestTables: tables of the settings are made with their sizes, where there are none, and one that cannot be made
// is named.
func TestTables(t *testing.T) {
	needRoot(t)
	specs, err := objects()
	if err != nil {
		t.Fatal(err)
	}
	cfg := &Config{MaxFlows: 512, MaxHalfOpen: 256}
	there, err := ebpf.NewMap(specs[0].Maps["l2_mappings"])
	if err != nil {
		t.Fatal(err)
	}
	l := &loaded{maps: map[string]*ebpf.Map{"l2_mappings": there}}
	defer func() { l.close() }()
	if err := l.makeTables(specs, cfg)(); err != nil {
		t.Fatal(err)
	}
	if l.maps["l2_mappings"] != there {
		t.Error("a table that is there is made again")
	}
	for name, entries := range map[string]uint32{"l2_flows": 1024, "l2_half_open": 512} {
		if m := l.maps[name]; m == nil || m.MaxEntries() != entries {
			t.Errorf("%s: %v", name, m)
		}
	}
	for _, m := range l.maps {
		m.Close()
	}
	l.maps = map[string]*ebpf.Map{}
	cfg.MaxFlows = 1 << 31 // twice as many are none
	if err := l.makeTables(specs, cfg)(); err == nil || !strings.Contains(err.Error(), "map l2_flows:") {
		t.Errorf("%v", err)
	}
}
