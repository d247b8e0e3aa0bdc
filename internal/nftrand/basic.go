// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Conditions that need no more than the headers and the interfaces.

func init() {
	basic := func(f Fragment) {
		f.Area, f.Basic = "basic", true
		if f.Families == nil {
			f.Families = Everywhere
		}
		RegisterMatches(f)
	}
	addr := func(r *Generator) string { return r.Pick("saddr ", "daddr ") }
	for _, net := range []string{"4", "6"} {
		name, prefix, ip, max := "ip ", (*Generator).prefix4, func(r *Generator) string { return r.IP4() }, 40
		if net == "6" {
			name, prefix, ip, max = "ip6 ", (*Generator).prefix6, func(r *Generator) string { return r.IP6() }, 9
		}
		begin := func(r *Generator) string { return name + addr(r) + r.Op() }
		for _, text := range []func(r *Generator, s *Scope) string{
			func(r *Generator, s *Scope) string { return begin(r) + prefix(r) },
			func(r *Generator, s *Scope) string { return begin(r) + ip(r) },
			func(r *Generator, s *Scope) string {
				return begin(r) + "{ " + r.Elements(9, func() string { return prefix(r) }) + " }"
			},
			func(r *Generator, s *Scope) string {
				return begin(r) + "{ " + r.Elements(max, func() string { return ip(r) }) + " }"
			},
			func(r *Generator, s *Scope) string { return begin(r) + r.addressSet(s, net) },
		} {
			basic(Fragment{Net: net, Text: text})
		}
	}
	for _, transport := range []string{"tcp", "udp", "th"} {
		field := func(r *Generator) string {
			if transport == "th" {
				return "meta l4proto { tcp, udp } th " + r.Pick("dport ", "dport ", "sport ")
			}
			return transport + r.Pick(" dport ", " dport ", " sport ")
		}
		for _, text := range []func(r *Generator, s *Scope) string{
			func(r *Generator, s *Scope) string { return field(r) + r.Op() + r.ports() },
			func(r *Generator, s *Scope) string { return field(r) + r.Pick("< ", "> ", "<= ", ">= ") + "443" },
			func(r *Generator, s *Scope) string { return field(r) + r.Op() + r.portRange() },
			func(r *Generator, s *Scope) string { return field(r) + r.Op() + "{ " + r.Elements(12, r.ports) + " }" },
			func(r *Generator, s *Scope) string {
				return field(r) + r.Op() + "{ " + r.Elements(8, r.portRange) + " }"
			},
			func(r *Generator, s *Scope) string { return field(r) + r.Op() + r.portSet(s) },
		} {
			basic(Fragment{Transport: transport, Text: text})
		}
	}
	words := func(net, transport string, text func(r *Generator, s *Scope) string) {
		basic(Fragment{Net: net, Transport: transport, Text: text})
	}
	words("", "tcp", func(r *Generator, s *Scope) string {
		return "tcp flags & (" + r.Pick("fin | syn", "syn | rst", "fin | syn | rst | psh | ack | urg") + ") " + r.Pick("== ", "!= ") + r.Pick("syn", "fin", "0")
	})
	words("4", "icmp", func(r *Generator, s *Scope) string { return "icmp type " + r.Op() + "{ echo-request, echo-reply }" })
	words("6", "icmp", func(r *Generator, s *Scope) string { return "icmpv6 type " + r.Op() + "echo-request" })
	words("4", "", func(r *Generator, s *Scope) string { return "ip frag-off & 0x1fff != 0" })
	words("4", "", func(r *Generator, s *Scope) string { return "ip dscp " + r.Op() + fmt.Sprint(r.IntN(64)) })
	words("6", "", func(r *Generator, s *Scope) string { return "ip6 dscp " + r.Op() + "{ cs1, cs2, af11, ef }" })
	words("", "", func(r *Generator, s *Scope) string { return "iifname " + r.Op() + r.Quoted() })
	words("", "", func(r *Generator, s *Scope) string { return `iifname "` + r.Interface()[:2] + `*"` })
	words("", "", func(r *Generator, s *Scope) string { return "iif " + r.Op() + r.Quoted() })
	words("", "", func(r *Generator, s *Scope) string { return "iifname " + r.nameSet(s) })
	words("", "", func(r *Generator, s *Scope) string {
		return "meta mark " + r.Op() + r.Pick("1", "0x100-0x1ff", "{ 0, 1, 0xffffffff }", "0x101")
	})
	words("", "", func(r *Generator, s *Scope) string { return "meta mark and 0xff00 " + r.Pick("==", "!=") + " 0x100" })
	words("", "", func(r *Generator, s *Scope) string { return "meta mark " + r.markSet(s) })
	words("", "", func(r *Generator, s *Scope) string {
		return "meta length " + r.Pick("> 100", "< 256", "60-100", "!= 1500")
	})
	words("", "", func(r *Generator, s *Scope) string { return "meta pkttype " + r.Op() + "multicast" })
	words("4", "tcp", func(r *Generator, s *Scope) string {
		return "ip " + addr(r) + ". tcp dport " + r.Op() + "{ " + r.Elements(6, func() string { return r.IP4() + " . " + r.ports() }) + " }"
	})
	words("4", "th", func(r *Generator, s *Scope) string {
		return "meta l4proto { tcp, udp } ip saddr . ip daddr . th dport " + s.Set("concat4", func() string {
			return "type ipv4_addr . ipv4_addr . inet_service; elements = { " +
				r.Elements(40, func() string { return fmt.Sprintf("%s . %s . %d", r.IP4(), r.IP4(), r.Port()) }) + " }"
		})
	})
	words("6", "", func(r *Generator, s *Scope) string {
		return "ip6 saddr . iifname " + r.Op() + s.Set("concat6", func() string {
			return "type ipv6_addr . ifname; elements = { " + r.Elements(20, func() string { return r.IP6() + " . " + r.Quoted() }) + " }"
		})
	})
	words("4", "udp", func(r *Generator, s *Scope) string {
		return "ip saddr . udp dport " + r.Op() + "{ 10.0.0.0/8 . 1-300, 192.0.0.0-192.168.1.127 . 53 }"
	})
	routed := []string{"inet", "ip", "ip6"}
	basic(Fragment{Families: routed, Text: func(r *Generator, s *Scope) string {
		return "oifname " + r.Op() + `{ "` + r.Interface()[:2] + `*", ` + r.Quoted() + ` }`
	}})
	basic(Fragment{Families: routed, Weight: 2, Text: func(r *Generator, s *Scope) string {
		return "ct state " + r.Pick("new", "established,related", "{ new, invalid }", "! new", "!= established")
	}})
	basic(Fragment{Families: []string{"inet"}, Net: "4", Text: func(r *Generator, s *Scope) string { return "meta nfproto ipv4" }})
	basic(Fragment{Families: []string{"inet"}, Net: "6", Text: func(r *Generator, s *Scope) string { return "meta nfproto ipv6" }})
}
