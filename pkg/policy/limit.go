// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Flags of struct limit: LIMIT_* of bpf/lib/types.h.
const (
	limitBytes = 1 << 0
	limitOver  = 1 << 1
)

// value returns the limit with a full bucket as the value of its map.
func (l *LimitInfo) value(m *ebpf.MapSpec) ([]byte, error) {
	typ, ok := btf.UnderlyingType(m.Value).(*btf.Struct)
	if !ok {
		return nil, fmt.Errorf("map %s: the value is no struct", m.Name)
	}
	var flags uint64
	if l.Bytes {
		flags |= limitBytes
	}
	if l.Over {
		flags |= limitOver
	}
	want := map[string]uint64{
		"flags":      flags,
		"tokens":     l.TokensMax,
		"tokens_max": l.TokensMax,
		"rate":       l.Rate,
		"nsecs":      l.Nsecs,
	}
	out := make([]byte, typ.Size)
	for _, member := range typ.Members {
		v, ok := want[member.Name]
		if !ok {
			continue // the lock, and the time of the last packet: long ago
		}
		delete(want, member.Name)
		n, err := btf.Sizeof(member.Type)
		if err != nil {
			return nil, fmt.Errorf("map %s: member %s: %w", m.Name, member.Name, err)
		}
		at := out[member.Offset.Bytes():]
		switch n {
		case 4:
			binary.NativeEndian.PutUint32(at, uint32(v))
		case 8:
			binary.NativeEndian.PutUint64(at, v)
		default:
			return nil, fmt.Errorf("map %s: member %s has %d bytes", m.Name, member.Name, n)
		}
	}
	if len(want) > 0 {
		return nil, fmt.Errorf("map %s: struct %s lacks members of a limit", m.Name, typ.Name)
	}
	return out, nil
}
