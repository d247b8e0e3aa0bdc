// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"encoding/binary"
	"net/netip"
)

// Packet is what rules match of a frame. What it does not have is zero.
type Packet struct {
	Family           int
	Proto            uint8 // 0 of a fragment
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	VLAN             uint16
	Tagged           bool
}

// EtherTypes, and protocols that an IPv6 header may be followed by on the way to the
// transport header.
const (
	etherVLAN = 0x8100
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd

	hopByHop    = 0
	routing     = 43
	fragment    = 44
	destination = 60
)

// How many of these XDP goes past, and how far into the frame: bpf/lib/parse.h.
const (
	maxExtensions = 8
	maxOffset     = 0x1e0
)

// ReadFrame reads a frame with an Ethernet header as the rules at XDP do: bpf/lib/steer.h.
func ReadFrame(frame []byte) (p Packet) {
	if len(frame) < 14 {
		return p
	}
	proto, rest := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	if proto == etherVLAN {
		if len(rest) < 4 {
			return p
		}
		p.Tagged, p.VLAN = true, binary.BigEndian.Uint16(rest)&0xfff
		proto, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch proto {
	case etherIPv4:
		p.readIPv4(rest)
	case etherIPv6:
		p.readIPv6(rest)
	}
	return p
}

func (p *Packet) readIPv4(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&0xf < 5 {
		return
	}
	p.Family = 4
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return
	}
	p.Proto = b[9]
	p.readPorts(b, 4*int(b[0]&0xf))
}

func (p *Packet) readIPv6(b []byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return
	}
	p.Family = 6
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next, at, left := b[6], 40, int(binary.BigEndian.Uint16(b[4:]))
	most := maxOffset - 14
	if p.Tagged {
		most -= 4
	}
	for range maxExtensions {
		size := 8
		switch next {
		case hopByHop, routing, destination:
			if len(b) < at+2 {
				return
			}
			size *= int(b[at+1]) + 1
		case fragment:
			if len(b) < at+8 || binary.BigEndian.Uint16(b[at+2:])&0xfff9 != 0 {
				return
			}
		default:
			p.Proto = next
			p.readPorts(b, at)
			return
		}
		if size > left || at+size > most {
			return
		}
		next, at, left = b[at], at+size, left-size
	}
}

func (p *Packet) readPorts(b []byte, at int) {
	if HasPorts(p.Proto) && len(b) >= at+4 {
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	}
}

// Matches tells whether the rule matches the packet.
func (r *Rule) Matches(p *Packet) bool {
	in := func(prefix netip.Prefix, a netip.Addr) bool { return !prefix.IsValid() || prefix.Contains(a) }
	return (r.Family == 0 || r.Family == p.Family) && (r.Proto == 0 || r.Proto == p.Proto) &&
		in(r.Src, p.Src) && in(r.Dst, p.Dst) &&
		(r.SrcPort == 0 || r.SrcPort == p.SrcPort) && (r.DstPort == 0 || r.DstPort == p.DstPort) &&
		(!r.Tagged || p.Tagged && r.VLAN == p.VLAN)
}

// First is the rule that decides about the packet, nil if none matches.
func First(rules []Rule, p *Packet) *Rule {
	for i := range rules {
		if rules[i].Matches(p) {
			return &rules[i]
		}
	}
	return nil
}
