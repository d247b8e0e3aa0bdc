// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// TCP flags.
const (
	tcpFIN = 1 << 0
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)

// Types of ICMP and ICMPv6 messages.
const (
	icmpEchoReply     = 0
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
	icmpv6EchoReply   = 129
)

const (
	ethHeader = 14
	ip4Header = 20
	ip6Header = 40
	icmpProto = unix.IPPROTO_ICMP
	icmp6     = unix.IPPROTO_ICMPV6
)

// hop is where a raw frame goes: from one station to another.
type hop struct {
	src, dst net.HardwareAddr
}

// tcpFrame is a TCP segment without options or data.
func tcpFrame(h hop, src, dst netip.Addr, sport, dport uint16, flags byte) []byte {
	seg := make([]byte, 20)
	binary.BigEndian.PutUint16(seg[0:], sport)
	binary.BigEndian.PutUint16(seg[2:], dport)
	binary.BigEndian.PutUint32(seg[4:], 0x10203040+uint32(sport)) // sequence number
	seg[12] = 5 << 4
	seg[13] = flags
	binary.BigEndian.PutUint16(seg[14:], 64240)
	return ipFrame(h, src, dst, unix.IPPROTO_TCP, seg, 16)
}

// udpFrame is a UDP datagram.
func udpFrame(h hop, src, dst netip.Addr, sport, dport uint16, payload []byte) []byte {
	seg := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(seg[0:], sport)
	binary.BigEndian.PutUint16(seg[2:], dport)
	binary.BigEndian.PutUint16(seg[4:], uint16(8+len(payload)))
	return ipFrame(h, src, dst, unix.IPPROTO_UDP, append(seg, payload...), 6)
}

// echoFrame is an echo request of the address's family.
func echoFrame(h hop, src, dst netip.Addr, id, seq uint16) []byte {
	msg := make([]byte, 8, 24)
	msg[0] = icmpEchoRequest
	proto := byte(icmpProto)
	if dst.Is6() {
		msg[0], proto = icmpv6EchoRequest, icmp6
	}
	binary.BigEndian.PutUint16(msg[4:], id)
	binary.BigEndian.PutUint16(msg[6:], seq)
	return ipFrame(h, src, dst, proto, append(msg, "sixteen bytes..."...), 2)
}

// ipFrame wraps a transport segment, filling in its checksum at offset sum.
func ipFrame(h hop, src, dst netip.Addr, proto byte, segment []byte, sum int) []byte {
	frame := append(append(make([]byte, 0, ethHeader+ip6Header+len(segment)), h.dst...), h.src...)
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(pseudo, 0, proto, byte(len(segment)>>8), byte(len(segment)))
	if proto == icmpProto {
		pseudo = nil
	}
	check := checksum(append(pseudo, segment...))
	if check == 0 && proto == unix.IPPROTO_UDP {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(segment[sum:], check)

	if dst.Is4() {
		frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
		ip := make([]byte, ip4Header)
		ip[0] = 4<<4 | ip4Header/4
		binary.BigEndian.PutUint16(ip[2:], uint16(ip4Header+len(segment)))
		ip[8], ip[9] = 64, proto
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		return append(append(frame, ip...), segment...)
	}
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IPV6)
	ip := make([]byte, ip6Header)
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], uint16(len(segment)))
	ip[6], ip[7] = proto, 64
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	return append(append(frame, ip...), segment...)
}

// checksum is the Internet checksum (RFC 1071).
func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	if len(data)%2 == 1 {
		sum += uint32(data[len(data)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// packet is what a capture understands of a frame.
type packet struct {
	src, dst     netip.Addr
	proto        byte
	sport, dport uint16 // TCP and UDP
	flags        byte   // TCP
	icmpType     byte
	icmpID       uint16
}

// parseFrame reads an Ethernet frame with an unfragmented IPv4 or IPv6 packet
// without extension headers: what the checks send and expect.
func parseFrame(frame []byte) (packet, bool) {
	if len(frame) < ethHeader+ip4Header {
		return packet{}, false
	}
	var p packet
	ip, segment := frame[ethHeader:], []byte(nil)
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		size := int(ip[0]&0xf) * 4
		if len(ip) < size || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 {
			return packet{}, false
		}
		p.proto, segment = ip[9], ip[size:]
		p.src, p.dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	case unix.ETH_P_IPV6:
		if len(ip) < ip6Header {
			return packet{}, false
		}
		p.proto, segment = ip[6], ip[ip6Header:]
		p.src, p.dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	default:
		return packet{}, false
	}
	if len(segment) < 8 {
		return packet{}, false
	}
	switch p.proto {
	case unix.IPPROTO_TCP:
		if len(segment) < 20 {
			return packet{}, false
		}
		p.flags = segment[13]
		fallthrough
	case unix.IPPROTO_UDP:
		p.sport, p.dport = binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	case icmpProto, icmp6:
		p.icmpType, p.icmpID = segment[0], binary.BigEndian.Uint16(segment[4:])
	}
	return p, true
}

// echoReplyType is the type of an echo reply in the address's family.
func echoReplyType(a netip.Addr) byte {
	if a.Is6() {
		return icmpv6EchoReply
	}
	return icmpEchoReply
}
