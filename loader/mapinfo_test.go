// SPDX-License-Identifier: GPL-2.0-only

package loader

import "testing"

// TestMapTexts: something is said of every map of the objects.
func TestMapTexts(t *testing.T) {
	specs, err := objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range specs {
		for name := range spec.Maps {
			if _, ok := mapTexts[name]; !ok && !isPrivateMap(name) {
				t.Errorf("nothing is said of %s", name)
			}
		}
	}
}

// TestMapInfos: the maps of a running dataplane, with their entries and memory.
func TestMapInfos(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.mustApply(r.config(testPolicy{set: true}))
	if _, err := PinnedMapInfos(r.pin + "-none"); err == nil {
		t.Error("maps where there are none")
	}
	list, err := PinnedMapInfos(r.pin)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]MapInfo{}
	for _, m := range list {
		byName[m.Name] = m
		if m.What == "" || m.Memory == 0 || m.Type == "" || m.Path == "" {
			t.Errorf("%+v", m)
		}
	}
	if m := byName["l2_flows"]; m.Entries == nil || *m.Entries != 0 || m.Max != 2048 || m.KeySize != 40 || m.Type != "hash" {
		t.Errorf("%+v", m)
	}
	if m := byName["test_set"]; m.Entries == nil || m.Max != 16 {
		t.Errorf("%+v", m)
	}
	if m := byName["l2_stats"]; m.Entries != nil {
		t.Errorf("%+v", m)
	}
}
