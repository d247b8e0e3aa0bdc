// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"golang.org/x/sys/unix"
)

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
	urg
)

// ICMP types.
const (
	echoReply    = 0
	unreachable  = 3
	echoRequest  = 8
	timeExceeded = 11

	unreachable6  = 1
	timeExceeded6 = 3
	echoRequest6  = 128
	echoReply6    = 129
)

// sum16 is the one's complement sum of RFC 1071: 0xffff over data with a right
// checksum.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for ; len(p) > 1; p = p[2:] {
			sum += uint32(binary.BigEndian.Uint16(p))
		}
		if len(p) == 1 {
			sum += uint32(p[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func icmpProto(version int) byte {
	if version == 0 {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}

// checksumAt is where a transport header has its checksum, -1 for nowhere.
func checksumAt(proto byte) int {
	switch proto {
	case unix.IPPROTO_TCP:
		return 16
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		return 6
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return 2
	}
	return -1
}

func transportSum(src, dst netip.Addr, proto byte, th []byte) uint16 {
	if proto == unix.IPPROTO_ICMP {
		return sum16(th)
	}
	if proto == unix.IPPROTO_UDPLITE {
		proto = unix.IPPROTO_UDP // as nf_conntrack wants it
	}
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(th)))
	return sum16(append(pseudo, 0, 0, 0, proto), th)
}

const sctpHeader = 12

// sctpSum is the checksum of SCTP.
func sctpSum(th []byte) uint32 {
	sum := crc32.Update(0, castagnoli, th[:8])
	sum = crc32.Update(sum, castagnoli, []byte{0, 0, 0, 0})
	return crc32.Update(sum, castagnoli, th[sctpHeader:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ipHeader are the fields of a network header that vary.
type ipHeader struct {
	src, dst netip.Addr
	proto    byte
	ttl, tos byte
	id       uint16
	frag     uint16 // flags and offset of IPv4, in host order
	options  []byte // IPv4
	label    uint32 // of IPv6's flow
}

// packetOf puts a network header before a transport packet, whose checksum it
// sets.
func (h ipHeader) packetOf(th []byte) []byte {
	if at := checksumAt(h.proto); at >= 0 && len(th) >= at+2 {
		binary.BigEndian.PutUint16(th[at:], 0)
		sum := ^transportSum(h.src, h.dst, h.proto, th)
		if sum == 0 && h.proto == unix.IPPROTO_UDP {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(th[at:], sum)
	}
	if h.proto == unix.IPPROTO_SCTP && len(th) >= sctpHeader {
		binary.LittleEndian.PutUint32(th[8:], sctpSum(th))
	}
	return h.wrap(th)
}

// wrap is packetOf for bytes that stay as they are.
func (h ipHeader) wrap(th []byte) []byte {
	if h.src.Is4() {
		b := []byte{0x40 | byte(5+len(h.options)/4), h.tos}
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(h.options)+len(th)))
		b = binary.BigEndian.AppendUint16(b, h.id)
		b = binary.BigEndian.AppendUint16(b, h.frag)
		b = append(b, h.ttl, h.proto, 0, 0)
		b = append(append(append(b, h.src.AsSlice()...), h.dst.AsSlice()...), h.options...)
		binary.BigEndian.PutUint16(b[10:], ^sum16(b))
		return append(b, th...)
	}
	b := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(h.tos)<<20|h.label)
	b = binary.BigEndian.AppendUint16(b, uint16(len(th)))
	b = append(b, h.proto, h.ttl)
	b = append(append(b, h.src.AsSlice()...), h.dst.AsSlice()...)
	return append(b, th...)
}

func ports(sport, dport uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
}

func tcpSegment(sport, dport uint16, seq, ackSeq uint32, flags byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(ports(sport, dport), seq)
	b = binary.BigEndian.AppendUint32(b, ackSeq)
	b = append(b, 0x50, flags, 0x7f, 0xff, 0, 0, 0, 0)
	return append(b, data...)
}

func udpDatagram(sport, dport uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(ports(sport, dport), uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

func icmpMessage(typ, code byte, rest uint32, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest), data...)
}

func frameOf(dst, src []byte, ip []byte) []byte {
	f := append(append(make([]byte, 0, etherHeader+len(ip)), dst...), src...)
	kind := uint16(unix.ETH_P_IP)
	if ip[0]>>4 == 6 {
		kind = unix.ETH_P_IPV6
	}
	return append(binary.BigEndian.AppendUint16(f, kind), ip...)
}

// parsed is an IP packet taken apart, as far as it goes.
type parsed struct {
	src, dst netip.Addr
	proto    byte
	ip       []byte // without padding
	th       []byte
	fragment bool
	last     bool // of a fragmented datagram
	offset   int  // of the fragment
	id       uint32
}

// hops is the TTL, or hop limit.
func (p *parsed) hops() byte {
	if p.src.Is4() {
		return p.ip[8]
	}
	return p.ip[7]
}

func parse(b []byte) (p parsed, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		size, ihl := int(binary.BigEndian.Uint16(b[2:])), int(b[0]&15)*4
		if ihl < 20 || size < ihl || len(b) < ihl {
			return p, false
		}
		p.ip = b[:min(size, len(b))]
		p.th = p.ip[ihl:]
		p.proto = b[9]
		frag := binary.BigEndian.Uint16(b[6:])
		p.fragment, p.last, p.offset = frag&0x3fff != 0, frag&0x2000 == 0, int(frag&0x1fff)*8
		p.id = uint32(binary.BigEndian.Uint16(b[4:]))
		p.src, p.dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	case len(b) >= 40 && b[0]>>4 == 6:
		p.ip = b[:min(40+int(binary.BigEndian.Uint16(b[4:])), len(b))]
		p.proto, p.th = b[6], p.ip[40:]
		p.src, p.dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		for (p.proto == unix.IPPROTO_HOPOPTS || p.proto == unix.IPPROTO_DSTOPTS || p.proto == unix.IPPROTO_ROUTING) && len(p.th) >= 8 && len(p.th) >= int(p.th[1]+1)*8 {
			p.proto, p.th = p.th[0], p.th[int(p.th[1]+1)*8:]
		}
		if p.proto == unix.IPPROTO_FRAGMENT && len(p.th) >= 8 {
			frag := binary.BigEndian.Uint16(p.th[2:])
			p.fragment, p.last, p.offset = true, frag&1 == 0, int(frag&^7)
			p.id = binary.BigEndian.Uint32(p.th[4:])
			p.proto, p.th = p.th[0], p.th[8:]
		}
	default:
		return p, false
	}
	return p, true
}

// isError tells ICMP errors.
func (p *parsed) isError() bool {
	if len(p.th) < 8 {
		return false
	}
	switch p.proto {
	case unix.IPPROTO_ICMP:
		t := p.th[0]
		return t == unreachable || t == timeExceeded || t == 4 || t == 5 || t == 12
	case unix.IPPROTO_ICMPV6:
		return p.th[0] < 128
	}
	return false
}

// checksums says which checksum is wrong, "" for none.
func (p *parsed) checksums() string {
	if p.src.Is4() && sum16(p.ip[:len(p.ip)-len(p.th)]) != 0xffff {
		return "IPv4 header"
	}
	if p.proto == unix.IPPROTO_SCTP && !p.fragment && len(p.th) >= sctpHeader && binary.LittleEndian.Uint32(p.th[8:]) != sctpSum(p.th) {
		return "SCTP header"
	}
	at := checksumAt(p.proto)
	if at < 0 || p.fragment || len(p.th) < at+2 {
		return ""
	}
	if p.proto == unix.IPPROTO_UDP && p.src.Is4() && binary.BigEndian.Uint16(p.th[at:]) == 0 {
		return ""
	}
	if transportSum(p.src, p.dst, p.proto, p.th) != 0xffff {
		return "transport header"
	}
	return ""
}
