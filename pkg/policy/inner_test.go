// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	link "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

const (
	innerAll  = nft.InnerHeaderSize | nft.InnerLink | nft.InnerNetwork | nft.InnerTransport
	protoGRE  = 47
	protoIPIP = 4
)

// innerTunnels are what nft makes of its words, which it has known from 1.0.7 on, and what it
// makes of none.
var innerTunnels = map[string]nft.ExprInner{
	"vxlan":  {Type: 1, Flags: innerAll, HeaderSize: 8},
	"geneve": {Type: nft.InnerGeneve, Flags: innerAll, HeaderSize: 8},
	"gre":    {Type: 3, Flags: nft.InnerNetwork | nft.InnerTransport, HeaderSize: 4},
	"gretap": {Type: 4, Flags: nft.InnerLink | nft.InnerNetwork | nft.InnerTransport, HeaderSize: 4},
	"header": {Type: 5, Flags: nft.InnerHeaderSize | nft.InnerNetwork, HeaderSize: 64},
	"bytes":  {Type: 6, Flags: nft.InnerHeaderSize | nft.InnerTransport, HeaderSize: 2},
	"none":   {Type: 7},
	// Geneve's options with bytes behind them.
	"options": {Type: nft.InnerGeneve, Flags: nft.InnerHeaderSize | nft.InnerTransport, HeaderSize: 1},
}

// innerFields are what can be loaded.
var innerFields = map[string]nft.Expr{
	"protocol":   &nft.ExprMeta{Key: nft.MetaProtocol, Reg: 1},
	"l4proto":    &nft.ExprMeta{Key: nft.MetaL4proto, Reg: 1},
	"vni":        &nft.ExprPayload{Base: nft.PayloadTunnel, Offset: 4, Len: 3, Reg: 1},
	"tunnel":     &nft.ExprPayload{Base: nft.PayloadTunnel, Len: 4, Reg: 1},
	"ether":      &nft.ExprPayload{Base: nft.PayloadLink, Offset: 6, Len: 6, Reg: 1},
	"vlan":       &nft.ExprPayload{Base: nft.PayloadLink, Offset: 14, Len: 2, Reg: 1},
	"saddr":      &nft.ExprPayload{Base: nft.PayloadNetwork, Offset: 12, Len: 4, Reg: 1},
	"saddr6":     &nft.ExprPayload{Base: nft.PayloadNetwork, Offset: 8, Len: 16, Reg: 1},
	"dport":      &nft.ExprPayload{Base: nft.PayloadTransport, Offset: 2, Len: 2, Reg: 1},
	"data":       &nft.ExprPayload{Base: nft.PayloadTransport, Offset: 8, Len: 9, Reg: 1},
	"last bytes": &nft.ExprPayload{Base: nft.PayloadTransport, Offset: 255, Len: 64, Reg: 1},
}

// A packet inside of a tunnel: of UDP to port 80, with 9 bytes of data, the addresses and what is
// loaded of it.
const (
	insidePort  = "0050"
	insideAddr  = "c6336407"
	insideAddr6 = "20010db8000000000000000000000007"
	insideMAC   = "020000000b02"
	insideData  = "696e7369646520697420"
)

func bytesOf(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func joined(parts ...[]byte) []byte { return slices.Concat(parts...) }

func insideUDP() []byte { return joined(udp(7, 80), bytesOf(insideData)[:9]) }

// inside4 is an IPv4 packet of a protocol, with options, and with bits of the field of fragments.
func inside4(proto byte, fragment uint16, options, data []byte) []byte {
	h := joined([]byte{0x45 + byte(len(options)/4), 0, 0, 0, 0, 0, byte(fragment >> 8), byte(fragment), 64, proto, 0, 0}, bytesOf(insideAddr), []byte{10, 0, 0, 9}, options)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(data)))
	return joined(h, data)
}

// inside6 is an IPv6 packet with what follows its header.
func inside6(next byte, data []byte) []byte {
	h := joined([]byte{0x60, 0, 0, 0, byte(len(data) >> 8), byte(len(data)), next, 64}, bytesOf(insideAddr6), bytesOf(insideAddr6))
	return joined(h, data)
}

