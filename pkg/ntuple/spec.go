// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// flowTypes are the kernel's, by family and protocol.
var flowTypes = []struct {
	family int
	proto  uint8
	flow   uint32
}{
	{4, 6, ethioctl.TCPv4}, {4, 17, ethioctl.UDPv4}, {4, 132, ethioctl.SCTPv4},
	{6, 6, ethioctl.TCPv6}, {6, 17, ethioctl.UDPv6}, {6, 132, ethioctl.SCTPv6},
	{4, 0, ethioctl.IPv4}, {6, 0, ethioctl.IPv6},
}

// layout is where a flow type has its fields: struct ethtool_tcpip4_spec and others.
type layout struct{ addr, src, dst, sport, dport, version, proto int }

func layoutOf(family int) layout {
	if family == 6 {
		return layout{addr: 16, src: 0, dst: 16, sport: 32, dport: 34, proto: 37}
	}
	return layout{addr: 4, src: 0, dst: 4, sport: 8, dport: 10, version: 13, proto: 14}
}

// Spec is the rule as the kernel takes it, without a location.
func (r *Rule) Spec() (s ethioctl.Spec, err error) {
	flow := uint32(ethioctl.Ether)
	for _, t := range flowTypes {
		if t.family == r.Family && (t.proto == r.Proto || t.proto == 0 && !HasPorts(r.Proto)) {
			flow = t.flow
			break
		}
	}
	at, header, mask := layoutOf(r.Family), s.Header(), s.Mask()
	put := func(offset int, value, bits []byte) {
		copy(header[offset:], value)
		copy(mask[offset:], bits)
	}
	for offset, p := range map[int]netip.Prefix{at.src: r.Src, at.dst: r.Dst} {
		if p.IsValid() {
			put(offset, p.Addr().AsSlice(), maskBytes(p))
		}
	}
	for offset, port := range map[int]uint16{at.sport: r.SrcPort, at.dport: r.DstPort} {
		if port != 0 {
			put(offset, binary.BigEndian.AppendUint16(nil, port), []byte{0xff, 0xff})
		}
	}
	switch {
	case flow == ethioctl.IPv4:
		header[at.version] = 1 // ETH_RX_NFC_IP4
		fallthrough
	case flow == ethioctl.IPv6:
		if r.Proto != 0 {
			put(at.proto, []byte{r.Proto}, []byte{0xff})
		}
	case flow == ethioctl.Ether && (r.Proto != 0 || !r.Tagged):
		return s, fmt.Errorf("rule %q: the kernel has no such kind of rule", r.String())
	}
	if r.Tagged {
		flow |= ethioctl.FlowExt
		binary.BigEndian.PutUint16(s.Ext()[ethioctl.VLANTag:], r.VLAN)
		binary.BigEndian.PutUint16(s.ExtMask()[ethioctl.VLANTag:], 0x0fff)
	}
	s.SetType(flow)
	switch r.Action {
	case Drop:
		s.SetCookie(ethioctl.Drop)
	case ToQueue:
		s.SetCookie(uint64(r.Queue))
	default:
		return s, fmt.Errorf("rule %q: a NIC knows no such action", r.String())
	}
	return s, nil
}

func maskBytes(p netip.Prefix) []byte {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

// FromSpec is the rule that the kernel has, if it is one that a [Rule] can be: a
// rule that comes to the same.
func FromSpec(s ethioctl.Spec) (r Rule, ok bool) {
	flow := s.Type() &^ ethioctl.FlowExt
	for _, t := range flowTypes {
		if t.flow == flow {
			r.Family, r.Proto = t.family, t.proto
		}
	}
	at, header, mask := layoutOf(r.Family), s.Header(), s.Mask()
	if r.Family != 0 {
		r.Src = prefixAt(header[at.src:], mask[at.src:at.src+at.addr])
		r.Dst = prefixAt(header[at.dst:], mask[at.dst:at.dst+at.addr])
		if HasPorts(r.Proto) {
			r.SrcPort = binary.BigEndian.Uint16(header[at.sport:])
			r.DstPort = binary.BigEndian.Uint16(header[at.dport:])
		} else {
			r.Proto = header[at.proto]
		}
	}
	if s.Type()&ethioctl.FlowExt != 0 {
		r.VLAN, r.Tagged = binary.BigEndian.Uint16(s.Ext()[ethioctl.VLANTag:]), true
	}
	r.Action = Drop
	if c := s.Cookie(); c != ethioctl.Drop {
		r.Action, r.Queue = ToQueue, uint32(c)
	}
	read, err := Parse(r.String())
	if err != nil {
		return r, false
	}
	again, err := read.Spec()
	again.SetLocation(s.Location())
	return r, err == nil && again == s
}

// prefixAt is the prefix of an address and a mask; the zero one if the mask is 0 or is
// none of a prefix.
func prefixAt(addr, mask []byte) netip.Prefix {
	bits := 0
	for bits < 8*len(mask) && mask[bits/8]&(0x80>>(bits%8)) != 0 {
		bits++
	}
	a, ok := netip.AddrFromSlice(addr[:len(mask)])
	if bits == 0 || !ok {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}

// rawWord is before the bytes of what no [Rule] can be.
const rawWord = "raw "

// SpecText is a rule of the kernel's as text, with its location in front.
func SpecText(s ethioctl.Spec) string {
	at := "@" + strconv.FormatUint(uint64(s.Location()), 10) + " "
	if r, ok := FromSpec(s); ok {
		return at + r.String()
	}
	return at + rawWord + hex.EncodeToString(s[:])
}

// ParseSpec reads what [SpecText] writes, or a rule without a location, which is
// false then.
func ParseSpec(text string) (s ethioctl.Spec, located bool, err error) {
	var location uint64
	rest, located := strings.CutPrefix(text, "@")
	if located {
		number, rule, _ := strings.Cut(rest, " ")
		if location, err = strconv.ParseUint(number, 10, 32); err != nil {
			return s, false, fmt.Errorf("rule %q: %w", text, err)
		}
		rest = rule
	}
	if raw, ok := strings.CutPrefix(rest, rawWord); ok {
		if n, err := hex.Decode(s[:], []byte(raw[:min(len(raw), 2*len(s))])); err != nil || n != len(s) {
			return s, false, fmt.Errorf("rule %q: no flow specification", text)
		}
		return s, located, nil
	}
	r, err := Parse(rest)
	if err == nil {
		s, err = r.Spec()
	}
	s.SetLocation(uint32(location))
	return s, located, err
}
