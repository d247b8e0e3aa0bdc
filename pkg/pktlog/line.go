// SPDX-License-Identifier: GPL-2.0-only

// Package pktlog writes what log statements report in the words of the kernel.
package pktlog

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/randomizedcoder/l2d/loader"
)

// Values of Event.NFProto, include/uapi/linux/netfilter.h.
const (
	nfprotoIPv4 = 2
	nfprotoIPv6 = 10
)

// IP protocols that have a text of their own.
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoRouting = 43
	protoFrag    = 44
	protoESP     = 50
	protoAH      = 51
	protoICMPv6  = 58
	protoDstOpts = 60
	protoUDPL    = 136
)

// NF_LOG_* of include/uapi/linux/netfilter/nf_log.h.
const (
	logTCPSeq    = 0x01
	logTCPOpt    = 0x02
	logIPOpt     = 0x04
	logMACDecode = 0x20
)

// Line describes a packet in the words of the kernel's nf_log_syslog. flags are
// NF_LOG_*, link names come from name.
func Line(e *loader.Event, flags uint32, name func(index int) string) string {
	l := &line{flags: flags}
	l.printf("IN=%s OUT=%s ", name(int(e.IIF)), name(int(e.OIF)))
	if e.NFProto != nfprotoIPv4 && e.NFProto != nfprotoIPv6 {
		l.frame(e)
		return strings.TrimRight(l.String(), " ")
	}
	if e.IIF != 0 {
		l.mac(e)
	}
	packet := packetOf(e)
	if e.NFProto == nfprotoIPv4 {
		l.ipv4(packet, int(e.Len), false)
	} else {
		l.ipv6(packet, int(e.Len), false)
	}
	if e.Flags&loader.EventSocket != 0 {
		l.printf("UID=%d GID=%d ", e.UID, e.GID)
	}
	if e.Mark != 0 {
		l.printf("MARK=0x%x ", e.Mark)
	}
	return strings.TrimRight(l.String(), " ")
}

// Audit describes a packet in the words of the kernel's audit records, for
// statements with the level audit.
func Audit(e *loader.Event) string {
	mark := "0"
	if e.Mark != 0 {
		mark = fmt.Sprintf("%#x", e.Mark)
	}
	src, dst := netip.AddrFrom4([4]byte(e.NH[12:])), netip.AddrFrom4([4]byte(e.NH[16:]))
	if e.NFProto == nfprotoIPv6 {
		src, dst = netip.AddrFrom16([16]byte(e.NH[8:])), netip.AddrFrom16([16]byte(e.NH[24:]))
	}
	return fmt.Sprintf("mark=%s saddr=%s daddr=%s proto=%d", mark, src, dst, e.L4Proto)
}

// packetOf is the packet as far as the event has it, as it was at the hook.
func packetOf(e *loader.Event) []byte {
	network := e.NH[:20]
	if e.NFProto == nfprotoIPv6 {
		network = e.NH[:]
	}
	th := e.TH[:min(int(e.THLen), len(e.TH))]
	at := max(int(e.L4Offset), len(network))
	packet := make([]byte, max(int(e.DataLen), at+len(th)))
	copy(packet, e.Data[:min(int(e.DataLen), len(e.Data))])
	copy(packet, network)
	copy(packet[at:], th)
	return packet
}

// line is a line that is being written.
type line struct {
	strings.Builder
	flags uint32
}

func (l *line) printf(format string, args ...any) { fmt.Fprintf(l, format, args...) }

func (l *line) incomplete(n int) { l.printf("INCOMPLETE [%d bytes] ", n) }

func (l *line) mac(e *loader.Event) {
	has := e.Flags&loader.EventMAC != 0
	switch {
	case has && l.flags&logMACDecode != 0:
		l.printf("MACSRC=%s MACDST=%s MACPROTO=%04x ", net.HardwareAddr(e.MAC[6:12]), net.HardwareAddr(e.MAC[:6]), be16(e.MAC[12:]))
	case has:
		l.printf("MAC=%s ", net.HardwareAddr(e.MAC[:]))
	default:
		l.printf("MAC= ")
	}
}