// ether is a frame of a type.
func ether(typ uint16, data []byte) []byte {
	return joined([]byte{2, 0, 0, 0, 0xa, 1}, bytesOf(insideMAC), []byte{byte(typ >> 8), byte(typ)}, data)
}

// taggedFrame is a frame of a VLAN.
func taggedFrame(id, typ uint16, data []byte) []byte {
	return ether(0x8100, joined([]byte{byte(id >> 8), byte(id), byte(typ >> 8), byte(typ)}, data))
}

func vxlan(frame []byte) []byte {
	return joined(udp(1234, 4789), []byte{8, 0, 0, 0, 0, 0, 5, 0}, frame)
}

// geneve is a tunnel's packet with options of so many words.
func geneve(words byte, frame []byte) []byte {
	return joined(udp(1234, 6081), []byte{words, 0, 0x65, 0x58, 0, 0, 6, 0}, make([]byte, 4*int(words)), frame)
}

// gre is a packet of GRE with flags, and what they say is behind its header.
func gre(flags, version byte, optional int, data []byte) []byte {
	return joined([]byte{flags, version, 8, 0}, make([]byte, optional), data)
}

// innerPackets are packets, each with what there is to be loaded, by tunnel and field: no
// value, nothing is there.
var innerPackets = []struct {
	name    string
	proto   byte
	data    []byte // of the outer packet
	v6      bool   // the outer one
	later   bool   // the outer one is a later fragment
	options []byte // of the outer one
	beyond  bool   // there is a header beyond its end, which older kernels do not mind
	want    map[string]string
}{
	{name: "vxlan", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{
		"vxlan protocol": "0800", "vxlan l4proto": "11", "vxlan vni": "000005", "vxlan tunnel": "08000000", "vxlan ether": insideMAC, "vxlan saddr": insideAddr, "vxlan dport": insidePort,
		"vxlan data": insideData[:18], "vxlan last bytes": "", "vxlan vlan": "4500", "gre protocol": "", "gretap l4proto": "", "none protocol": "0000", "none l4proto": "", "none saddr": "", "none vni": "",
		"bytes tunnel": "08000000", "bytes dport": "0000", "bytes l4proto": "00", "bytes saddr": "", "header vni": ""}},
	{name: "vxlan over IPv6", proto: protoUDP, v6: true, data: vxlan(ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{"vxlan protocol": "0800", "vxlan vni": "000005", "vxlan dport": insidePort}},
	{name: "vxlan behind options", proto: protoUDP, options: []byte{1, 1, 1, 0}, data: vxlan(ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{"vxlan saddr": insideAddr, "vxlan dport": insidePort}},
	{name: "vxlan, a later fragment", proto: protoUDP, later: true, data: vxlan(ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{"vxlan vni": "", "vxlan saddr": "", "none protocol": ""}},
	{name: "vxlan by TCP", proto: protoTCP, data: joined(tcp(1, 4789, 16), vxlan(ether(0x800, inside4(17, 0, nil, insideUDP())))[8:]), want: map[string]string{"vxlan vni": "", "vxlan protocol": "", "none protocol": "0000", "bytes dport": ""}},
	{name: "of ICMP", proto: protoICMP, data: joined(icmp(8), inside4(17, 0, nil, insideUDP())), want: map[string]string{"gre saddr": "", "none protocol": ""}},
	{name: "IPv6 inside", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(17, insideUDP()))), want: map[string]string{
		"vxlan protocol": "86dd", "vxlan l4proto": "11", "vxlan saddr6": insideAddr6, "vxlan dport": insidePort, "vxlan data": insideData[:18]}},
	{name: "extension headers inside", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(0, joined([]byte{43, 1}, make([]byte, 14), []byte{60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0}, insideUDP())))), want: map[string]string{
		"vxlan l4proto": "11", "vxlan dport": insidePort, "vxlan data": insideData[:18]}},
	{name: "extension header cut off", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(0, []byte{17}))), want: map[string]string{"vxlan protocol": "", "vxlan saddr6": "", "vxlan vni": ""}},
	{name: "extension header beyond the end", proto: protoUDP, beyond: true, data: vxlan(ether(0x86dd, inside6(0, []byte{17, 0, 0, 0, 0, 0, 0}))), want: map[string]string{"vxlan protocol": "", "vxlan vni": ""}},
	{name: "extension header up to the end", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(0, []byte{17, 0, 0, 0, 0, 0, 0, 0}))), want: map[string]string{"vxlan protocol": "86dd", "vxlan l4proto": "11", "vxlan dport": ""}},
	{name: "two extension headers, the last beyond the end", proto: protoUDP, beyond: true, data: vxlan(ether(0x86dd, inside6(0, []byte{60, 0, 0, 0, 0, 0, 0, 0, 59, 9}))), want: map[string]string{"vxlan protocol": "", "vxlan saddr6": ""}},
	{name: "fragment header beyond the end", proto: protoUDP, beyond: true, data: vxlan(ether(0x86dd, inside6(44, []byte{17, 0, 0, 1, 0, 0, 0}))), want: map[string]string{"vxlan protocol": "", "vxlan saddr6": ""}},
	{name: "a later fragment's header beyond the end", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, []byte{17, 0, 0, 9}))), want: map[string]string{"vxlan protocol": "86dd", "vxlan l4proto": ""}},
	{name: "authentication header beyond the end", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(51, []byte{17, 4}))), want: map[string]string{"vxlan protocol": "86dd", "vxlan l4proto": "33"}},
	{name: "IPv4 options beyond the end", proto: protoUDP, data: vxlan(ether(0x800, joined([]byte{0x4f}, inside4(17, 0, nil, insideUDP())[1:]))), want: map[string]string{"vxlan protocol": "0800", "vxlan l4proto": "11", "vxlan dport": ""}},
	{name: "routing header cut off", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(43, []byte{17, 0, 0}))), want: map[string]string{"vxlan saddr6": ""}},
	{name: "routing header beyond the end", proto: protoUDP, beyond: true, data: vxlan(ether(0x86dd, inside6(43, []byte{17, 0, 0, 0}))), want: map[string]string{"vxlan saddr6": "", "vxlan l4proto": ""}},
	{name: "authentication header inside", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(51, joined([]byte{17, 4}, make([]byte, 22), insideUDP())))), want: map[string]string{"vxlan l4proto": "33", "vxlan dport": "0000"}},
	{name: "authentication header cut off", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(51, []byte{17}))), want: map[string]string{"vxlan protocol": ""}},
	{name: "no next header inside", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(59, nil))), want: map[string]string{"vxlan l4proto": "3b", "vxlan dport": ""}},
	{name: "IPv6 fragment inside, the first", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, joined([]byte{17, 0, 0, 1, 0, 0, 0, 1}, insideUDP())))), want: map[string]string{"vxlan l4proto": "11", "vxlan dport": insidePort}},
	{name: "IPv6 fragment inside, a later", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, joined([]byte{17, 0, 0, 9, 0, 0, 0, 1}, insideUDP())))), want: map[string]string{
		"vxlan protocol": "86dd", "vxlan saddr6": insideAddr6, "vxlan l4proto": "", "vxlan dport": ""}},
	{name: "IPv6 fragment inside, a later, of a header", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, joined([]byte{60, 0, 0, 9, 0, 0, 0, 1}, insideUDP())))), want: map[string]string{"vxlan protocol": "", "vxlan saddr6": ""}},
	{name: "IPv6 fragment inside, a later, of nothing", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, joined([]byte{59, 0, 0, 9, 0, 0, 0, 1}, insideUDP())))), want: map[string]string{"vxlan protocol": "86dd", "vxlan l4proto": ""}},
	{name: "fragment header cut off", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(44, []byte{17, 0, 0}))), want: map[string]string{"vxlan protocol": ""}},
	{name: "IPv4 fragment inside, the first", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0x2000, nil, insideUDP()))), want: map[string]string{"vxlan l4proto": "11", "vxlan dport": insidePort}},
	{name: "IPv4 fragment inside, a later", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0x2001, nil, insideUDP()))), want: map[string]string{"vxlan protocol": "0800", "vxlan saddr": insideAddr, "vxlan l4proto": "", "vxlan dport": ""}},
	{name: "IPv4 options inside", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0, []byte{7, 7, 4, 0, 0, 0, 0, 0}, insideUDP()))), want: map[string]string{"vxlan dport": insidePort}},
	{name: "a VLAN inside", proto: protoUDP, data: vxlan(taggedFrame(0x4007, 0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{
		"vxlan protocol": "8100", "vxlan vlan": "4007", "vxlan saddr": insideAddr, "vxlan l4proto": "11", "vxlan dport": insidePort}},
	{name: "a VLAN inside, of IPv6", proto: protoUDP, data: vxlan(taggedFrame(7, 0x86dd, inside6(17, insideUDP()))), want: map[string]string{"vxlan protocol": "8100", "vxlan saddr6": insideAddr6, "vxlan dport": insidePort}},
	{name: "two VLANs inside", proto: protoUDP, data: vxlan(taggedFrame(7, 0x8100, inside4(17, 0, nil, insideUDP()))), want: map[string]string{"vxlan protocol": "", "vxlan vlan": ""}},
	{name: "a VLAN cut off", proto: protoUDP, data: vxlan(taggedFrame(7, 0x800, nil)[:17]), want: map[string]string{"vxlan vlan": "", "vxlan vni": ""}},
	{name: "a service VLAN inside", proto: protoUDP, data: vxlan(ether(0x88a8, inside4(17, 0, nil, insideUDP()))), want: map[string]string{"vxlan protocol": "", "vxlan ether": ""}},
	{name: "ARP inside", proto: protoUDP, data: vxlan(ether(0x806, make([]byte, 40))), want: map[string]string{"vxlan protocol": "", "vxlan ether": "", "vxlan vni": ""}},
	{name: "version of another protocol", proto: protoUDP, data: vxlan(ether(0x800, inside6(17, insideUDP()))), want: map[string]string{"vxlan protocol": "", "vxlan ether": ""}},
	{name: "version of another protocol, of a header's length", proto: protoUDP, data: vxlan(ether(0x800, joined([]byte{0x65}, inside6(17, insideUDP())[1:]))), want: map[string]string{"vxlan protocol": "", "vxlan ether": ""}},
	{name: "version of another protocol, IPv4", proto: protoUDP, data: vxlan(ether(0x86dd, inside4(17, 0, nil, joined(insideUDP(), insideUDP())))), want: map[string]string{"vxlan protocol": ""}},
	{name: "short header length", proto: protoUDP, data: vxlan(ether(0x800, joined([]byte{0x44}, inside4(17, 0, nil, insideUDP())[1:]))), want: map[string]string{"vxlan protocol": ""}},
	{name: "IPv4 header cut off", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0, nil, nil)[:19])), want: map[string]string{"vxlan protocol": "", "vxlan vni": "", "bytes tunnel": "08000000"}},
	{name: "IPv6 header cut off", proto: protoUDP, data: vxlan(ether(0x86dd, inside6(17, nil)[:39])), want: map[string]string{"vxlan protocol": ""}},
	{name: "transport header cut off", proto: protoUDP, data: vxlan(ether(0x800, inside4(17, 0, nil, udp(7, 80)[:3]))), want: map[string]string{"vxlan l4proto": "11", "vxlan saddr": insideAddr, "vxlan dport": ""}},
	{name: "frame cut off", proto: protoUDP, data: vxlan(ether(0x800, nil)[:13]), want: map[string]string{"vxlan ether": "", "vxlan vni": ""}},
	{name: "tunnel header cut off", proto: protoUDP, data: vxlan(nil)[:14], want: map[string]string{"vxlan vni": "", "bytes tunnel": "08000000"}},
	{name: "nothing behind UDP", proto: protoUDP, data: udp(1, 4789), want: map[string]string{"bytes tunnel": "", "bytes l4proto": "00", "none protocol": "0000"}},
	{name: "geneve", proto: protoUDP, data: geneve(0, ether(0x800, inside4(6, 0, nil, tcp(7, 80, 2)))), want: map[string]string{"geneve vni": "000006", "geneve saddr": insideAddr, "geneve l4proto": "06", "geneve dport": insidePort, "options dport": "5800"}},
	{name: "geneve with options", proto: protoUDP, data: geneve(3, ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{
		"geneve vni": "000006", "geneve ether": insideMAC, "geneve saddr": insideAddr, "geneve dport": insidePort, "geneve data": insideData[:18], "vxlan saddr": "", "options l4proto": "00", "options tunnel": "03006558", "options dport": "0000"}},
	{name: "geneve with all options", proto: protoUDP, data: geneve(63, ether(0x86dd, inside6(17, insideUDP()))), want: map[string]string{"geneve saddr6": insideAddr6, "geneve dport": insidePort}},
	{name: "geneve of another version", proto: protoUDP, data: func() []byte {
		b := geneve(3, ether(0x800, inside4(17, 0, nil, insideUDP())))
		b[8] |= 0xc0
		return b
	}(), want: map[string]string{"geneve dport": insidePort}},
	{name: "geneve's options cut off", proto: protoUDP, data: geneve(3, nil)[:20], want: map[string]string{"geneve vni": ""}},
	{name: "geneve's header cut off", proto: protoUDP, data: geneve(0, nil)[:15], want: map[string]string{"geneve vni": "", "options l4proto": "", "options tunnel": ""}},
	{name: "gre", proto: protoGRE, data: gre(0, 0, 0, inside4(17, 0, nil, insideUDP())), want: map[string]string{
		"gre protocol": "0800", "gre l4proto": "11", "gre saddr": insideAddr, "gre dport": insidePort, "gre tunnel": "", "gre ether": "", "gretap saddr": "",
		"bytes tunnel": "00000800", "bytes vni": "450000", "header saddr": insideAddr, "header dport": insidePort, "header protocol": "0800", "vxlan saddr": ""}},
	{name: "gre of IPv6", proto: protoGRE, data: gre(0, 0, 0, inside6(17, insideUDP())), want: map[string]string{"gre protocol": "86dd", "gre l4proto": "11", "gre saddr6": insideAddr6, "gre dport": insidePort}},
	{name: "gre over IPv6", proto: protoGRE, v6: true, data: gre(0, 0, 0, inside6(17, insideUDP())), want: map[string]string{"gre protocol": "86dd", "gre dport": insidePort}},
	{name: "gre with checksum, key and sequence", proto: protoGRE, data: gre(0xb0, 0, 12, inside4(17, 0, nil, insideUDP())), want: map[string]string{"gre saddr": insideAddr, "gre dport": insidePort, "bytes tunnel": "b0000800"}},
	{name: "gre with a key", proto: protoGRE, data: gre(0x20, 0, 4, inside4(17, 0, nil, insideUDP())), want: map[string]string{"gre saddr": insideAddr, "gre dport": insidePort}},
	{name: "gre with routing", proto: protoGRE, data: gre(0x40, 0, 4, inside4(17, 0, nil, insideUDP())), want: map[string]string{"gre saddr": "", "bytes tunnel": ""}},
	{name: "gre of version 1", proto: protoGRE, data: gre(0x20, 1, 4, inside4(17, 0, nil, insideUDP())), want: map[string]string{"gre saddr": "", "bytes tunnel": ""}},
	{name: "gre of neither", proto: protoGRE, data: gre(0, 0, 0, []byte{0x50, 0, 0, 0, 0, 0, 0, 0}), want: map[string]string{"gre protocol": ""}},
	{name: "gre of nothing", proto: protoGRE, data: gre(0, 0, 0, nil), want: map[string]string{"gre protocol": "", "none protocol": "0000"}},
	{name: "gretap", proto: protoGRE, data: gre(0, 0, 0, ether(0x800, inside4(17, 0, nil, insideUDP()))), want: map[string]string{
		"gretap protocol": "0800", "gretap ether": insideMAC, "gretap saddr": insideAddr, "gretap dport": insidePort, "gre saddr": "", "vxlan ether": insideMAC, "vxlan dport": insidePort}},
	{name: "gretap of a VLAN, with a key", proto: protoGRE, data: gre(0x20, 0, 4, taggedFrame(9, 0x86dd, inside6(17, insideUDP()))), want: map[string]string{
		"gretap protocol": "8100", "gretap vlan": "0009", "gretap saddr6": insideAddr6, "gretap dport": insidePort}},
	{name: "IP in IP", proto: protoIPIP, data: inside4(17, 0, nil, insideUDP()), want: map[string]string{"gre saddr": insideAddr, "gre dport": insidePort, "vxlan saddr": ""}},
}

