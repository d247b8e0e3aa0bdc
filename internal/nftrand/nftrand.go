// SPDX-License-Identifier: GPL-2.0-only

// Package nftrand makes random rulesets in the language that l2d compiles. What
// rules are made of is registered, one file an area of the language: see
// [Fragment].
package nftrand

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generator makes rulesets whose values come from its functions: few different
// ones, so that packets and rules meet.
type Generator struct {
	*rand.Rand
	// IP4 and IP6 return an address.
	IP4, IP6 func() string
	// Far4 and Far6 return an address that is not the router's own.
	Far4, Far6 func() string
	// Next4 and Next6 return a neighbour and its interface: "ADDRESS device NAME".
	Next4, Next6 func() string
	// Port returns a port.
	Port func() int
	// Interface returns the name of an interface, of at least two bytes.
	Interface func() string
	// copies: rules copy packets to addresses, so that nothing is translated: of
	// two packets nobody knows which has the port that was chosen.
	copies bool
	// rare: the ruleset may have what is [Fragment.Rare].
	rare bool
	// Basic has only fragments that are Basic.
	Basic bool
	// ShowPorts lets filter chains stand where they see ports as NAT has chosen
	// them, and has NAT choose none: what rules do would depend on it.
	ShowPorts bool
	// Only has only fragments of these areas, if there are any: matches of the
	// area "basic" and verdicts are always there.
	Only []string
}

// Pick returns one of some values.
func Pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// Pick returns one of some words.
func (r *Generator) Pick(words ...string) string { return Pick(r.Rand, words) }

// Elements joins up to n different values, at least one.
func (r *Generator) Elements(n int, value func() string) string {
	seen := map[string]bool{}
	var out []string
	for range 1 + r.IntN(n) {
		if v := value(); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return strings.Join(out, ", ")
}

// Op is nothing or, less often, an inequality.
func (r *Generator) Op() string { return r.Pick("", "", "", "!= ") }

func (r *Generator) prefix4() string { return fmt.Sprintf("%s/%d", r.IP4(), r.IntN(33)) }
func (r *Generator) prefix6() string { return fmt.Sprintf("%s/%d", r.IP6(), r.IntN(129)) }
func (r *Generator) ports() string   { return fmt.Sprint(r.Port()) }

func (r *Generator) portRange() string {
	a := r.Port()
	return fmt.Sprintf("%d-%d", a, min(a+r.IntN(500), 65535))
}

// Quoted returns an interface's name as nft wants it.
func (r *Generator) Quoted() string { return fmt.Sprintf("%q", r.Interface()) }

// rule returns a rule for a scope, whose protocols it leaves as they are.
func (r *Generator) rule(s Scope, verdicts []Fragment) string {
	var words []string
	add := func(from []Fragment) {
		if text := r.draw(from, &s); text != "" {
			words = append(words, text)
		}
	}
	for range 1 + r.IntN(4) {
		add(matches)
	}
	if !r.Basic {
		for r.IntN(4) == 0 {
			add(statements)
		}
		words = append(words, "counter")
	}
	add(verdicts)
	if len(words) == 0 {
		return "counter"
	}
	if !r.Basic && r.IntN(8) == 0 {
		words = append(words, fmt.Sprintf(`comment "%s"`, r.Pick("accept", "drop it", "a -> b; { x }", "return # 7", "limit rate 1/second")))
	}
	return strings.Join(words, " ")
}

func (r *Generator) rules(b *strings.Builder, n int, s Scope) {
	for range n {
		b.WriteString("\t\t" + r.rule(s, verdicts) + "\n")
	}
}

// regular writes the chains c0 to cN-1. They only jump to those before them.
func (r *Generator) regular(b *strings.Builder, n, rules int, s Scope) {
	for c := range n {
		s.Chains = c
		fmt.Fprintf(b, "\tchain c%d {\n", c)
		r.rules(b, 1+r.IntN(rules), s)
		b.WriteString("\t}\n")
	}
}

// Forward returns a ruleset with chains at the forward hook only.
func (r *Generator) Forward() string {
	t := newTable("inet", "t")
	s := t.scope("filter", "forward")
	r.regular(&t.body, 4, 12, s)
	s.Chains = 4
	t.body.WriteString("\tchain f { type filter hook forward priority 0; policy " + r.Pick("accept", "drop") + ";\n")
	r.rules(&t.body, 20, s)
	t.body.WriteString("\t}\n\tchain g { type filter hook forward priority 5; policy accept;\n")
	r.rules(&t.body, 4, s)
	t.body.WriteString("\t}\n")
	return t.String()
}
