// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// key is a word of a filter: how its value is read into a field, and how the
// field is written. Text is empty for a field that is not given.
type key struct {
	name string
	set  func(f *Filter, value string) error
	text func(f *Filter) string
}

// keys are the words of filters, in the order that they are listed in.
var keys = []key{
	prefixKey("addr", func(f *Filter) *netip.Prefix { return &f.Prefix }),
	prefixKey("src", func(f *Filter) *netip.Prefix { return &f.OrigSrc }),
	prefixKey("dst", func(f *Filter) *netip.Prefix { return &f.OrigDst }),
	prefixKey("reply-src", func(f *Filter) *netip.Prefix { return &f.ReplySrc }),
	prefixKey("reply-dst", func(f *Filter) *netip.Prefix { return &f.ReplyDst }),
	portKey("port", func(f *Filter) *uint16 { return &f.Port }),
	portKey("sport", func(f *Filter) *uint16 { return &f.OrigSrcPort }),
	portKey("dport", func(f *Filter) *uint16 { return &f.OrigDstPort }),
	portKey("reply-port-src", func(f *Filter) *uint16 { return &f.ReplySrcPort }),
	portKey("reply-port-dst", func(f *Filter) *uint16 { return &f.ReplyDstPort }),
	{"proto", setProtocol, func(f *Filter) string { return f.Protocol }},
	{"family", setFamily, familyText},
	{"state", setState, func(f *Filter) string { return f.State }},
	{"status", setStatus, func(f *Filter) string { return f.Status.String() }},
	{"mark", setMark, markText},
	{"label", setLabel, labelText},
	zoneKey("zone", func(f *Filter) **uint16 { return &f.Zone }),
	zoneKey("orig-zone", func(f *Filter) **uint16 { return &f.OrigZone }),
	zoneKey("reply-zone", func(f *Filter) **uint16 { return &f.ReplyZone }),
	interfaceKey("interface", func(f *Filter) *string { return &f.Interface }),
	interfaceKey("in", func(f *Filter) *string { return &f.In }),
	interfaceKey("out", func(f *Filter) *string { return &f.Out }),
	{"nat", setNAT, func(f *Filter) string { return f.NAT.String() }},
}

// Set gives a filter what a word and its value say: addr, src, dst, reply-src,
// reply-dst, port, sport, dport, reply-port-src, reply-port-dst, proto, family,
// state, status, mark, label, zone, orig-zone, reply-zone, interface, in, out or
// nat. Errors say what would be accepted.
func (f *Filter) Set(name, value string) error {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return fmt.Errorf("%q: want %s", name, strings.Join(Keys(), ", "))
	}
	return keys[i].set(f, value)
}

// Values calls yield with the words of a filter and their values: those that
// [Filter.Set] makes the same filter of.
func (f *Filter) Values(yield func(name, value string)) {
	for _, k := range keys {
		if text := k.text(f); text != "" {
			yield(k.name, text)
		}
	}
}

// Keys are the words that [Filter.Set] knows.
func Keys() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

func prefixKey(name string, field func(*Filter) *netip.Prefix) key {
	return key{name, func(f *Filter, s string) (err error) {
		*field(f), err = parsePrefix(s)
		return err
	}, func(f *Filter) string {
		if p := *field(f); p.IsValid() {
			return p.String()
		}
		return ""
	}}
}

// parsePrefix reads an address or a prefix.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("address %q: want an address or a prefix, such as 192.168.1.7, 10.0.0.0/8 or fd00::/64", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func portKey(name string, field func(*Filter) *uint16) key {
	return key{name, func(f *Filter, s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%s %q: want a number from 1 to 65535", name, s)
		}
		*field(f) = uint16(n)
		return nil
	}, func(f *Filter) string { return numberText(uint64(*field(f))) }}
}

// numberText is empty for 0, which stands for none.
func numberText(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func zoneKey(name string, field func(*Filter) **uint16) key {
	return key{name, func(f *Filter, s string) error {
		n, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			return fmt.Errorf("%s %q: want a number of 16 bits", name, s)
		}
		zone := uint16(n)
		*field(f) = &zone
		return nil
	}, func(f *Filter) string {
		if z := *field(f); z != nil {
			return strconv.Itoa(int(*z))
		}
		return ""
	}}
}

