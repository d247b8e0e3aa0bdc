// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"slices"
	"strings"
)

// Chains of the type nat.
//
// Of a source that has a flow already the kernel prefers that flow's address, so
// that the ranges of sources do not overlap, and are persistent; all of their
// addresses have neighbours, as the text has them. Ports that are free choices
// come of ranges that do not run out, and destinations have none; where rules see
// them, nothing has.

// natFamily is a family that a translation in a scope can be to.
type natFamily struct {
	to        string // for inet, where the statement says it
	addr, far func() string
	rng       func() string // of sources
	pair      string        // of destinations
	port      string        // format of an address and a port
	words     string        // "ip ", "ip6 "
}

func (r *Generator) natFamily(s *Scope) natFamily {
	f := map[string]natFamily{
		"4": {"ip ", r.IP4, r.Far4, func() string { return fmt.Sprintf("172.16.%d.1-172.16.%[1]d.2", 10+r.IntN(9)) }, "10.0.0.2-10.0.0.3", "%s:%s", "ip "},
		"6": {"ip6 ", r.IP6, r.Far6, func() string { return fmt.Sprintf("2600:1700:16::%d:1-2600:1700:16::%[1]d:2", 10+r.IntN(9)) }, "fd00::50-fd00::51", "[%s]:%s", "ip6 "},
	}
	if s.Net != "" {
		f := f[s.Net]
		if s.Family != "inet" {
			f.to = ""
		}
		return f
	}
	return f[r.Pick("4", "6")]
}

func init() {
	type text = func(r *Generator, s *Scope, f natFamily) string
	nat := func(hooks, transports string, weight int, t text) {
		for _, hook := range strings.Fields(hooks) {
			for _, transport := range strings.Split(transports, " ") {
				RegisterVerdicts(Fragment{Area: "nat", Transport: transport, Weight: weight, Types: []string{"nat"}, Hooks: []string{hook},
					Text: func(r *Generator, s *Scope) string { return t(r, s, r.natFamily(s)) }})
			}
		}
	}
	port := func(r *Generator) string { return fmt.Sprint(r.Port()) }
	ports := func(r *Generator) string {
		from := 1024 + r.IntN(20000)
		return fmt.Sprintf("%d-%d", from, from+2000+r.IntN(30000))
	}
	flags := func(r *Generator) string { return r.random("", "", " random", " fully-random", " persistent") }

	nat("prerouting", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string { return "dnat " + f.to + "to " + f.addr() })
	nat("prerouting output", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string { return "dnat " + f.to + "to " + f.far() })
	nat("prerouting output", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "dnat " + f.to + "to " + fmt.Sprintf(f.port, f.far(), port(r)) + r.Pick("", "", " persistent", " random")
	})
	nat("prerouting output", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "dnat " + f.to + "to " + f.pair + r.Pick("", " persistent")
	})
	nat("prerouting", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		from := r.Port()
		return "dnat " + f.to + "to " + fmt.Sprintf(f.port, f.addr(), fmt.Sprintf("%d-%d", from, min(from+r.IntN(9), 65535)))
	})
	nat("prerouting output", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		transport := s.Transport
		return "dnat " + f.to + "to " + f.words + "daddr . " + transport + " dport map { " +
			natElements(r, func() string { return f.addr() + " . " + port(r) }, func() string { return f.far() + " . " + port(r) }) + " }"
	})
	nat("prerouting output", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "dnat " + f.to + "to " + s.Transport + " dport map { " + natElements(r, func() string { return port(r) }, f.far) + " }"
	})
	nat("prerouting", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		return r.Pick("redirect", "redirect to :"+port(r), "redirect to :"+fmt.Sprintf("%d-%d", 5000+r.IntN(9), 5010+r.IntN(9)))
	})
	nat("postrouting", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		return r.random("masquerade", "masquerade to :"+ports(r)) + flags(r)
	})
	nat("postrouting input", "tcp udp sctp udplite", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "snat " + f.to + "to " + r.random(f.far(), fmt.Sprintf(f.port, f.far(), ports(r))) + flags(r)
	})
	nat("postrouting input", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string { return "snat " + f.to + "to " + f.far() })
	nat("postrouting", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "snat " + f.to + "to " + f.rng() + r.random(" persistent", " persistent", " random,persistent")
	})
	nat("postrouting input", "tcp udp sctp udplite icmp", 1, func(r *Generator, s *Scope, f natFamily) string {
		return "snat " + f.to + "to " + f.words + "saddr map { " + natElements(r, f.addr, f.far) + " }"
	})
	nat("prerouting output input postrouting", "", 3, func(r *Generator, s *Scope, f natFamily) string { return r.Pick("accept", "return", "counter", "drop") })
}

// random returns one of some words of NAT, of which the first leaves ports as
// they are, as all have to where rules see them.
func (r *Generator) random(words ...string) string {
	word := r.Pick(words...)
	if r.ShowPorts && (strings.Contains(word, ":") || strings.Contains(word, "random")) {
		return words[0]
	}
	return word
}

// natElements returns elements of a map.
func natElements(r *Generator, key, data func() string) string {
	var out []string
	for k := range strings.SplitSeq(r.Elements(12, key), ", ") {
		out = append(out, k+" : "+data())
	}
	return strings.Join(out, ", ")
}

// natTable returns a table that masquerades what leaves by the interface wan,
// unless its rules say something else.
func (r *Generator) natTable(family, wan string) string {
	t := newTable(family, "nat")
	chain := func(hook string, priority int, policy, last string) {
		fmt.Fprintf(&t.body, "\tchain %s%d {\n\t\ttype nat hook %s priority %d; policy %s;\n", hook, priority+1000, hook, priority, policy)
		if !r.Basic && (len(r.Only) == 0 || slices.Contains(r.Only, "nat")) {
			for range r.IntN(6) {
				t.body.WriteString("\t\t" + r.natRule(t.scope("nat", hook)) + "\n")
			}
		}
		t.body.WriteString(last + "\t}\n")
	}
	policy := func() string { return r.Pick("accept", "accept", "accept", "accept", "accept", "drop") }
	for n := range r.IntN(3) {
		chain("prerouting", Pick(r.Rand, []int{-100, -150, 0, 300})+n, policy(), "")
	}
	if r.IntN(3) == 0 {
		chain("output", -100, policy(), "")
	}
	if r.IntN(3) == 0 {
		chain("input", 100, policy(), "")
	}
	if r.IntN(3) == 0 {
		chain("postrouting", Pick(r.Rand, []int{-190, 90, 101}), "accept", "")
	}
	// Of what has no ports two flows would become one.
	last := fmt.Sprintf("\t\toifname %q masquerade%s\n", wan, r.Pick("", " persistent"))
	if r.IntN(3) == 0 {
		last = "\t\tmeta l4proto { tcp, udp, udplite, sctp, icmp, icmpv6 } masquerade" + r.random("", " random", " fully-random") + "\n" + last
	}
	chain("postrouting", 100, policy(), last)
	return t.String()
}

// natRule is a rule that says which protocol it is for, or does not translate.
func (r *Generator) natRule(s Scope) string {
	if r.IntN(6) == 0 {
		s.Transport = "any" // none of those that translations are for
		return r.rule(s, verdicts)
	}
	s.Transport = r.Pick("tcp", "tcp", "udp", "udp", "icmp", "icmp", "sctp", "udplite")
	proto := s.Transport
	if proto == "icmp" {
		if s.Net == "" {
			s.Net = r.Pick("4", "6")
		}
		if s.Net == "6" {
			proto = "icmpv6"
		}
	}
	return "meta l4proto " + proto + " " + r.rule(s, verdicts)
}
