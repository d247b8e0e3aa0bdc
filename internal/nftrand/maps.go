// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"strings"
)

// Sets and maps that rules change, and those whose elements have statements, a
// catch-all among them, or ranges in concatenations; hashes of keys.

func init() {
	type text = func(r *Generator, s *Scope) string
	match := func(net, transport string, t text) {
		RegisterMatches(Fragment{Area: "maps", Net: net, Transport: transport, Text: t})
	}
	statement := func(net, transport string, t text) {
		RegisterStatements(Fragment{Area: "maps", Net: net, Transport: transport, Text: t})
	}
	match("4", "", func(r *Generator, s *Scope) string {
		return fmt.Sprintf("jhash ip saddr . ip daddr mod %d seed %d %s", 3+r.IntN(5), r.IntN(1000), r.Pick("0", "1", "< 2", "!= 0"))
	})
	match("6", "", func(r *Generator, s *Scope) string {
		return fmt.Sprintf("jhash ip6 saddr . ip6 daddr mod %d seed %d %s", 3+r.IntN(5), r.IntN(1000), r.Pick("0", "1", "< 2", "!= 0"))
	})
	match("4", "", func(r *Generator, s *Scope) string {
		return "ip " + r.Pick("saddr ", "daddr ") + r.Op() + s.Set("any4", func() string {
			return "type ipv4_addr; counter; elements = { " + r.Elements(9, r.IP4) + ", * }"
		})
	})
	match("4", "", func(r *Generator, s *Scope) string {
		return "ip " + r.Pick("saddr ", "daddr ") + s.Set("quota4", func() string {
			return "type ipv4_addr; quota " + r.Pick("", "over ") + "500 bytes; elements = { " + r.Elements(9, r.IP4) + " }"
		})
	})
	match("4", "th", func(r *Generator, s *Scope) string {
		return "meta l4proto { tcp, udp } ip saddr . th dport " + r.Op() + s.Set("ranges4", func() string {
			return "type ipv4_addr . inet_service; flags interval; elements = { " + r.rangesOf(r.IP4) + " }"
		})
	})
	match("6", "th", func(r *Generator, s *Scope) string {
		return "meta l4proto { tcp, udp } iifname . ip6 daddr . th dport " + r.Op() + s.Set("ranges6", func() string {
			return "type ifname . ipv6_addr . inet_service; flags interval; elements = { " + r.rangesOf(func() string { return r.Quoted() + " . " + r.IP6() }) + " }"
		})
	})
	statement("4", "", func(r *Generator, s *Scope) string {
		return "add " + s.Set("counted4", func() string {
			return fmt.Sprintf("type ipv4_addr; size %d; flags dynamic; counter;", 1+r.IntN(20))
		}) + " { ip " + r.Pick("saddr", "daddr") + " }"
	})
	statement("4", "", func(r *Generator, s *Scope) string {
		return r.Pick("delete ", "add ") + s.Set("gone4", func() string { return "type ipv4_addr; size 65535; flags dynamic;" }) + " { ip saddr }"
	})
	match("4", "", func(r *Generator, s *Scope) string {
		return "ip daddr " + r.Op() + s.Set("gone4", func() string { return "type ipv4_addr; size 65535; flags dynamic;" })
	})
	statement("6", "", func(r *Generator, s *Scope) string {
		return "update " + s.Set("timed6", func() string {
			return "type ipv6_addr . ifname; size 9; flags dynamic, timeout; timeout 1h;"
		}) + " { ip6 saddr . iifname " + r.Pick("", "timeout 2h ") + "limit rate 1/day burst 5 packets counter }"
	})
	statement("4", "", func(r *Generator, s *Scope) string {
		return "add " + s.Map("marks4", func() string { return "type ipv4_addr : mark; size 30; flags dynamic;" }) + " { ip saddr : meta mark }"
	})
}

// rangesOf returns elements of a concatenation with a range of ports as its last
// field. They do not overlap.
func (r *Generator) rangesOf(value func() string) string {
	var out []string
	for i, v := range strings.Split(r.Elements(60, value), ", ") {
		if from := r.IntN(600); i%3 == 0 {
			out = append(out, fmt.Sprintf("%s . %d-%d", v, from, from+r.IntN(60000)))
		} else {
			out = append(out, fmt.Sprintf("%s . %d", v, r.Port()))
		}
	}
	return strings.Join(out, ", ")
}
