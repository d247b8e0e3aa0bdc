// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"net/netip"
)

// packet is a struct pkt of a test.
type packet struct {
	src, dst string
	proto    byte
	th       []byte // transport header
	iif, oif string
	ct       uint32
	mark     uint32
	len      uint32
	pkttype  byte
	fragOff  uint16 // in the IPv4 header, with its flags
	tos      byte
	now      uint64
	flow     *flowFacts
	options  byte // words of IPv4 options
	later    bool // a later fragment
	invalid  bool // no valid IP, as a device's chains see it
	// frame is the packet itself with its Ethernet header, for rules that look
	// there. It lies behind the input of the harness.
	frame []byte
}

// Values of ct_state.
const (
	ctInvalid   = 1 << 0
	ctRelated   = 1 << 2
	ctNew       = 1 << 3
	ctUntracked = 1 << 6
)

// tcp returns a TCP header.
func tcp(sport, dport uint16, flags byte) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	h[12], h[13] = 5<<4, flags
	return h
}

// udp returns a UDP header.
func udp(sport, dport uint16) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	return h
}

// icmp returns the header of an ICMP message.
func icmp(typ byte) []byte { return []byte{typ, 0, 0, 0, 0, 1, 0, 1} }

const (
	protoICMP   = 1
	protoICMPv6 = 58
)

func (p *packet) addrs() (src, dst netip.Addr) {
	return netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
}

func (p *packet) v6() bool {
	src, _ := p.addrs()
	return src.Is6()
}

// network returns the network header.
func (p *packet) network() []byte {
	src, dst := p.addrs()
	if p.v6() {
		h := make([]byte, 40)
		h[0], h[1] = 6<<4|p.tos>>4, p.tos<<4
		h[6], h[7] = p.proto, 64
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		return h
	}
	h := make([]byte, 20)
	h[0], h[1], h[8], h[9] = 0x45+p.options, p.tos, 64, p.proto
	binary.BigEndian.PutUint16(h[6:], p.fragOff)
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	return h
}

func (p *packet) family() (nfproto byte, protocol uint16) {
	if p.v6() {
		return 10, 0x86dd
	}
	return 2, 0x0800
}

// writeTuple writes the tuple that the packet arrived with.
func (p *packet) writeTuple(b []byte) {
	src, dst := p.addrs()
	nfproto, _ := p.family()
	copy(b[tupleSrc:], src.AsSlice())
	copy(b[tupleDst:], dst.AsSlice())
	if len(p.th) >= 4 {
		copy(b[tupleSrcPort:], p.th[:4])
	}
	b[tupleProtocol], b[tupleFamily] = p.proto, nfproto
}

// write writes the packet as the dataplane would.
func (p *packet) write(b []byte, l *layout) {
	at := func(f pktField) []byte { return b[l.offsets[f]:] }
	nfproto, protocol := p.family()
	p.writeTuple(at(fieldTuple))
	copy(at(fieldNH), p.network())
	if !p.v6() {
		// Whatever lies behind an IPv4 header must not matter.
		copy(at(fieldNH)[20:40], "junk junk junk junk ")
	}
	copy(at(fieldTH), p.th)
	at(fieldThLen)[0] = byte(min(len(p.th), 20))
	binary.NativeEndian.PutUint32(at(fieldIif), uint32(testLinks[p.iif]))
	binary.NativeEndian.PutUint32(at(fieldOif), uint32(testLinks[p.oif]))
	binary.NativeEndian.PutUint32(at(fieldLen), p.len)
	binary.NativeEndian.PutUint32(at(fieldMark), p.mark)
	binary.NativeEndian.PutUint32(at(fieldCtState), p.ct)
	binary.BigEndian.PutUint16(at(fieldProtocol), protocol)
	at(fieldL4proto)[0] = p.proto
	if !p.invalid {
		at(fieldNfproto)[0] = nfproto
	}
	at(fieldPktType)[0] = p.pkttype
	now := p.now
	if now == 0 {
		now = Now()
	}
	binary.NativeEndian.PutUint64(at(fieldNow), now)
}
