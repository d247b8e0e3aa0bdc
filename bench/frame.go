// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// FrameLen is the length of a frame without its check sequence: 64 bytes on
// the wire.
const FrameLen = 60

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
	Source netip.Addr // the source address after the device
	TTL    uint8      // and the time to live; the generator sends 64
}

// sample is a frame seen at the receiver.
type sample []byte

// firstFrame makes the generator's frame of flow 0, with the UDP checksum for a
// source port of 0: the generator fills in port and checksum.
func firstFrame(from, to net.HardwareAddr) []byte {
	b := make([]byte, 64)
	copy(b, to)
	copy(b[6:], from)
	binary.BigEndian.PutUint16(b[12:], 0x0800)

	ip := b[ipOff:udpOff]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], FrameLen-ipOff)
	ip[8], ip[9] = startTTL, protoUDP
	copy(ip[12:], GenAddr.Addr().AsSlice())
	copy(ip[16:], SinkAddr.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip))

	udp := b[udpOff:FrameLen]
	binary.BigEndian.PutUint16(udp[2:], targetPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint32(udp[8:], magic)
	binary.BigEndian.PutUint16(udp[6:], ^sum(pseudo(ip, len(udp)), udp))
	return b
}

// check says in what the frame differs from what the device promises.
func (s sample) check(to net.HardwareAddr, p Promise) error {
	if len(s) != FrameLen {
		return fmt.Errorf("%d bytes long instead of %d", len(s), FrameLen)
	}
	var errs []error
	complain := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf(format, a...))
	}
	ip, udp := s[ipOff:udpOff], s[udpOff:]
	if got := net.HardwareAddr(s[:6]); got.String() != to.String() {
		complain("sent to %s instead of %s", got, to)
	}
	if got := netip.AddrFrom4([4]byte(ip[12:16])); got != p.Source {
		complain("source %s instead of %s", got, p.Source)
	}
	first := binary.BigEndian.Uint32(SinkAddr.Addr().AsSlice())
	if n := binary.BigEndian.Uint32(ip[16:20]) - first; n >= MaxFlows/flowsAtAddr {
		complain("destination %s instead of %s", netip.AddrFrom4([4]byte(ip[16:20])), SinkAddr.Addr())
	}
	if ip[8] != p.TTL {
		complain("TTL %d instead of %d", ip[8], p.TTL)
	}
	if got := binary.BigEndian.Uint16(udp[2:]); got != targetPort {
		complain("destination port %d instead of %d", got, targetPort)
	}
	if sum(0, ip) != 0xffff {
		complain("wrong IP header checksum %#04x", binary.BigEndian.Uint16(ip[10:]))
	}
	if sum(pseudo(ip, len(udp)), udp) != 0xffff {
		complain("wrong UDP checksum %#04x", binary.BigEndian.Uint16(udp[6:]))
	}
	return errors.Join(errs...)
}

// pseudo is the partial sum over the UDP pseudo header.
func pseudo(ip []byte, udpLen int) uint32 {
	var s uint32
	for i := 12; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	return s + protoUDP + uint32(udpLen)
}

// sum is the Internet checksum (RFC 1071) before its inversion, of b with an
// even number of bytes.
func sum(s uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