// frame writes what is no IP packet.
func (l *line) frame(e *loader.Event) {
	if typ := be16(e.MAC[12:]); e.Flags&loader.EventMAC == 0 || typ != 0x0806 && typ != 0x8035 {
		l.mac(e)
		return
	}
	if l.flags&logMACDecode != 0 {
		l.mac(e)
	}
	h := e.Data[:min(int(e.DataLen), len(e.Data))]
	if len(h) < 8 {
		l.printf("TRUNCATED")
		return
	}
	l.printf("ARP HTYPE=%d PTYPE=0x%04x OPCODE=%d", be16(h), be16(h[2:]), be16(h[6:]))
	if be16(h) != 1 || h[4] != 6 || h[5] != 4 {
		return
	}
	if len(h) < 28 {
		l.printf(" INCOMPLETE [%d bytes]", int(e.Len)-8)
		return
	}
	l.printf(" MACSRC=%s IPSRC=%s MACDST=%s IPDST=%s", net.HardwareAddr(h[8:14]), netip.AddrFrom4([4]byte(h[14:])),
		net.HardwareAddr(h[18:24]), netip.AddrFrom4([4]byte(h[24:])))
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// ipv4 writes a packet of size bytes, as far as it is in p. A quoted one is in an
// ICMP error.
func (l *line) ipv4(p []byte, size int, quoted bool) {
	if len(p) < 20 {
		l.printf("TRUNCATED")
		return
	}
	l.printf("SRC=%s DST=%s LEN=%d TOS=0x%02X PREC=0x%02X TTL=%d ID=%d ",
		netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), be16(p[2:]), p[1]&0x1e, p[1]&0xe0, p[8], be16(p[4:]))
	off := be16(p[6:])
	for _, f := range []struct {
		bit  uint16
		name string
	}{{0x8000, "CE "}, {0x4000, "DF "}, {0x2000, "MF "}} {
		if off&f.bit != 0 {
			l.printf("%s", f.name)
		}
	}
	if off&0x1fff != 0 {
		l.printf("FRAG:%d ", off&0x1fff)
	}
	header := int(p[0]&15) * 4
	if l.flags&logIPOpt != 0 && header > 20 {
		if len(p) < header {
			l.printf("TRUNCATED")
			return
		}
		l.printf("OPT (%X) ", p[20:header])
	}
	var rest []byte
	if header <= len(p) {
		rest = p[header:]
	}
	l.transport(p[9], rest, size-header, off&0x1fff != 0, quoted)
}

// ipv6 is ipv4 for IPv6, with its extension headers.
func (l *line) ipv6(p []byte, size int, quoted bool) {
	if len(p) < 40 {
		l.printf("TRUNCATED")
		return
	}
	word := be32(p)
	// The kernel counts the header in.
	l.printf("SRC=%s DST=%s LEN=%d TC=%d HOPLIMIT=%d FLOWLBL=%d ",
		netip.AddrFrom16([16]byte(p[8:])).StringExpanded(), netip.AddrFrom16([16]byte(p[24:])).StringExpanded(),
		int(be16(p[4:]))+40, word>>20&0xff, p[7], word&0xfffff)
	next, at, fragment := p[6], 40, false
	for isExtension(next) {
		if len(p) < at+8 {
			l.printf("TRUNCATED")
			return
		}
		h := p[at:]
		n, ok := l.extension(next, h, size-at, &fragment)
		if !ok {
			return
		}
		next, at = h[0], at+n
	}
	var rest []byte
	if at <= len(p) {
		rest = p[at:]
	}
	l.transport(next, rest, size-at, fragment, quoted)
}

func isExtension(proto byte) bool {
	switch proto {
	case 0, protoRouting, protoFrag, protoESP, protoAH, protoDstOpts:
		return true
	}
	return false
}

// extension writes an extension header and returns its length; ok is false where
// the line ends with it.
func (l *line) extension(proto byte, h []byte, size int, fragment *bool) (n int, ok bool) {
	options := l.flags&logIPOpt != 0
	text := func(s string, args ...any) {
		if options {
			l.printf(s, args...)
		}
	}
	text("OPT ( ")
	switch proto {
	case protoFrag:
		off := be16(h[2:])
		l.printf("FRAG:%d ", off&0xfff8)
		if off&1 != 0 {
			l.printf("INCOMPLETE ")
		}
		l.printf("ID:%08x ", be32(h[4:]))
		*fragment = *fragment || off&0xfff8 != 0
		n = 8
	case protoAH:
		text("AH ")
		if *fragment && options {
			text(")")
			return 0, false
		}
		if options && size < 12 {
			text("INCOMPLETE [%d bytes] )", size)
			return 0, false
		}
		text("SPI=0x%x ", be32(h[4:]))
		n = (int(h[1]) + 2) * 4
	case protoESP:
		text("ESP ")
		if *fragment {
			text(")")
		} else {
			text("SPI=0x%x )", be32(h))
		}
		return 0, false
	default:
		if *fragment {
			text(")")
			return 0, false
		}
		n = (int(h[1]) + 1) * 8
	}
	text(") ")
	return n, true
}

