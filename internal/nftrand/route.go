// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "strings"

// Conditions on what the routing tables say.

func init() {
	route := func(area, net, hooks string, text func(r *Generator) string) {
		f := Fragment{Area: area, Net: net, Families: []string{"inet", "ip", "ip6"}, Text: func(r *Generator, s *Scope) string { return text(r) }}
		if hooks != "" {
			f.Hooks = strings.Fields(hooks)
		}
		RegisterMatches(f)
	}
	addr := func(r *Generator) string { return r.Pick("saddr", "daddr") }
	mark := func(r *Generator) string { return r.Pick("", "", " . mark") }
	types := func(r *Generator) string {
		return " type " + r.Op() + r.Pick("local", "broadcast", "multicast", "unicast", "{ local, unicast }", "{ blackhole, unreachable, prohibit }")
	}
	oif := func(r *Generator) string {
		return r.Pick(" oif missing", " oif exists", " oif "+r.Op()+r.Quoted(), " oifname "+r.Op()+r.Quoted(), ` oifname "`+r.Interface()[:2]+`*"`)
	}
	route("fib", "", "", func(r *Generator) string { return "fib " + addr(r) + mark(r) + types(r) })
	route("fib", "", "prerouting input forward", func(r *Generator) string { return "fib " + addr(r) + mark(r) + " . iif" + types(r) })
	route("fib", "", "forward output postrouting", func(r *Generator) string { return "fib " + addr(r) + mark(r) + " . oif" + types(r) })
	route("fib", "", "prerouting", func(r *Generator) string { return "fib " + addr(r) + mark(r) + oif(r) })
	// At input the kernel may have found a socket: see Differences of the rig.
	route("fib", "", "prerouting forward", func(r *Generator) string { return "fib " + addr(r) + mark(r) + " . iif" + oif(r) })

	route("rt", "4", "", func(r *Generator) string { return "rt ip nexthop " + r.Op() + r.IP4() })
	route("rt", "6", "", func(r *Generator) string { return "rt ip6 nexthop " + r.Op() + r.prefix6() })
	route("rt", "", "", func(r *Generator) string { return r.Pick("rt classid ", "meta rtclassid ") + r.Op() + r.Pick("0", "7") })
	route("rt", "", "", func(r *Generator) string { return "rt ipsec " + r.Pick("missing", "exists") })
	route("rt", "", "forward output postrouting", func(r *Generator) string { return "rt mtu " + r.Pick("1440", "1460", "< 1450", "1300-1440") })
}
