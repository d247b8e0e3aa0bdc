// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/binary"
	"fmt"
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
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoESP    = 50
	protoICMPv6 = 58
	protoUDPL   = 136
)

// packetLine describes a packet in the words of the kernel's nf_log_syslog, as
// far as the event has it: link names come from name.
func packetLine(e *loader.Event, name func(index int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "IN=%s OUT=%s ", name(int(e.IIF)), name(int(e.OIF)))
	var fragment bool
	switch e.NFProto {
	case nfprotoIPv4:
		fragment = writeIPv4(&b, e.NH[:])
	case nfprotoIPv6:
		writeIPv6(&b, e.NH[:])
	}
	writeTransport(&b, e, fragment)
	if e.Mark != 0 {
		fmt.Fprintf(&b, "MARK=0x%x ", e.Mark)
	}
	return strings.TrimRight(b.String(), " ")
}

// writeIPv4 reports whether this is a later fragment, without ports.
func writeIPv4(b *strings.Builder, h []byte) bool {
	be := binary.BigEndian
	fmt.Fprintf(b, "SRC=%s DST=%s LEN=%d TOS=0x%02X PREC=0x%02X TTL=%d ID=%d ",
		netip.AddrFrom4([4]byte(h[12:16])), netip.AddrFrom4([4]byte(h[16:20])),
		be.Uint16(h[2:]), h[1]&0x1e, h[1]&0xe0, h[8], be.Uint16(h[4:]))
	off := be.Uint16(h[6:])
	for _, f := range []struct {
		bit  uint16
		name string
	}{{0x8000, "CE "}, {0x4000, "DF "}, {0x2000, "MF "}} {
		if off&f.bit != 0 {
			b.WriteString(f.name)
		}
	}
	if off&0x1fff != 0 {
		fmt.Fprintf(b, "FRAG:%d ", off&0x1fff)
		return true
	}
	return false
}

func writeIPv6(b *strings.Builder, h []byte) {
	be := binary.BigEndian
	word := be.Uint32(h)
	// The kernel counts the header in.
	fmt.Fprintf(b, "SRC=%s DST=%s LEN=%d TC=%d HOPLIMIT=%d FLOWLBL=%d ",
		netip.AddrFrom16([16]byte(h[8:24])), netip.AddrFrom16([16]byte(h[24:40])),
		int(be.Uint16(h[4:]))+40, word>>20&0xff, h[7], word&0xfffff)
}

func writeTransport(b *strings.Builder, e *loader.Event, fragment bool) {
	names := map[uint8]string{protoTCP: "TCP", protoUDP: "UDP", protoUDPL: "UDPLITE", protoICMP: "ICMP", protoICMPv6: "ICMPv6", protoESP: "ESP"}
	proto, ok := names[e.L4Proto]
	if !ok {
		proto = fmt.Sprint(e.L4Proto)
	}
	fmt.Fprintf(b, "PROTO=%s ", proto)
	if fragment {
		return
	}
	be := binary.BigEndian
	th := e.TH[:min(int(e.THLen), len(e.TH))]
	switch {
	case e.L4Proto == protoTCP && len(th) >= 20:
		fmt.Fprintf(b, "SPT=%d DPT=%d WINDOW=%d RES=0x%02x ", be.Uint16(th), be.Uint16(th[2:]), be.Uint16(th[14:]), th[12]<<2&0x3c)
		// In the kernel's order.
		for _, f := range []struct {
			bit  byte
			name string
		}{{0x80, "CWR"}, {0x40, "ECE"}, {0x20, "URG"}, {0x10, "ACK"}, {0x08, "PSH"}, {0x04, "RST"}, {0x02, "SYN"}, {0x01, "FIN"}} {
			if th[13]&f.bit != 0 {
				b.WriteString(f.name + " ")
			}
		}
		fmt.Fprintf(b, "URGP=%d ", be.Uint16(th[18:]))
	case (e.L4Proto == protoUDP || e.L4Proto == protoUDPL) && len(th) >= 8:
		fmt.Fprintf(b, "SPT=%d DPT=%d LEN=%d ", be.Uint16(th), be.Uint16(th[2:]), be.Uint16(th[4:]))
	case e.L4Proto == protoICMP && len(th) >= 8:
		fmt.Fprintf(b, "TYPE=%d CODE=%d ", th[0], th[1])
		if th[0] == 8 || th[0] == 0 {
			fmt.Fprintf(b, "ID=%d SEQ=%d ", be.Uint16(th[4:]), be.Uint16(th[6:]))
		}
	case e.L4Proto == protoICMPv6 && len(th) >= 8:
		fmt.Fprintf(b, "TYPE=%d CODE=%d ", th[0], th[1])
		if th[0] == 128 || th[0] == 129 {
			fmt.Fprintf(b, "ID=%d SEQ=%d ", be.Uint16(th[4:]), be.Uint16(th[6:]))
		}
	case e.L4Proto == protoESP && len(th) >= 4:
		fmt.Fprintf(b, "SPI=0x%x ", be.Uint32(th))
	case ok:
		fmt.Fprintf(b, "INCOMPLETE [%d bytes] ", len(th))
	}
}
