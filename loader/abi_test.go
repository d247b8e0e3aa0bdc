// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// flowTable makes a table of confirmed flows with room for so many entries.
func flowTable(t *testing.T, entries uint32) (*ebpf.Map, *ebpf.MapSpec) {
	t.Helper()
	needRoot(t)
	specs, err := objects()
	if err != nil {
		t.Fatal(err)
	}
	spec := specs[0].Maps["l2_flows"].Copy()
	spec.MaxEntries = entries
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, spec
}

// TestCopyBothDirections: what is copied to a table that packets meet is a whole flow at any
// time, but for the moment between two system calls; in a table that is too small there are
// whole flows in the end, and not a few.
func TestCopyBothDirections(t *testing.T) {
	const flows = 500
	from, spec := flowTable(t, 2*flows)
	for n := range uint32(flows) {
		key := l2TCTuple{Sport: 1, Dport: 2, L4proto: unix.IPPROTO_UDP, Nfproto: unix.NFPROTO_IPV4}
		binary.BigEndian.PutUint32(key.Saddr[:], n)
		binary.BigEndian.PutUint32(key.Daddr[:], ^n)
		f := l2TCFlow{Packets: uint64(n)}
		f.Out.Saddr, f.Out.Daddr, f.Out.Sport, f.Out.Dport = key.Saddr, key.Daddr, key.Sport, key.Dport
		other := otherDirection(&key, &f)
		reply := f
		reply.Flags = flowReply
		reply.Out.Saddr, reply.Out.Daddr, reply.Out.Sport, reply.Out.Dport = key.Daddr, key.Saddr, key.Dport, key.Sport
		for k, v := range map[l2TCTuple]l2TCFlow{key: f, other: reply} {
			if err := from.Put(k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := newSource(from, spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []uint32{2 * flows, flows} {
		to, _ := flowTable(t, room)
		whole := func() (n, halves int) {
			t.Helper()
			var key l2TCTuple
			var f l2TCFlow
			for it := to.Iterate(); it.Next(&key, &f); n++ {
				if err := to.Lookup(otherDirection(&key, &f), new(l2TCFlow)); err != nil {
					halves++
				}
			}
			return n, halves
		}
		c := copyFlow(s, to, true)
		takes, seen := c.takes, 0
		c.takes = func(key, value []byte) bool {
			if seen++; seen%100 == 0 && room == 2*flows {
				if n, halves := whole(); halves != 0 || n == 0 {
					t.Errorf("%d of %d entries are halves of flows", halves, n)
				}
			}
			return takes(key, value)
		}
		if err := s.copyTo(to, c); err != nil {
			t.Fatal(err)
		}
		if n, halves := whole(); halves != 0 || n < int(room)*9/10 {
			t.Errorf("room for %d: %d entries, %d of them halves of flows", room, n, halves)
		}
	}
}