// innerPacket is what the dataplane has of a packet of the table.
func innerPacket(i int) packet {
	tt := innerPackets[i]
	pk := framed(tt.proto, tt.options, tt.data, 20)
	if tt.v6 {
		h := joined([]byte{0x60, 0, 0, 0, 0, byte(len(tt.data)), tt.proto, 64}, bytesOf(insideAddr6), bytesOf(insideAddr6))
		pk.src, pk.dst = "2001:db8::7", "2001:db8::7"
		pk.len = uint32(len(h) + len(tt.data))
		pk.frame = joined(pk.frame[:etherLen-2], []byte{0x86, 0xdd}, h, tt.data, make([]byte, 20))
	}
	if tt.later {
		pk.later = true
		pk.frame[etherLen+7] = 2
	}
	pk.th = tt.data[:min(len(tt.data), transportLen)]
	return pk
}

// innerRule is about one field inside of a tunnel: whether it is a value, or there, if that is empty.
func innerRule(tunnel, field, value string) []nft.Expr {
	e := innerTunnels[tunnel]
	e.Expr = innerFields[field]
	exprs := []nft.Expr{&e}
	if value != "" {
		exprs = append(exprs, &nft.ExprCmp{Op: nft.CmpEq, Reg: 1, Data: bytesOf(value)})
	}
	return exprs
}

