// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

// countersOf makes a map of counters, as a policy of n rules has one: rule i has
// counted i packets on each CPU.
func countersOf(tb testing.TB, n uint32) *ebpf.Map {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root")
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: n})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	values := make([]l2TCCounter, ebpf.MustPossibleCPU())
	for i := range n {
		for cpu := range values {
			values[cpu] = l2TCCounter{Packets: uint64(i), Bytes: uint64(i) * 100}
		}
		if err := m.Put(i, values); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

// TestAddCounters: nothing is missing or counted twice where a map is read in
// several parts.
func TestAddCounters(t *testing.T) {
	cpus := ebpf.MustPossibleCPU()
	for _, n := range []uint32{1, 1023, 1024, 1025, 3000} {
		m, all := countersOf(t, n), make([]Counter, n)
		if err := addCounters(all, m, cpus); err != nil {
			t.Fatal(err)
		}
		for i, c := range all {
			if want := uint64(i * cpus); c.Packets != want || c.Bytes != want*100 {
				t.Fatalf("of %d: counter %d is %+v, want %d packets", n, i, c, want)
			}
		}
	}
}

// BenchmarkCounters reads those of 10,000 rules.
func BenchmarkCounters(b *testing.B) {
	m, all := countersOf(b, 10000), make([]Counter, 10000)
	for b.Loop() {
		if err := addCounters(all, m, ebpf.MustPossibleCPU()); err != nil {
			b.Fatal(err)
		}
	}
}