// transport writes a transport packet of size bytes.
func (l *line) transport(proto byte, th []byte, size int, fragment, quoted bool) {
	names := map[byte]string{protoTCP: "TCP", protoUDP: "UDP", protoUDPL: "UDPLITE", protoICMP: "ICMP", protoICMPv6: "ICMPv6", protoESP: "ESP", protoAH: "AH"}
	least := map[byte]int{protoTCP: 20, protoUDP: 8, protoUDPL: 8, protoICMP: 8, protoICMPv6: 8, protoESP: 8, protoAH: 12}
	name, ok := names[proto]
	if !ok {
		l.printf("PROTO=%d ", proto)
		return
	}
	l.printf("PROTO=%s ", name)
	if fragment {
		return
	}
	if len(th) < least[proto] {
		l.incomplete(size)
		return
	}
	switch proto {
	case protoTCP:
		l.tcp(th)
	case protoUDP, protoUDPL:
		l.printf("SPT=%d DPT=%d LEN=%d ", be16(th), be16(th[2:]), be16(th[4:]))
	case protoICMP:
		l.icmp(th, size, quoted)
	case protoICMPv6:
		l.icmpv6(th, size, quoted)
	case protoESP:
		l.printf("SPI=0x%x ", be32(th))
	case protoAH:
		l.printf("SPI=0x%x ", be32(th[4:]))
	}
}

func (l *line) tcp(th []byte) {
	l.printf("SPT=%d DPT=%d ", be16(th), be16(th[2:]))
	if l.flags&logTCPSeq != 0 {
		l.printf("SEQ=%d ACK=%d ", be32(th[4:]), be32(th[8:]))
	}
	l.printf("WINDOW=%d RES=0x%02x ", be16(th[14:]), th[12]<<2&0x3c)
	// In the kernel's order.
	for _, f := range []struct {
		bit  byte
		name string
	}{{0x80, "CWR"}, {0x40, "ECE"}, {0x20, "URG"}, {0x10, "ACK"}, {0x08, "PSH"}, {0x04, "RST"}, {0x02, "SYN"}, {0x01, "FIN"}} {
		if th[13]&f.bit != 0 {
			l.printf("%s ", f.name)
		}
	}
	l.printf("URGP=%d ", be16(th[18:]))
	if n := int(th[12]>>4) * 4; l.flags&logTCPOpt != 0 && n > 20 {
		if len(th) < n {
			l.printf("OPT (TRUNCATED)")
			return
		}
		l.printf("OPT (%X) ", th[20:n])
	}
}

// icmpLeast is how many bytes a message has at least, that are no less than the
// header.
var icmpLeast = map[byte]int{3: 28, 4: 28, 5: 28, 11: 28, 12: 28, 13: 20, 14: 20, 17: 12, 18: 12}

func (l *line) icmp(th []byte, size int, quoted bool) {
	l.printf("TYPE=%d CODE=%d ", th[0], th[1])
	if size < icmpLeast[th[0]] {
		l.incomplete(size)
		return
	}
	switch th[0] {
	case 0, 8:
		l.printf("ID=%d SEQ=%d ", be16(th[4:]), be16(th[6:]))
	case 12:
		l.printf("PARAMETER=%d ", th[4])
	case 5:
		l.printf("GATEWAY=%s ", netip.AddrFrom4([4]byte(th[4:])))
		fallthrough
	case 3, 4, 11:
		if !quoted {
			l.printf("[")
			l.ipv4(th[8:], size-8, true)
			l.printf("] ")
		}
		if th[0] == 3 && th[1] == 4 {
			l.printf("MTU=%d ", be16(th[6:]))
		}
	}
}

func (l *line) icmpv6(th []byte, size int, quoted bool) {
	l.printf("TYPE=%d CODE=%d ", th[0], th[1])
	switch th[0] {
	case 128, 129:
		l.printf("ID=%d SEQ=%d ", be16(th[4:]), be16(th[6:]))
	case 4:
		l.printf("POINTER=%08x ", be32(th[4:]))
		fallthrough
	case 1, 2, 3:
		if !quoted {
			l.printf("[")
			l.ipv6(th[8:], size-8, true)
			l.printf("] ")
		}
		if th[0] == 2 {
			l.printf("MTU=%d ", be32(th[4:]))
		}
	}
}