// innerRuleset is one of base chains x0, x1, ..., of a rule each that counts.
func innerRuleset(rules [][]nft.Expr) *nft.Ruleset {
	table := &nft.Table{Family: nft.FamilyInet, Name: "t"}
	for i, exprs := range rules {
		chain := &nft.Chain{Table: table, Name: fmt.Sprintf("x%d", i), Base: &nft.Base{Type: "filter", Hook: nft.HookPrerouting, Priority: -300, Policy: nft.VerdictAccept}}
		chain.Rules = []*nft.Rule{{Chain: chain, Handle: 1, Exprs: append(slices.Clone(exprs), &nft.ExprCounter{}), Text: chain.Name}}
		table.Chains = append(table.Chains, chain)
	}
	return &nft.Ruleset{Tables: []*nft.Table{table}}
}

// innerHarness compiles such a ruleset; the function returned says which rules have matched a packet.
func innerHarness(t *testing.T, rs *nft.Ruleset) func(packet) []bool {
	t.Helper()
	p, err := Compile(rs, Options{Links: testLinks})
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, p)
	counters := make(map[string]uint32)
	for _, r := range p.Rules {
		if r.Handle != 0 {
			counters[r.Chain] = r.Index
		}
	}
	before := make([]uint64, len(counters))
	return func(pk packet) []bool {
		t.Helper()
		h.run("policy_prerouting_raw", &pk)
		matched := make([]bool, len(before))
		for i := range before {
			n, _ := h.counter(counters[fmt.Sprintf("x%d", i)])
			matched[i], before[i] = n != before[i], n
		}
		return matched
	}
}

