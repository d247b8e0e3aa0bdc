// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"slices"
)

// Chains of the type nat. Addresses of ranges are always those of one source:
// persistent.

func init() {
	nat := func(transport string, weight int, hook string, text func(r *Generator, s *Scope) string) {
		RegisterVerdicts(Fragment{Area: "nat", Transport: transport, Weight: weight, Types: []string{"nat"}, Hooks: []string{hook}, Text: text})
	}
	address := func(r *Generator, s *Scope) string {
		if s.Family == "ip6" {
			return r.IP6()
		}
		return r.IP4()
	}
	withPort := func(r *Generator, s *Scope) string {
		if s.Family == "ip6" {
			return fmt.Sprintf("[%s]:%d", r.IP6(), r.Port())
		}
		return fmt.Sprintf("%s:%d", r.IP4(), r.Port())
	}
	for _, transport := range []string{"tcp", "udp", "icmp"} {
		nat(transport, 1, "prerouting", func(r *Generator, s *Scope) string { return "dnat to " + address(r, s) })
	}
	for _, transport := range []string{"tcp", "udp"} {
		nat(transport, 1, "prerouting", func(r *Generator, s *Scope) string { return "dnat to " + withPort(r, s) })
		nat(transport, 1, "prerouting", func(r *Generator, s *Scope) string { return "redirect" })
		nat(transport, 1, "prerouting", func(r *Generator, s *Scope) string { return fmt.Sprintf("redirect to :%d", r.Port()) })
		nat(transport, 1, "postrouting", func(r *Generator, s *Scope) string {
			return r.Pick("masquerade to :20000-29999", "masquerade to :1024-65535", "masquerade random", "masquerade persistent")
		})
	}
	for _, hook := range []string{"prerouting", "postrouting"} {
		nat("", 2, hook, func(r *Generator, s *Scope) string { return r.Pick("accept", "return", "counter", "drop") })
	}
}

// natTable returns a table that masquerades what leaves by the interface wan,
// unless its rules say something else.
func (r *Generator) natTable(family, wan string) string {
	t := newTable(family, "nat")
	chain := func(hook string, priority int, last string) {
		fmt.Fprintf(&t.body, "\tchain %s%d {\n\t\ttype nat hook %s priority %d; policy accept;\n", hook, priority+1000, hook, priority)
		if !r.Basic && (len(r.Only) == 0 || slices.Contains(r.Only, "nat")) {
			for range r.IntN(5) {
				t.body.WriteString("\t\t" + r.natRule(t.scope("nat", hook)) + "\n")
			}
		}
		t.body.WriteString(last + "\t}\n")
	}
	for n := range r.IntN(3) {
		chain("prerouting", -100+n, "")
	}
	chain("postrouting", 100, fmt.Sprintf("\t\toifname %q masquerade\n", wan))
	return t.String()
}

// natRule is a rule that says which protocol it is for.
func (r *Generator) natRule(s Scope) string {
	s.Transport = r.Pick("tcp", "udp", "icmp")
	proto := s.Transport
	if proto == "icmp" && s.Family == "ip6" {
		proto = "icmpv6"
	}
	return "meta l4proto " + proto + " " + r.rule(s, verdicts)
}
