// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

const etherLen = 14

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// Frame returns the packet with an Ethernet header: to an interface, or from it.
func (pkt *Packet) Frame(dst, src net.HardwareAddr) []byte {
	transport := pkt.transport()
	v4 := pkt.Src.Addr().Is4()
	f := make([]byte, etherLen, etherLen+60+len(transport))
	copy(f, dst)
	copy(f[6:], src)
	if v4 {
		binary.BigEndian.PutUint16(f[12:], etherIPv4)
		f = append(f, 0x45, pkt.DSCP<<2)
		f = binary.BigEndian.AppendUint16(f, uint16(20+len(transport)))
		f = append(f, 0, 1, 0, 0, pkt.TTL, pkt.Protocol, 0, 0)
		f = append(f, pkt.Src.Addr().AsSlice()...)
		f = append(f, pkt.Dst.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(f[etherLen+10:], checksum(f[etherLen:], 0))
		return append(f, transport...)
	}
	binary.BigEndian.PutUint16(f[12:], etherIPv6)
	f = append(f, 0x60|pkt.DSCP>>2, pkt.DSCP<<6, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(transport)))
	f = append(f, pkt.Protocol, pkt.TTL)
	f = append(f, pkt.Src.Addr().AsSlice()...)
	f = append(f, pkt.Dst.Addr().AsSlice()...)
	return append(f, transport...)
}

// transport is what is behind the network header, with its checksum.
func (pkt *Packet) transport() []byte {
	var t []byte
	at := 0 // of the checksum; 0: it has none
	pseudo := true
	ports := func() {
		t = binary.BigEndian.AppendUint16(t, pkt.Src.Port())
		t = binary.BigEndian.AppendUint16(t, pkt.Dst.Port())
	}
	switch pkt.Protocol {
	case protoTCP:
		ports()
		t = binary.BigEndian.AppendUint32(t, pkt.Seq)
		t = binary.BigEndian.AppendUint32(t, pkt.Ack)
		t = append(t, 5<<4, pkt.TCPFlags)
		t = binary.BigEndian.AppendUint16(t, pkt.Window)
		t, at = append(t, 0, 0, 0, 0), 16
	case protoUDP, protoUDPLite:
		ports()
		t = binary.BigEndian.AppendUint16(t, uint16(8+len(pkt.Payload)))
		t, at = append(t, 0, 0), 6
	case protoSCTP:
		ports()
		t = append(t, make([]byte, 8)...) // a CRC is not looked at
	case protoICMP, protoICMPv6:
		t = append(t, pkt.Type, pkt.Code, 0, 0)
		t = binary.BigEndian.AppendUint16(t, pkt.ID)
		t, at = append(t, 0, 1), 2
		pseudo = pkt.Protocol == protoICMPv6
	}
	t = append(t, pkt.Payload...)
	if at > 0 {
		var sum uint32
		if pseudo {
			sum = pseudoSum(pkt.Src.Addr(), pkt.Dst.Addr(), pkt.Protocol, len(t))
		}
		c := checksum(t, sum)
		if c == 0 && pkt.Protocol == protoUDP {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(t[at:], c)
	}
	return t
}

func pseudoSum(src, dst netip.Addr, protocol uint8, n int) uint32 {
	b := slices.Concat(src.AsSlice(), dst.AsSlice(), []byte{0, protocol})
	return add(b, uint32(n))
}

func add(b []byte, sum uint32) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	return sum
}

// checksum is that of RFC 1071.
func checksum(b []byte, sum uint32) uint16 {
	sum = add(b, sum)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// withHeader puts an Ethernet header in front of an IP packet.
func withHeader(packet []byte) ([]byte, error) {
	if len(packet) == 0 {
		return nil, errors.New("an empty packet")
	}
	f := make([]byte, etherLen, etherLen+len(packet))
	switch packet[0] >> 4 {
	case 4:
		binary.BigEndian.PutUint16(f[12:], etherIPv4)
	case 6:
		binary.BigEndian.PutUint16(f[12:], etherIPv6)
	default:
		return nil, fmt.Errorf("neither IPv4 nor IPv6: it begins with 0x%02x", packet[0])
	}
	return append(f, packet...), nil
}

// addressesIn are those of the packet in a frame, and those of what it quotes if it
// is an ICMP error.
func addressesIn(frame []byte) []netip.Addr {
	if len(frame) < etherLen {
		return nil
	}
	return addressesOf(frame[etherLen:], binary.BigEndian.Uint16(frame[12:]), true)
}

func addressesOf(b []byte, typ uint16, quotes bool) []netip.Addr {
	const errorLen = 8 // in front of what is quoted
	var list []netip.Addr
	var inner []byte
	switch {
	case typ == etherIPv4 && len(b) >= 20:
		list = []netip.Addr{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))}
		if n := int(b[0]&0xf) * 4; b[9] == protoICMP && len(b) > n+errorLen {
			inner = b[n+errorLen:]
		}
	case typ == etherIPv6 && len(b) >= 40:
		list = []netip.Addr{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))}
		if b[6] == protoICMPv6 && len(b) > 40+errorLen {
			inner = b[40+errorLen:]
		}
	}
	if quotes {
		list = append(list, addressesOf(inner, typ, false)...)
	}
	return list
}