func interfaceKey(name string, field func(*Filter) *string) key {
	return key{name, func(f *Filter, s string) error {
		if s == "" || len(s) > 15 || strings.ContainsAny(s, "/ ") {
			return fmt.Errorf("%s %q: want the name of an interface", name, s)
		}
		*field(f) = s
		return nil
	}, func(f *Filter) string { return *field(f) }}
}

func setProtocol(f *Filter, s string) error {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		f.Protocol = ProtocolName(uint8(n))
		return nil
	}
	for _, name := range protocolNames {
		if strings.EqualFold(name, s) {
			f.Protocol = name
			return nil
		}
	}
	return fmt.Errorf("proto %q: want a protocol, such as tcp, udp, icmp, icmpv6, gre, sctp or a number from 0 to 255", s)
}

func setFamily(f *Filter, s string) error {
	switch s {
	case "ipv4":
		f.Family = 4
	case "ipv6":
		f.Family = 6
	default:
		return fmt.Errorf("family %q: want ipv4 or ipv6", s)
	}
	return nil
}

func familyText(f *Filter) string {
	if f.Family == 0 {
		return ""
	}
	return fmt.Sprintf("ipv%d", f.Family)
}

func setState(f *Filter, s string) error {
	tcp, sctp := stateNames[protoTCP], stateNames[protoSCTP]
	for _, name := range slices.Concat(tcp, sctp) {
		if strings.EqualFold(name, s) {
			f.State = name
			return nil
		}
	}
	return fmt.Errorf("state %q: want one of TCP's, %s, or of SCTP's, %s", s, strings.Join(tcp, ", "), strings.Join(sctp, ", "))
}

func setMark(f *Filter, s string) error {
	value, mask, masked := strings.Cut(s, "/")
	n, err := strconv.ParseUint(value, 0, 32)
	m := uint64(0)
	if err == nil && masked {
		m, err = strconv.ParseUint(mask, 0, 32)
	}
	if err != nil || masked && m == 0 {
		return fmt.Errorf("mark %q: want a number of 32 bits, or a number and a mask, such as 0x10/0xf0", s)
	}
	mark := uint32(n)
	f.Mark, f.MarkMask = &mark, uint32(m)
	return nil
}

func markText(f *Filter) string {
	switch {
	case f.Mark == nil:
		return ""
	case f.MarkMask == 0:
		return strconv.FormatUint(uint64(*f.Mark), 10)
	}
	return fmt.Sprintf("%#x/%#x", *f.Mark, f.MarkMask)
}

func setLabel(f *Filter, s string) error {
	n, err := strconv.ParseUint(s, 10, 7)
	if err != nil {
		return fmt.Errorf("label %q: want the number of a bit, from 0 to 127", s)
	}
	bit := uint8(n)
	f.Label = &bit
	return nil
}

func labelText(f *Filter) string {
	if f.Label == nil {
		return ""
	}
	return strconv.Itoa(int(*f.Label))
}

var natNames = [...]string{NATSrc: "src", NATDst: "dst", NATAny: "any", NATNone: "none"}

// String is the filter's word for it.
func (n NAT) String() string { return natNames[n] }

func setNAT(f *Filter, s string) error {
	for n, name := range natNames {
		if s == name && s != "" {
			f.NAT = NAT(n)
			return nil
		}
	}
	return fmt.Errorf("nat %q: want src, dst, any or none", s)
}

// statusNames are in the order of the bits.
var statusNames = [...]string{"seen_reply", "unreplied", "assured", "confirmed", "half_open"}

// String lists the conditions.
func (s Status) String() string {
	var list []string
	for i, name := range statusNames {
		if s&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

func setStatus(f *Filter, s string) error {
	f.Status = 0
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(statusNames[:], strings.ToLower(name))
		if i < 0 {
			return fmt.Errorf("status %q: want some of %s", s, strings.Join(statusNames[:], ","))
		}
		f.Status |= 1 << i
	}
	return nil
}