// innerRules is a rule for each field of each tunnel, whether it is there, and for each value that
// the field ever has. Their names are "tunnel field value".
func innerRules() (names []string, rules [][]nft.Expr) {
	add := func(tunnel, field, value string) {
		name := tunnel + " " + field + " " + value
		if !slices.Contains(names, name) {
			names, rules = append(names, name), append(rules, innerRule(tunnel, field, value))
		}
	}
	for tunnel := range innerTunnels {
		for field := range innerFields {
			add(tunnel, field, "")
		}
		for _, tt := range innerPackets {
			for name, value := range tt.want {
				_, field, _ := strings.Cut(name, " ")
				add(tunnel, field, value)
			}
		}
	}
	return names, rules
}

// TestInner loads what is inside of tunnels, and does not load what is not there.
func TestInner(t *testing.T) {
	needRoot(t)
	names, rules := innerRules()
	matched := innerHarness(t, innerRuleset(rules))
	for i, tt := range innerPackets {
		got := matched(innerPacket(i))
		for name, value := range tt.want {
			if is := got[slices.Index(names, name+" "+value)]; is != (value != "") {
				t.Errorf("%s: %s is %q: matched %v", tt.name, name, value, is)
			}
		}
	}
}

// TestInnerKernel has the kernel's nftables look at the same packets, with all rules. A base chain
// has one: between two the kernel remembers where it has found headers, and may take another
// packet's for it.
func TestInnerKernel(t *testing.T) {
	inNetns(t)
	tun := openTun(t, "tun0")
	names, rules := innerRules()
	k := newKernelRules(t, rules)
	matched := innerHarness(t, innerRuleset(rules))
	matches := 0
	for i, tt := range innerPackets {
		pk := innerPacket(i)
		want := k.send(t, tun, pk.frame[etherLen:etherLen+int(pk.len)])
		if tt.beyond && want[slices.Index(names, "vxlan protocol ")] {
			t.Logf("an older kernel: %s", tt.name)
			continue
		}
		for j, got := range matched(pk) {
			if got {
				matches++
			}
			if got != want[j] {
				t.Errorf("%s: %s: matched %v, in the kernel %v", tt.name, names[j], got, want[j])
			}
		}
	}
	t.Logf("%d packets, %d rules, %d matches", len(innerPackets), len(rules), matches)
}

