// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Marks of packets and flows, labels, zones, and packets that are not tracked.

func init() {
	one := func(net, transport string, text func(r *Generator) string) Fragment {
		return Fragment{Area: "marks", Net: net, Transport: transport, Text: func(r *Generator, s *Scope) string { return text(r) }}
	}
	words := func(list ...string) Fragment {
		return one("", "", func(r *Generator) string { return r.Pick(list...) })
	}
	RegisterMatches(
		one("", "", func(r *Generator) string {
			return "ct mark " + r.Pick("0", "1", "!= 1", "0x10-0x1f", "{ 1, 2, 0x11 }", "!= { 1, 2, 0x11 }", "and 0x10 == 0x10", "> 0xff")
		}),
		one("", "", func(r *Generator) string { return "ct label " + r.Op() + fmt.Sprint(r.IntN(3)*60) }),
		words("ct zone 0", "ct zone 1", "ct zone != 2", "ct original zone 1", "ct reply zone { 0, 2 }"),
		words("meta priority 0", "meta priority 1:2", "meta priority 0-2"),
	)
	RegisterStatements(
		one("", "", func(r *Generator) string {
			return "ct mark set " + r.Pick("0", "1", "0x11", "meta mark", "ct mark or 0x10", "ct mark and 0xff xor 0x1", "meta mark and 0xf")
		}),
		one("", "", func(r *Generator) string {
			return "meta mark set " + r.Pick("0", "1", "0x65", "0x100", "ct mark", "meta mark or 0x1", "ct mark and 0xff")
		}),
		one("", "", func(r *Generator) string { return "ct label set " + fmt.Sprint(r.IntN(3)*60) }),
		words("meta priority set 1:2", "meta priority set 0:1"),
		words("ct event set new", "meta nftrace set 1"),
	)
	udp := words("meta l4proto udp ct zone set 2")
	udp.Transport = "udp"
	for _, f := range []Fragment{words("notrack"), words("ct zone set 1"), udp} {
		f.Raw = true
		RegisterStatements(f)
	}
}

// directionZone is a rule that sets the zone of a direction of all packets of a
// protocol: of two flows whose answers have the same tuple in the same zone, one
// has to change its port, or is dropped where nothing translates. Connections of TCP have
// no other zone for answers: an answer can begin a connection then, whose windows l2d judges
// the one before by.
func (r *Generator) directionZone() string {
	return "meta l4proto " + r.Pick("tcp ct original zone set 1", "udp ct original zone set 1", "udp ct reply zone set 2",
		"{ icmp, icmpv6 } ct original zone set 1", "{ icmp, icmpv6 } ct reply zone set 2")
}
