// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A fieldText converts a field of a key from and to text. Keys are in the
// layout of the map.
type fieldText struct {
	// what an operator is told the field wants
	want  string
	parse func(s *Set, f keyField, text string) ([]byte, error)
	print func(s *Set, f keyField, key []byte) string
}

var addrText = fieldText{"an address", parseAddr, printAddr}

// The types that have a text of their own; the others are numbers.
var fieldTexts = map[string]fieldText{
	"ipv4_addr":    addrText,
	"ipv6_addr":    addrText,
	"ether_addr":   {"a MAC address such as 02:00:00:00:00:01", parseMAC, func(_ *Set, _ keyField, k []byte) string { return net.HardwareAddr(k).String() }},
	"ifname":       {"the name of an interface", parseInterface, printInterface},
	"iface_index":  {"the name of an interface", parseInterface, printInterface},
	"inet_proto":   symbols("a protocol", protocols),
	"icmp_type":    symbols("an ICMP type", icmpTypes),
	"icmpv6_type":  symbols("an ICMPv6 type", icmpv6Types),
	"pkt_type":     symbols("a packet type", packetTypes),
	"nf_proto":     symbols("a family", nfProtos),
	"ct_dir":       symbols("a direction", ctDirections),
	"day":          symbols("a day", days),
	"boolean":      symbols("a truth value", booleans),
	"ct_state":     symbols("a state", ctStateNames),
	"fib_addrtype": symbols("a type of addresses", addressTypes),
	"string":       {"a string", parseString, printString},
	"ll_addr":      hexText,
	"ct_label":     hexText,
	"opaque":       hexText,
}

var number = fieldText{"a number", parseNumber, printNumber}

func textOf(f keyField) fieldText {
	if t, ok := fieldTexts[f.Type]; ok {
		return t
	}
	t := number
	switch {
	case f.Type == "inet_service":
		t.want = "a port number from 0 to 65535"
	case f.len <= 8:
		t.want = fmt.Sprintf("a number from 0 to %d", ones(f.len))
	}
	return t
}

func parseAddr(_ *Set, f keyField, text string) ([]byte, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return nil, errors.New("not an address")
	}
	if b := a.AsSlice(); len(b) == f.len {
		return b, nil
	}
	if f.len == net.IPv4len {
		return nil, errors.New("not an IPv4 address")
	}
	return nil, errors.New("not an IPv6 address")
}

func printAddr(_ *Set, _ keyField, key []byte) string {
	a, _ := netip.AddrFromSlice(key)
	return a.String()
}

func parseMAC(_ *Set, f keyField, text string) ([]byte, error) {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != f.len {
		return nil, errors.New("not a MAC address")
	}
	return mac, nil
}

func parseInterface(s *Set, _ keyField, text string) ([]byte, error) {
	name := strings.Trim(text, `"`)
	index, ok := s.links[name]
	if !ok {
		return nil, errors.New("no interface of that name")
	}
	return ifindexBytes(index), nil
}

func printInterface(s *Set, _ keyField, key []byte) string {
	index := int(binary.NativeEndian.Uint32(key))
	for name, i := range s.links {
		if i == index {
			return strconv.Quote(name)
		}
	}
	return strconv.Itoa(index)
}

// hexText is the text of bytes that have no meaning here.
var hexText = fieldText{"bytes in hexadecimal, behind 0x", parseHex, func(_ *Set, _ keyField, k []byte) string { return fmt.Sprintf("0x%x", k) }}

func parseHex(_ *Set, f keyField, text string) ([]byte, error) {
	digits, ok := strings.CutPrefix(text, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != f.len {
		return nil, fmt.Errorf("not %d bytes in hexadecimal", f.len)
	}
	return b, nil
}

func parseString(_ *Set, f keyField, text string) ([]byte, error) {
	text = strings.Trim(text, `"`)
	if len(text) > f.len {
		return nil, errors.New("too long")
	}
	b := make([]byte, f.len)
	copy(b, text)
	return b, nil
}

func printString(_ *Set, _ keyField, key []byte) string {
	return strconv.Quote(strings.TrimRight(string(key), "\x00"))
}

func parseNumber(_ *Set, f keyField, text string) ([]byte, error) {
	if f.len > 8 {
		return nil, fmt.Errorf("a value of type %s cannot be given as text", f.Type)
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return nil, errors.New("not a number")
	}
	if v > ones(f.len) {
		return nil, errors.New("too large")
	}
	b := binary.BigEndian.AppendUint64(nil, v)[8-f.len:]
	if f.hostOrder {
		slices.Reverse(b)
	}
	return b, nil
}

func printNumber(_ *Set, f keyField, key []byte) string {
	if f.len > 8 {
		return fmt.Sprintf("0x%x", key)
	}
	o := bigEndian
	if f.hostOrder {
		o = littleEndian
	}
	v := o.toNumber(key)
	if f.Type == "mark" {
		return fmt.Sprintf("0x%08x", v)
	}
	return strconv.FormatUint(v, 10)
}

// symbols makes a text of names for bytes; numbers are taken as well.
func symbols(want string, names map[string]byte) fieldText {
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	return fieldText{
		want: fmt.Sprintf("%s: %s, or a number from 0 to %d", want, strings.Join(all, ", "), math.MaxUint8),
		parse: func(s *Set, f keyField, text string) ([]byte, error) {
			if v, ok := names[text]; ok {
				text = strconv.Itoa(int(v))
			}
			return parseNumber(s, f, text)
		},
		print: func(s *Set, f keyField, key []byte) string {
			text := printNumber(s, f, key)
			for _, name := range all {
				if strconv.Itoa(int(names[name])) == text {
					return name
				}
			}
			return text
		},
	}
}

// Names as nft prints them.
var (
	protocols = map[string]byte{
		"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58,
		"comp": 108, "sctp": 132, "udplite": 136,
	}
	icmpTypes = map[string]byte{
		"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
		"router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
		"timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16,
		"address-mask-request": 17, "address-mask-reply": 18,
	}
	icmpv6Types = map[string]byte{
		"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
		"echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
		"mld-listener-done": 132, "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135,
		"nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138,
		"ind-neighbor-solicit": 141, "ind-neighbor-advert": 142, "mld2-listener-report": 143,
	}
	packetTypes = map[string]byte{"host": 0, "broadcast": 1, "multicast": 2, "other": 3}
	nfProtos    = map[string]byte{"ipv4": 2, "ipv6": 10}

	ctDirections = map[string]byte{"original": 0, "reply": 1}
	ctStateNames = map[string]byte{"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
	booleans     = map[string]byte{"missing": 0, "exists": 1}
	days         = map[string]byte{
		"Sunday": 0, "Monday": 1, "Tuesday": 2, "Wednesday": 3, "Thursday": 4, "Friday": 5, "Saturday": 6,
	}
	addressTypes = map[string]byte{
		"unspec": 0, "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6,
		"unreachable": 7, "prohibit": 8,
	}
)
