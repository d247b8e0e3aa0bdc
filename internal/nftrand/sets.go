// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Intervals of one set may not overlap: nft merges those of auto-merge.

// addressSet names a set of addresses of a network layer.
func (r *Generator) addressSet(s *Scope, net string) string {
	one, kind, low, high := r.IP4, "ipv4_addr", 8, 25
	extra := "192.168.0.1-192.168.2.200"
	if net == "6" {
		one, kind, low, high = r.IP6, "ipv6_addr", 10, 119
		extra = "fd00::1-fd00:2::7"
	}
	prefixes := func() string {
		return r.Elements(5, func() string { return fmt.Sprintf("%s/%d", one(), low+r.IntN(high)) })
	}
	switch r.IntN(3) {
	case 0:
		return s.Set("const"+net, func() string {
			return "type " + kind + "; flags constant, interval; auto-merge; elements = { " + prefixes() + " }"
		})
	case 1:
		return s.Set("hash"+net, func() string { return "type " + kind + "; elements = { " + r.Elements(20, one) + " }" })
	}
	return s.Set("lpm"+net, func() string {
		return "type " + kind + "; flags interval; auto-merge; elements = { " + prefixes() + ", " + extra + " }"
	})
}

func (r *Generator) portSet(s *Scope) string {
	if r.IntN(2) == 0 {
		return s.Set("ports", func() string { return "type inet_service; elements = { 22, 53, 65535 }" })
	}
	return s.Set("portranges", func() string { return "type inet_service; flags interval; elements = { 0-21, 80-1000 }" })
}

func (r *Generator) nameSet(s *Scope) string {
	return s.Set("names", func() string { return "type ifname; elements = { " + r.Elements(2, r.Quoted) + " }" })
}

func (r *Generator) markSet(s *Scope) string {
	switch r.IntN(4) {
	case 0:
		return s.Set("marks", func() string { return "type mark; elements = { 1, 0x100, 0xffff0000 }" })
	case 1:
		return s.Set("markranges", func() string { return "type mark; flags interval; elements = { 0x80-0x1ff }" })
	}
	return r.Pick("> 0xff", "<= 0x100")
}
