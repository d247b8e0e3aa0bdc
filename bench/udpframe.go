// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
)

// udpFrame makes a frame of a UDP datagram over IPv4 or IPv6, with its checksums: that of
// IPv4 is the shortest that Ethernet has.
func udpFrame(from, to net.HardwareAddr, source, target netip.AddrPort) []byte {
	const length = 8 + 18
	b := append(append([]byte(nil), to...), from...)
	var ip []byte
	if source.Addr().Is4() {
		ip = binary.BigEndian.AppendUint16([]byte{0x45, 0}, 20+length)
		ip = append(ip, 0, 0, 0, 0, startTTL, protoUDP, 0, 0)
		b = append(b, 8, 0)
	} else {
		ip = binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, length)
		ip = append(ip, protoUDP, startTTL)
		b = append(b, 0x86, 0xdd)
	}
	addresses := append(source.Addr().AsSlice(), target.Addr().AsSlice()...)
	ip = append(ip, addresses...)
	if source.Addr().Is4() {
		binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	}
	udp := binary.BigEndian.AppendUint16(nil, source.Port())
	udp = binary.BigEndian.AppendUint16(udp, target.Port())
	udp = binary.BigEndian.AppendUint16(udp, length)
	udp = append(udp, make([]byte, length-6)...)
	pseudo := protoUDP + length + uint32(sum(0, addresses))
	if c := ^sum(pseudo, udp); c != 0 {
		binary.BigEndian.PutUint16(udp[6:], c)
	} else {
		binary.BigEndian.PutUint16(udp[6:], 0xffff)
	}
	return append(append(b, ip...), udp...)
}

// udpEnds are the two ends of a frame that udpFrame could have made.
func udpEnds(b []byte) (source, target netip.AddrPort, err error) {
	if len(b) < payloadOff {
		return source, target, errors.New("too short")
	}
	at, n := ipOff+12, 4
	if b[ipOff]>>4 == 6 {
		at, n = ipOff+8, 16
	}
	if len(b) < at+2*n+8 {
		return source, target, errors.New("too short")
	}
	from, _ := netip.AddrFromSlice(b[at : at+n])
	to, _ := netip.AddrFromSlice(b[at+n : at+2*n])
	udp := b[at+2*n:]
	return netip.AddrPortFrom(from, binary.BigEndian.Uint16(udp)),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(udp[2:])), nil
}