// openTun opens a TUN device of the thread's network namespace.
func openTun(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no TUN devices: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	l, err := link.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := link.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return fd
}

// kernelRules are rules in the kernel, in the form of innerRuleset, which nft need not know.
type kernelRules struct {
	conn   *netlink.Conn
	counts []uint64
	sent   uint64
}

const lastChain = "last" // counts every packet, behind all others

func newKernelRules(t *testing.T, rules [][]nft.Expr) *kernelRules {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetWriteBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	k := &kernelRules{conn: conn, counts: make([]uint64, len(rules))}
	msgs := []netlink.Message{nftMessage(t, unix.NFT_MSG_NEWTABLE, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, "t")
	})}
	for i, exprs := range append(slices.Clone(rules), nil) {
		name, priority := fmt.Sprintf("x%d", i), int32(-300)
		if i == len(rules) {
			name, priority = lastChain, -299
		}
		msgs = append(msgs, nftMessage(t, unix.NFT_MSG_NEWCHAIN, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.NFTA_CHAIN_TABLE, "t")
			ae.String(unix.NFTA_CHAIN_NAME, name)
			ae.String(unix.NFTA_CHAIN_TYPE, "filter")
			ae.Nested(unix.NFTA_CHAIN_HOOK, func(ae *netlink.AttributeEncoder) error {
				ae.ByteOrder = binary.BigEndian
				ae.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING)
				ae.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(priority))
				return nil
			})
		}), nftMessage(t, unix.NFT_MSG_NEWRULE, func(ae *netlink.AttributeEncoder) {
			ae.String(unix.NFTA_RULE_TABLE, "t")
			ae.String(unix.NFTA_RULE_CHAIN, name)
			ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(ae *netlink.AttributeEncoder) error {
				for _, e := range append(slices.Clone(exprs), &nft.ExprCounter{}) {
					ae.Nested(unix.NFTA_LIST_ELEM, encodeExpr(t, e))
				}
				return nil
			})
		}))
	}
	msgs[len(msgs)-1].Header.Flags |= netlink.Acknowledge
	head := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	edge := func(typ netlink.HeaderType) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request}, Data: head}
	}
	if _, err := conn.SendMessages(slices.Concat([]netlink.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, msgs, []netlink.Message{edge(unix.NFNL_MSG_BATCH_END)})); err != nil {
		t.Fatal(err)
	}
	// The last one asks for an answer, which an error of another comes before.
	if _, err := conn.Receive(); err != nil {
		t.Fatal(err)
	}
	return k
}

