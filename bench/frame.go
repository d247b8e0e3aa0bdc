// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Lengths of a frame without its check sequence: of IPv4, 64 bytes on the wire, and
// of IPv6, 70.
const (
	FrameLen  = 60
	frame6Len = 66
)

func frameLen(ipv6 bool) int {
	if ipv6 {
		return frame6Len
	}
	return FrameLen
}

const (
	ipOff      = 14
	udpOff     = ipOff + 20
	payloadOff = udpOff + 8
)

const (
	firstPort  = 10000 // source port of flow 0
	targetPort = 4789
	startTTL   = 64
	magic      = 0x6c326221 // MAGIC of bpf/packet.h
	protoUDP   = 17
)

// Promise is what a device does to the packets that it forwards.
type Promise struct {
	Masqueraded bool  // they leave with the WAN's address
	TTL         uint8 // or hop limit, after the device; the generator sends 64
}

// source is the address that packets arrive from.
func (p Promise) source(ipv6 bool) netip.Addr {
	switch {
	case p.Masqueraded && ipv6:
		return egressAddr6.Addr()
	case p.Masqueraded:
		return EgressAddr.Addr()
	case ipv6:
		return genAddr6.Addr()
	}
	return GenAddr.Addr()
}

// sample is a frame seen at the receiver.
type sample []byte

// firstFrame makes the generator's frame of flow 0, with the UDP checksum for a
// source port of 0: the generator fills in port and checksum.
func firstFrame(from, to net.HardwareAddr, ipv6 bool) []byte {
	b := append(append(make([]byte, 0, frame6Len), to...), from...)
	source, target, ipLen := GenAddr, SinkAddr, udpOff-ipOff
	if ipv6 {
		source, target, ipLen = genAddr6, sinkAddr6, 40
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, protoUDP, startTTL)
	} else {
		b = append(b, 8, 0, 0x45, 0, 0, FrameLen-ipOff, 0, 0, 0, 0, startTTL, protoUDP, 0, 0)
	}
	b = append(append(b, source.Addr().AsSlice()...), target.Addr().AsSlice()...)
	b = append(b, make([]byte, frameLen(ipv6)-len(b))...)
	ip, udp := b[ipOff:ipOff+ipLen], b[ipOff+ipLen:]
	if ipv6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	} else {
		binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))
	}
	binary.BigEndian.PutUint16(udp[2:], targetPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint32(udp[8:], magic)
	binary.BigEndian.PutUint16(udp[6:], ^sum(pseudo(ip, len(udp)), udp))
	return b
}

// check says in what the frame differs from what the device promises to make of one of the mix.
func (s sample) check(to net.HardwareAddr, p Promise, m Mix) error {
	ipv6 := len(s) > ipOff && s[ipOff]>>4 == 6
	lengths := m.frames(ipv6)
	if len(lengths) == 0 {
		lengths = []int{frameLen(ipv6)}
	}
	if !slices.Contains(lengths, len(s)) {
		return fmt.Errorf("%d bytes long instead of %v", len(s), lengths)
	}
	var errs []error
	complain := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf(format, a...))
	}
	if got := net.HardwareAddr(s[:6]); got.String() != to.String() {
		complain("sent to %s instead of %s", got, to)
	}
	ip, udp, ttl, sink := s[ipOff:udpOff], s[udpOff:], s[ipOff+8], SinkAddr.Addr()
	if ipv6 {
		ip, udp, ttl, sink = s[ipOff:ipOff+40], s[ipOff+40:], s[ipOff+7], sinkAddr6.Addr()
	}
	if n := int(binary.BigEndian.Uint16(udp[4:])); n != len(udp) {
		complain("%d bytes of UDP in a datagram that says %d", len(udp), n)
	}
	source, target, err := udpEnds(s)
	if err != nil {
		return err
	}
	if want := p.source(ipv6); source.Addr() != want {
		complain("source %s instead of %s", source.Addr(), want)
	}
	if !isSink(target.Addr(), sink) {
		complain("destination %s instead of %s", target.Addr(), sink)
	}
	if ttl != p.TTL {
		complain("TTL %d instead of %d", ttl, p.TTL)
	}
	if target.Port() != targetPort {
		complain("destination port %d instead of %d", target.Port(), targetPort)
	}
	if !ipv6 && sum(0, ip) != 0xffff {
		complain("wrong IP header checksum %#04x", binary.BigEndian.Uint16(ip[10:]))
	}
	if sum(pseudo(ip, len(udp)), udp) != 0xffff {
		complain("wrong UDP checksum %#04x", binary.BigEndian.Uint16(udp[6:]))
	}
	return errors.Join(errs...)
}

// isSink tells whether an address is the receiver's or one of those behind it.
func isSink(addr, sink netip.Addr) bool {
	a, first := addr.AsSlice(), sink.AsSlice()
	if len(a) != len(first) {
		return false
	}
	last := len(a) - 4
	n := binary.BigEndian.Uint32(a[last:]) - binary.BigEndian.Uint32(first[last:])
	return bytes.Equal(a[:last], first[:last]) && n < MaxFlows/flowsAtAddr
}

// pseudo is the partial sum over the UDP pseudo header.
func pseudo(ip []byte, udpLen int) uint32 {
	addresses := ip[12:]
	if ip[0]>>4 == 6 {
		addresses = ip[8:]
	}
	return uint32(sum(0, addresses)) + protoUDP + uint32(udpLen)
}

// sum is the Internet checksum (RFC 1071) before its inversion.
func sum(s uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 != 0 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
