// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"strings"
)

func init() {
	vmap := func(net, transport string, text func(r *Generator, s *Scope) string) {
		RegisterVerdicts(Fragment{Area: "verdictmap", Basic: true, Net: net, Transport: transport, Text: text})
	}
	vmap("", "", func(r *Generator, s *Scope) string { return "iifname" + r.verdictMap(s, 4, r.Quoted) })
	vmap("", "", func(r *Generator, s *Scope) string {
		return "ct state" + r.verdictMap(s, 4, func() string { return r.Pick("new", "established", "related", "invalid") })
	})
	vmap("", "", func(r *Generator, s *Scope) string {
		return "meta mark" + r.verdictMap(s, 12, func() string { return fmt.Sprint(r.IntN(3) * 255) })
	})
	vmap("", "", func(r *Generator, s *Scope) string {
		return "oifname vmap " + s.Map("names_vmap", func() string {
			var names []string
			for _, n := range strings.Split(r.Elements(2, r.Quoted), ", ") {
				names = append(names, n+" : "+r.Pick("accept", "drop", "return"))
			}
			return "type ifname : verdict; elements = { " + strings.Join(names, ", ") + " }"
		})
	})
	vmap("4", "", func(r *Generator, s *Scope) string { return "ip saddr" + r.verdictMap(s, 40, r.IP4) })
	vmap("4", "", func(r *Generator, s *Scope) string {
		return "ip daddr vmap " + s.Map("hash_vmap", func() string {
			return "type ipv4_addr : verdict; elements = { " + strings.ReplaceAll(r.Elements(20, r.IP4), ", ", " : drop, ") + " : accept }"
		})
	})
	vmap("4", "", func(r *Generator, s *Scope) string {
		return "ip saddr vmap " + s.Map("lpm_vmap", func() string {
			return "type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/16 : accept, 10.168.0.0-192.168.0.77 : drop, 192.168.2.0/25 : continue }"
		})
	})
	vmap("6", "", func(r *Generator, s *Scope) string { return "ip6 saddr" + r.verdictMap(s, 10, r.IP6) })
	vmap("", "tcp", func(r *Generator, s *Scope) string { return "tcp dport" + r.verdictMap(s, 12, r.ports) })
	vmap("", "tcp", func(r *Generator, s *Scope) string {
		return "tcp dport" + r.verdictMap(s, 4, func() string { p := r.IntN(4); return fmt.Sprintf("%d-%d", p*100, p*100+20+p*13) })
	})
}

// Map is Declare of a map, whose braces contain what body returns.
func (s *Scope) Map(name string, body func() string) string {
	return "@" + s.Declare(name, func() string { return fmt.Sprintf("map %s { %s }", name, body()) })
}

// verdictMap returns an anonymous verdict map of up to n values.
func (r *Generator) verdictMap(s *Scope, n int, value func() string) string {
	verdict := func() string {
		v := r.Pick("accept", "drop", "return", "continue", "jump", "goto")
		if v != "jump" && v != "goto" {
			return v
		}
		if to := s.JumpTo(r); to != "" {
			return v + " " + to
		}
		return "accept"
	}
	// Elements of one map with the same key, or with ranges that overlap, are
	// refused: each value is used once.
	var out []string
	for _, v := range strings.Split(r.Elements(n, value), ", ") {
		out = append(out, v+" : "+verdict())
	}
	if r.IntN(3) == 0 {
		out = append(out, "* : "+verdict())
	}
	return " vmap { " + strings.Join(out, ", ") + " }"
}