// send has the kernel receive a packet, and says which rules have matched it.
func (k *kernelRules) send(t *testing.T, tun int, ip []byte) []bool {
	t.Helper()
	ip = slices.Clone(ip)
	if ip[0]>>4 == 4 {
		sum := uint32(0)
		for i := 0; i < int(ip[0]&15)*4; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	}
	if _, err := unix.Write(tun, ip); err != nil {
		t.Fatal(err)
	}
	k.sent++
	deadline := time.Now().Add(20 * time.Second)
	for {
		counts := k.read(t)
		if counts[lastChain] < k.sent {
			if time.Now().After(deadline) {
				t.Fatalf("the kernel has not seen the packet % x", ip)
			}
			continue
		}
		matched := make([]bool, len(k.counts))
		for i := range k.counts {
			n := counts[fmt.Sprintf("x%d", i)]
			matched[i], k.counts[i] = n != k.counts[i], n
		}
		return matched
	}
}

// read reads the packets that each chain's rule has counted.
func (k *kernelRules) read(t *testing.T) map[string]uint64 {
	t.Helper()
	get := nftMessage(t, unix.NFT_MSG_GETRULE, func(ae *netlink.AttributeEncoder) { ae.String(unix.NFTA_RULE_TABLE, "t") })
	get.Header.Flags = netlink.Request | netlink.Dump
	replies, err := k.conn.Execute(get)
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]uint64)
	for _, m := range replies {
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			t.Fatal(err)
		}
		ad.ByteOrder = binary.BigEndian
		var chain string
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_RULE_CHAIN:
				chain = ad.String()
			case unix.NFTA_RULE_EXPRESSIONS:
				ad.Nested(func(ad *netlink.AttributeDecoder) error {
					for ad.Next() {
						ad.Nested(func(ad *netlink.AttributeDecoder) error { return readCounter(ad, func(n uint64) { counts[chain] = n }) })
					}
					return nil
				})
			}
		}
		if err := ad.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

