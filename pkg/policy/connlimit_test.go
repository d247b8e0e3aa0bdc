// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// connection is a TCP connection of a host to a port of the router's.
func connection(src string, sport uint16) packet {
	return packet{src: src, dst: "192.168.1.1", proto: protoTCP, th: tcp(sport, 22, 2), iif: "br0", ct: ctNew, len: 60}
}

// live gives a packet's connection an entry in the table of flows, which the
// harness does not track, in a state of bpf/lib/types.h.
func (h *harness) live(pk *packet, state byte) (key []byte) {
	h.t.Helper()
	const tickShift = 27
	at := h.flowOffsets()
	flows := h.coll.Maps["l2_flows"]
	key, f := make([]byte, flows.KeySize()), make([]byte, flows.ValueSize())
	pk.writeTuple(key)
	now := uint32(Now() >> tickShift)
	binary.NativeEndian.PutUint32(f[at["expires"]:], now+1<<20)
	binary.NativeEndian.PutUint32(f[at["created"]:], now)
	f[at["state"]] = state
	if err := flows.Update(key, f, ebpf.UpdateAny); err != nil {
		h.t.Fatal(err)
	}
	return key
}

// flowOffsets says where struct flow has its members, in bytes.
func (h *harness) flowOffsets() map[string]uint32 {
	h.t.Helper()
	spec, err := ebpf.LoadCollectionSpec("testdata/harness.o")
	if err != nil {
		h.t.Fatal(err)
	}
	at := map[string]uint32{}
	memberOffsets(at, 0, spec.Maps["l2_flows"].Value.(*btf.Struct).Members)
	return at
}

// memberOffsets adds where members are, also those of unions without a name, in a
// struct that begins at base.
func memberOffsets(at map[string]uint32, base uint32, members []btf.Member) {
	for _, m := range members {
		offset := base + m.Offset.Bytes()
		if u, ok := m.Type.(*btf.Union); ok && m.Name == "" {
			memberOffsets(at, offset, u.Members)
			continue
		}
		at[m.Name] = offset
	}
}

// Connections count from their first packet to their end; each instance has its
// own.
func TestConnlimit(t *testing.T) {
	const established, closed = 3, 8
	const set = "set s { type ipv4_addr; size 100; flags dynamic; }\n"
	for _, tt := range []struct {
		sets, rules     string
		each            bool // an instance for each host
		within, exceeds int  // connections of one host that are accepted, of 6
	}{
		{"", "ct count over 3 drop\naccept", false, 3, 3},
		{"", "ct count 2 accept", false, 2, 2},
		{"", "ct count over 0 drop\naccept", false, 0, 0},
		{"", "ct count over 4294967295 drop\naccept", false, 6, 6},
		{set, "add @s { ip saddr ct count over 3 } drop\naccept", true, 3, 3},
		{set, "add @s { ip saddr ct count 2 } accept", true, 2, 2},
		{set, "add @s { ip saddr counter ct count 2 } accept", true, 2, 2},
		{"set s { type ipv4_addr; ct count over 2; elements = { 10.0.0.1, 10.0.0.2 }; }\n", "ip saddr @s drop\naccept", true, 2, 2},
		{"", "meter m { ip saddr ct count over 2 } drop\naccept", true, 2, 2},
	} {
		t.Run(tt.sets+tt.rules, func(t *testing.T) {
			h := newHarness(t, compile(t, "table inet t { "+tt.sets+"chain input { type filter hook input priority 0; policy drop;\n"+tt.rules+"\n}\n}\n"))
			keys := map[string][][]byte{}
			count := func(src string, first uint16) (accepted int) {
				for i := range uint16(6) {
					pk := connection(src, first+i)
					keys[src] = append(keys[src], h.live(&pk, established))
					if h.run("policy_input", &pk).accept {
						accepted++
					}
				}
				return accepted
			}
			if n := count("10.0.0.1", 1000); n != tt.within {
				t.Errorf("%d of the first host's accepted, want %d", n, tt.within)
			}
			other := tt.within
			if !tt.each && tt.within < 6 {
				other = 0
			}
			if n := count("10.0.0.2", 1000); n != other {
				t.Errorf("%d of the second host's accepted, want %d", n, other)
			}
			// Those that have gone, or are closed, make room.
			for src := range keys {
				for i, key := range keys[src] {
					pk := connection(src, 1000+uint16(i))
					if i%2 == 0 {
						h.live(&pk, closed)
					} else if err := h.coll.Maps["l2_flows"].Delete(key); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := count("10.0.0.1", 2000); n != tt.exceeds {
				t.Errorf("%d of the first host's accepted later, want %d", n, tt.exceeds)
			}
		})
	}
}

// A connection is one, however many packets it has.
func TestConnlimitAgain(t *testing.T) {
	h := newHarness(t, compile(t, "table inet t { chain input { type filter hook input priority 0; policy accept;\nct count over 1 drop\n}\n}\n"))
	pk := connection("10.0.0.1", 1000)
	h.live(&pk, 3)
	if n := h.count(pk, 20); n != 20 {
		t.Errorf("%d of 20 packets accepted", n)
	}
}
