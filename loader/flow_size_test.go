// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
)

// TestFlowMemory: with what the kernel adds, an entry of a flow is an object of 256
// bytes, and not one of its allocator's next size, which is twice as large.
func TestFlowMemory(t *testing.T) {
	needRoot(t)
	spec, err := loadL2TC()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ebpf.NewMap(spec.Maps["l2_flows"])
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	memory := func() uint64 {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes, ok := info.Memlock()
		if !ok {
			t.Fatal("the kernel does not tell a map's memory")
		}
		return bytes
	}
	before := memory()
	const entries = 1000
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for i := range uint32(entries) {
		binary.NativeEndian.PutUint32(key, i)
		if err := m.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	got := (memory() - before) / entries
	t.Logf("an entry takes %d bytes", got)
	if got < uint64(len(key)+len(value)) || got > 256 {
		t.Errorf("want at least %d and at most 256", len(key)+len(value))
	}
}