// readCounter hands on the packets of an expression that counts them.
func readCounter(ad *netlink.AttributeDecoder, counted func(uint64)) error {
	var name string
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			name = ad.String()
		case unix.NFTA_EXPR_DATA:
			if name != "counter" {
				continue
			}
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == unix.NFTA_COUNTER_PACKETS {
						counted(ad.Uint64())
					}
				}
				return nil
			})
		}
	}
	return nil
}

// nftMessage is a message of a batch.
func nftMessage(t *testing.T, typ int, encode func(*netlink.AttributeEncoder)) netlink.Message {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	encode(ae)
	attrs, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	flags := netlink.Request | netlink.Create
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ), Flags: flags},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

// encodeExpr writes the expressions that these tests have.
func encodeExpr(t *testing.T, e nft.Expr) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.String(unix.NFTA_EXPR_NAME, e.ExprName())
		ae.Nested(unix.NFTA_EXPR_DATA, func(ae *netlink.AttributeEncoder) error {
			ae.ByteOrder = binary.BigEndian
			switch e := e.(type) {
			case *nft.ExprMeta:
				ae.Uint32(unix.NFTA_META_KEY, uint32(e.Key))
				ae.Uint32(unix.NFTA_META_DREG, uint32(e.Reg))
			case *nft.ExprPayload:
				ae.Uint32(unix.NFTA_PAYLOAD_BASE, uint32(e.Base))
				ae.Uint32(unix.NFTA_PAYLOAD_OFFSET, e.Offset)
				ae.Uint32(unix.NFTA_PAYLOAD_LEN, e.Len)
				ae.Uint32(unix.NFTA_PAYLOAD_DREG, uint32(e.Reg))
			case *nft.ExprCmp:
				ae.Uint32(unix.NFTA_CMP_SREG, uint32(e.Reg))
				ae.Uint32(unix.NFTA_CMP_OP, uint32(e.Op))
				ae.Nested(unix.NFTA_CMP_DATA, func(ae *netlink.AttributeEncoder) error {
					ae.Bytes(unix.NFTA_DATA_VALUE, e.Data)
					return nil
				})
			case *nft.ExprInner:
				// NFTA_INNER_*.
				ae.Uint32(1, 0)
				ae.Uint32(2, e.Type)
				ae.Uint32(3, uint32(e.Flags))
				ae.Uint32(4, e.HeaderSize)
				ae.Nested(5, encodeExpr(t, e.Expr))
			case *nft.ExprCounter:
			default:
				return fmt.Errorf("no code for %s", e.ExprName())
			}
			return nil
		})
		return nil
	}
}

// insideTunnels makes rules about what is behind a transport header (@ih) ones about the network
// header inside of a tunnel.
func insideTunnels(rs *nft.Ruleset) {
	for _, r := range rs.Rules() {
		for i, e := range r.Exprs {
			if load, ok := e.(*nft.ExprPayload); ok && load.Base == nft.PayloadInner {
				inside, outside := *load, innerTunnels["vxlan"]
				inside.Base = nft.PayloadNetwork
				outside.Expr = &inside
				r.Exprs[i] = &outside
			}
		}
	}
}
