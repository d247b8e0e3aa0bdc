// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Conditions on any field of the headers that every packet has.

func init() {
	field := func(net, transport string, text func(r *Generator) string) {
		RegisterMatches(Fragment{Area: "header", Families: Everywhere, Net: net, Transport: transport, Text: func(r *Generator, _ *Scope) string { return text(r) }})
	}
	// number compares a field with values near those that packets have.
	number := func(name string, values ...int) func(r *Generator) string {
		return func(r *Generator) string {
			value := func() string { return fmt.Sprint(Pick(r.Rand, values)) }
			switch r.IntN(5) {
			case 0:
				return name + r.Pick(" < ", " > ", " <= ", " >= ") + value()
			case 1:
				return name + " " + r.Op() + "{ " + r.Elements(5, value) + " }"
			case 2:
				low, high := Pick(r.Rand, values), Pick(r.Rand, values)
				if low >= high {
					return name + " " + value()
				}
				return fmt.Sprintf("%s %s%d-%d", name, r.Op(), low, high)
			}
			return name + " " + r.Op() + value()
		}
	}
	field("4", "", number("ip length", 28, 40, 44, 48, 60, 100))
	field("4", "l4", number("ip protocol", 1, 6, 17, 253))
	field("4", "", number("ip hdrlength", 5, 6))
	// Of what has come in alone: stacks choose the one of what they send.
	field("4", "", number("iifgroup != 77 ip id", 0, 1, 255, 30001, 65535))
	field("4", "", func(r *Generator) string {
		return "ip frag-off & 0x4000 " + r.Pick("== ", "!= ") + r.Pick("0", "0x4000")
	})
	field("6", "", number("ip6 length", 8, 20, 24, 32, 60))
	field("6", "l4", number("ip6 nexthdr", 6, 17, 58, 253))
	field("6", "", number("ip6 flowlabel", 0, 1, 1000, 524288, 1048575))
	field("", "tcp", number("tcp window", 0, 32767, 32768))
	field("", "tcp", number("tcp doff", 4, 5, 6, 15))
	field("", "tcp", number("tcp ackseq", 0, 1, 2147483647))
	field("", "tcp", func(r *Generator) string {
		return "tcp flags " + r.Pick("syn", "syn,ack", "! syn", "== ack", "& (syn | ack) == syn", "{ syn, ack, rst | ack }")
	})
	field("", "udp", number("udp length", 8, 9, 15, 40))
	field("4", "icmp", number("icmp code", 0, 1, 3))
	field("4", "icmp", func(r *Generator) string {
		return "icmp type " + r.Op() + r.Pick("destination-unreachable", "time-exceeded", "{ echo-reply, redirect, parameter-problem }")
	})
	field("6", "icmp", number("icmpv6 code", 0, 1, 3))
	field("6", "icmp", func(r *Generator) string {
		return "icmpv6 type " + r.Op() + r.Pick("destination-unreachable", "time-exceeded", "{ packet-too-big, echo-reply }")
	})
	field("", "l4", number("meta l4proto", 1, 6, 17, 58, 253))
	field("", "", number("meta length", 40, 43, 44, 48, 60, 99, 100))
	field("4", "l4", func(r *Generator) string {
		return "@nh,72,8 " + r.Op() + r.Pick("6", "17", "253")
	})
	field("", "tcp", func(r *Generator) string {
		return fmt.Sprintf("meta l4proto tcp @th,%d,16 %s%d", r.IntN(2)*16, r.Op(), r.Port())
	})
	arriving := []string{"prerouting", "input", "output"}
	for net, name := range []string{"ip ttl", "ip6 hoplimit"} {
		text := number(name, 1, 2, 63, 64, 128, 255)
		RegisterMatches(Fragment{Area: "header", Net: []string{"4", "6"}[net], Hooks: arriving, Text: func(r *Generator, _ *Scope) string { return text(r) }})
	}
}
