// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Conditions on what has to be loaded from the packet.

func init() {
	match := func(net, transport string, text func(r *Generator) string) {
		RegisterMatches(Fragment{
			Area: "payload", Net: net, Transport: transport,
			Text: func(r *Generator, _ *Scope) string { return text(r) },
		})
	}
	// few is a small number: packets have such.
	few := func(r *Generator) string { return fmt.Sprint(r.IntN(4)) }

	match("", "", func(r *Generator) string { return "@ll,96,16 " + r.Op() + r.Pick("0x0800", "0x86dd") })
	match("", "", func(r *Generator) string { return "@ll,0,48 " + r.Op() + fmt.Sprintf("0x024c3201%02x01", r.IntN(4)) })
	match("", "", func(r *Generator) string {
		// Neither checksums nor what fragments have of their own.
		return fmt.Sprintf("@nh,%d,8 %s%d", 8*r.IntN(2), r.Pick("== ", "!= ", "> "), r.IntN(100))
	})
	match("4", "", func(r *Generator) string {
		return fmt.Sprintf("@nh,%d,%d %s 0", 8*(12+r.IntN(13)), 8*(1+r.IntN(4)), r.Pick("==", "!="))
	})
	match("6", "", func(r *Generator) string {
		// An IPv4 packet has a checksum there.
		return fmt.Sprintf("ip6 version 6 @nh,%d,%d %s 0", 8*(8+r.IntN(33)), 8*(1+r.IntN(4)), r.Pick("==", "!="))
	})
	for _, transport := range []string{"tcp", "udp"} {
		match("", transport, func(r *Generator) string {
			return fmt.Sprintf("meta l4proto %s @th,%d,%d %s %s", transport, 8*(20+r.IntN(40)), 8*(1+r.IntN(16)), r.Pick("==", "!=", ">"), few(r))
		})
		match("", transport, func(r *Generator) string {
			return fmt.Sprintf("meta l4proto %s @ih,%d,%d %s %s", transport, 8*r.IntN(20), 8*(1+r.IntN(4)), r.Pick("==", "!=", ">"), few(r))
		})
	}

	match("", "tcp", func(r *Generator) string {
		return "tcp option " + r.Pick("maxseg", "window", "sack-perm", "sack", "timestamp", "mptcp", "fastopen", "nop", "eol", "99") + " " + r.Pick("exists", "missing")
	})
	match("", "tcp", func(r *Generator) string {
		return "tcp option maxseg size " + r.Op() + r.Pick("536", "1360", "1000-1400", "{ 0, 1460 }", "{ 1200-1359, 9000 }")
	})
	match("", "tcp", func(r *Generator) string { return "tcp option window count " + r.Op() + few(r) })
	match("", "tcp", func(r *Generator) string {
		return "tcp option " + r.Pick("sack0 left ", "sack1 left ", "sack1 right ", "timestamp tsval ") + r.Op() + few(r)
	})
	match("", "tcp", func(r *Generator) string {
		return fmt.Sprintf("tcp option @%s,%d,%d %s", r.Pick("2", "8", "34", "30"), 8*r.IntN(4), 8*(1+r.IntN(4)), few(r))
	})

	match("4", "", func(r *Generator) string {
		return "ip option " + r.Pick("rr", "ra", "lsrr", "ssrr") + " " + r.Pick("exists", "missing")
	})
	match("4", "", func(r *Generator) string {
		return "ip option " + r.Pick("rr ptr 4", "rr length > 3", "ra value 0", "rr addr 0")
	})
	match("4", "", func(r *Generator) string { return r.Pick("ip ttl ", "ip ttl != ", "ip ttl > ") + r.Pick("63", "64") })
	match("6", "", func(r *Generator) string { return "ip6 hoplimit " + r.Op() + r.Pick("63", "64") })

	// Fragment headers are only there where nothing reassembles.
	match("6", "", func(r *Generator) string {
		return "exthdr " + r.Pick("hbh", "rt", "dst", "mh") + " " + r.Pick("exists", "missing")
	})
	match("6", "", func(r *Generator) string {
		return r.Pick("hbh", "dst", "rt") + " " + r.Pick("hdrlength ", "nexthdr ") + r.Op() + r.Pick("0", "1", "2", "6", "17", "60")
	})
	match("6", "", func(r *Generator) string {
		return r.Pick("rt type ", "rt seg-left ", "srh tag ", "mh type ", "mh checksum ") + r.Op() + few(r)
	})
	match("6", "", func(r *Generator) string { return "rt0 addr[1] " + r.Op() + r.IP6() })

	other := func(transport string, text func(r *Generator) string) { match("", transport, text) }
	other("sctp", func(r *Generator) string {
		return "sctp " + r.Pick("sport ", "dport ") + r.Pick("", "!= ", "> ") + r.ports()
	})
	other("sctp", func(r *Generator) string { return "sctp vtag " + r.Op() + few(r) })
	other("sctp", func(r *Generator) string {
		return "sctp chunk " + r.Pick("init", "data", "sack", "heartbeat") + " " + r.Pick("exists", "missing")
	})
	other("sctp", func(r *Generator) string {
		return "sctp chunk init " + r.Pick("num-outbound-streams ", "init-tag ", "flags ", "length ") + r.Op() + few(r)
	})
	other("udplite", func(r *Generator) string { return "udplite " + r.Pick("dport > ", "csumcov != ") + r.ports() })
	other("dccp", func(r *Generator) string {
		return "dccp " + r.Pick("type { request, data }", "type != sync", "dport > "+r.ports())
	})
	other("ah", func(r *Generator) string { return "ah " + r.Pick("spi ", "sequence ", "hdrlength ") + r.Op() + few(r) })
	other("esp", func(r *Generator) string { return "esp " + r.Pick("spi ", "sequence ") + r.Op() + few(r) })
	other("comp", func(r *Generator) string { return "comp " + r.Pick("cpi ", "flags ") + r.Op() + few(r) })
	match("4", "igmp", func(r *Generator) string {
		return "igmp " + r.Pick("type membership-query", "type != leave-group", "mrt 0")
	})

	statement := func(net, transport string, text func(r *Generator) string, hooks ...string) {
		RegisterStatements(Fragment{
			Area: "payload", Net: net, Transport: transport, Types: []string{"filter"}, Hooks: hooks,
			Text: func(r *Generator, _ *Scope) string { return text(r) },
		})
	}
	statement("4", "", func(r *Generator) string { return fmt.Sprintf("ip dscp set %d", r.IntN(64)) })
	statement("4", "", func(r *Generator) string { return fmt.Sprintf("ip ecn set %d", r.IntN(4)) })
	// A TTL of 1 the kernel answers before its forward chains.
	statement("4", "", func(r *Generator) string { return fmt.Sprintf("ip ttl set %d", 32+r.IntN(200)) })
	// Not what is for the router: where conntrack has verified a checksum, the
	// kernel's stack verifies it again, over the header as it was.
	for _, text := range []func(r *Generator) string{
		func(r *Generator) string { return fmt.Sprintf("ip6 hoplimit set %d", 32+r.IntN(200)) },
		func(r *Generator) string { return fmt.Sprintf("ip6 dscp set %d", r.IntN(64)) },
		func(r *Generator) string { return fmt.Sprintf("ip6 flowlabel set %d", r.IntN(64)) },
		func(r *Generator) string { return fmt.Sprintf("ip6 ecn set %d", r.IntN(4)) },
	} {
		statement("6", "", text, "forward", "postrouting", "output")
	}
	statement("", "tcp", func(r *Generator) string {
		return "tcp option maxseg size set " + r.Pick("536", "1360", "1400", "65535")
	})
	statement("", "tcp", func(r *Generator) string {
		return "reset tcp option " + r.Pick("maxseg", "window", "sack-perm", "sack", "timestamp", "mptcp", "99")
	})
	statement("", "sctp", func(r *Generator) string { return fmt.Sprintf("sctp vtag set %d", r.IntN(4)) })
	statement("", "", func(r *Generator) string { return fmt.Sprintf("@ll,48,48 set 0x0200000000%02x", r.IntN(3)) })
}
