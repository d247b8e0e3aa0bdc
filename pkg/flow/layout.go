// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
)

// Layouts of struct tuple and struct flow of bpf/lib/types.h. Ports are in
// network byte order, everything else in the machine's.
type rawTuple struct {
	Saddr, Daddr     [16]byte
	Sport, Dport     [2]byte
	L4proto, Nfproto uint8
	Zone             uint16
}

type rawFlow struct {
	Saddr, Daddr   [16]byte // that packets leave with
	Sport, Dport   [2]byte
	Expires        uint32
	Packets, Bytes uint64
	State, Flags   uint8
	Zone           uint16 // of the other direction's key
	Mark           uint32
	_              [4 + 4 + 22]uint8 // what only the programs need
	Via            uint16            // interface that packets left by
	_              [20 + 20]uint8    // likewise
	Labels         [4]uint32
	Created        uint32
	_              uint16 // what only the programs need
	Fraction       uint8  // of a tick, of Created: in units of 1<<msShift ns
	_              uint8
}

const (
	flagReply      = 1 << 0 // FLOW_REPLY
	flagSeenReply  = 1 << 1 // FLOW_SEEN_REPLY
	flagAssured    = 1 << 2 // FLOW_ASSURED
	flagMasquerade = 1 << 5 // FLOW_MASQUERADED

	nfprotoIPv4 = 2
)

// msShift is MS_SHIFT of bpf/lib/common.h.
const msShift = 20

// left are the ticks that a flow lives on, at a time of the dataplane's clock.
func (f *rawFlow) left(now uint64) int32 { return int32(f.Expires - uint32(now>>tickShift)) }

// age is how long a flow has been there at a time of the dataplane's clock, to the
// millisecond.
func (f *rawFlow) age(now uint64) time.Duration {
	const inTick = 1 << (tickShift - msShift)
	ticks := int32(uint32(now>>tickShift) - f.Created)
	ms := int64(ticks)*inTick + int64(now>>msShift%inTick) - int64(f.Fraction)
	return time.Duration(max(0, ms)) << msShift
}

// checkLayout refuses maps of another build's layout.
func checkLayout(m *ebpf.Map) error {
	key, value := binary.Size(rawTuple{}), binary.Size(rawFlow{})
	if int(m.KeySize()) != key || int(m.ValueSize()) != value {
		return fmt.Errorf("flow table %v: entries of %d+%d bytes, not %d+%d: another version's", m, m.KeySize(), m.ValueSize(), key, value)
	}
	return nil
}

// reverse is the key of the other direction's entry.
func (f *rawFlow) reverse(key *rawTuple) rawTuple {
	return rawTuple{
		Saddr: f.Daddr, Daddr: f.Saddr, Sport: f.Dport, Dport: f.Sport,
		L4proto: key.L4proto, Nfproto: key.Nfproto, Zone: f.Zone,
	}
}

// turned is the entry of the other direction, with the key [rawFlow.reverse], as far as this
// one says: without counters and an interface.
func (f *rawFlow) turned(key *rawTuple) rawFlow {
	t := *f
	t.Saddr, t.Daddr, t.Sport, t.Dport = key.Daddr, key.Saddr, key.Dport, key.Sport
	t.Zone = key.Zone
	t.Flags ^= flagReply
	t.Packets, t.Bytes, t.Via = 0, 0, 0
	return t
}

func addrPort(nfproto uint8, addr [16]byte, port [2]byte) netip.AddrPort {
	a := netip.AddrFrom16(addr)
	if nfproto == nfprotoIPv4 {
		a = netip.AddrFrom4([4]byte(addr[:4]))
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port[:]))
}
