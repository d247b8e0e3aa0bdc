// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Conditions on the flow of a packet, besides its state.

func init() {
	flow := func(net, transport string, text func(r *Generator) string) {
		RegisterMatches(Fragment{Area: "conntrack", Net: net, Transport: transport, Text: func(r *Generator, _ *Scope) string { return text(r) }})
	}
	flow("", "", func(r *Generator) string { return "ct direction " + r.Op() + r.Pick("original", "reply") })
	flow("", "", func(r *Generator) string {
		return "ct status " + r.Pick("seen-reply", "assured", "confirmed", "snat", "dnat", "dying", "! seen-reply", "! assured", "snat,seen-reply", "assured,dnat")
	})
	flow("", "l4", func(r *Generator) string {
		return "ct protocol " + r.Op() + r.Pick("tcp", "udp", "icmp", "{ tcp, udp }")
	})
	flow("", "", func(r *Generator) string {
		return "ct state " + r.Pick("related", "invalid", "untracked", "{ established, untracked }", "new,related", "!= { new, invalid }")
	})
	flow("", "", func(r *Generator) string { return "ct helper " + r.Op() + r.Pick(`"ftp"`, `{ "ftp", "sip" }`) })
	flow("", "", func(r *Generator) string {
		return "ct " + r.Pick("", "original ", "reply ") + r.Pick("packets ", "packets != ", "packets > ", "packets < ") + fmt.Sprint(r.IntN(6))
	})
	flow("", "", func(r *Generator) string {
		return "ct " + r.Pick("", "original ", "reply ") + r.Pick("bytes ", "avgpkt ") + r.Pick("> ", "< ", ">= ") + fmt.Sprint(r.IntN(400))
	})
	flow("", "", func(r *Generator) string {
		// Before it is confirmed, the kernel's runs since the host has.
		return "ct status confirmed ct expiration " + r.Pick("< ", "> ", ">= ") + r.Pick("1s", "59m50s", "30m", "2h")
	})
	for _, net := range []string{"4", "6"} {
		word, prefix, one := "ip", (*Generator).prefix4, func(r *Generator) string { return r.IP4() }
		if net == "6" {
			word, prefix, one = "ip6", (*Generator).prefix6, func(r *Generator) string { return r.IP6() }
		}
		flow(net, "", func(r *Generator) string {
			return fmt.Sprintf("ct %s %s %s %s%s", r.Pick("original", "reply"), word, r.Pick("saddr", "daddr"), r.Op(), prefix(r))
		})
		flow(net, "", func(r *Generator) string {
			return fmt.Sprintf("ct %s %s %s { %s }", r.Pick("original", "reply"), word, r.Pick("saddr", "daddr"), r.Elements(6, func() string { return one(r) }))
		})
	}
	for _, transport := range []string{"tcp", "udp"} {
		flow("", transport, func(r *Generator) string {
			return fmt.Sprintf("meta l4proto %s ct original proto-%s %s%s", transport, r.Pick("dst", "dst", "src"), r.Op(), r.ports())
		})
	}
}
