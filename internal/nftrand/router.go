// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Base is a place for base chains. Areas register their own.
type Base struct {
	Area string
	// Families of tables that can have it.
	Families []string
	// Type and Hook, and Priorities of which one is chosen.
	Type, Hook string
	Priorities []int
	// Device: the chain is one of an interface.
	Device bool
	// Rules is how many there are at most.
	Rules int
	// Policies that the chain can have; none: accept, and sometimes drop.
	Policies []string
}

var bases []Base

// RegisterBases adds places for base chains of tables.
func RegisterBases(list ...Base) { bases = append(bases, list...) }

func init() {
	for _, b := range []Base{
		{Hook: "prerouting", Priorities: []int{-300, -301, -150, -1, 0, 7}, Rules: 3},
		{Hook: "input", Priorities: []int{-100, 0, 10, 50}, Rules: 8},
		{Hook: "forward", Priorities: []int{-225, -1, 0, 5, 2000}, Rules: 10},
		{Hook: "output", Priorities: []int{-300, -150, 0, 3}, Rules: 4},
		{Hook: "postrouting", Priorities: []int{-10, 0, 50, 150}, Rules: 3},
	} {
		b.Area, b.Type, b.Families = "basic", "filter", []string{"inet", "ip", "ip6"}
		RegisterBases(b)
	}
	RegisterBases(Base{Area: "route", Type: "route", Hook: "output", Priorities: []int{-300, -150, 0, 5}, Families: []string{"inet", "ip", "ip6"}, Rules: 4})
}

// Router returns a ruleset for all hooks of a router, that masquerades what
// leaves by the interface wan. Rules and policies accept often enough for
// packets to get through, and each ruleset uses conntrack.
func (r *Generator) Router(wan string) string {
	var b strings.Builder
	r.copies, r.rare = false, r.IntN(20) == 0
	for i := range 1 + r.IntN(3) {
		family := "inet"
		if i > 0 {
			family = r.Pick("inet", "ip", "ip6", "netdev")
		}
		b.WriteString(r.table(family, fmt.Sprintf("t%d", i), i == 0))
	}
	families := []string{"ip", "ip6"}
	if r.IntN(4) == 0 {
		families = []string{"inet"}
	}
	for _, family := range families {
		if !r.copies && (r.IntN(4) > 0 || slices.Contains(r.Only, "nat")) {
			b.WriteString(r.natTable(family, wan))
		}
	}
	if r.copies {
		return fitForCopies(b.String())
	}
	return b.String()
}

var (
	asksLink    = regexp.MustCompile(`@ll,\d+,\d+ (?:!= )?0x[0-9a-f]+ ?`)
	outputChain = regexp.MustCompile(`(?s)\tchain output\d+ \{.*?\n\t\}\n`)
	zoneSet     = regexp.MustCompile(`ct (?:original |reply )?zone set \d+`)
)

// fitForCopies leaves out what nothing can be said of where packets are copied: conditions about
// the link-layer header, of which the kernel's copies have whatever was in their memory, and
// zones that output chains choose, which l2d refuses.
func fitForCopies(ruleset string) string {
	ruleset = asksLink.ReplaceAllString(ruleset, "")
	return outputChain.ReplaceAllStringFunc(ruleset, func(chain string) string {
		return zoneSet.ReplaceAllString(chain, "counter")
	})
}

// table returns a table of filter chains; the main one filters what is for the
// router and what goes through it by the state of its flows.
func (r *Generator) table(family, name string, main bool) string {
	t := newTable(family, name)
	var chosen []Base
	hooks := map[string]bool{}
	for _, base := range bases {
		must := main && base.Area == "basic" && (base.Hook == "input" || base.Hook == "forward")
		if base.Type == "nat" || len(r.priorities(base)) == 0 || !r.knows(base, family) || !must && r.IntN(5) > 1 {
			continue
		}
		hooks[base.Hook] = true
		for range 1 + r.IntN(3)/2 {
			chosen = append(chosen, base)
		}
	}
	s := t.scope("filter")
	for _, base := range bases {
		if hooks[base.Hook] {
			s.Hooks = append(s.Hooks, base.Hook)
		}
	}
	n := r.IntN(6)
	if r.IntN(12) == 0 {
		n = 15 // as deep as the kernel lets chains jump
	}
	r.regular(&t.body, n, 1+24/(n+1), s)
	for i, base := range chosen {
		priority := Pick(r.Rand, r.priorities(base))
		device := ""
		if base.Device {
			device = fmt.Sprintf("device %q ", r.Interface())
		}
		fmt.Fprintf(&t.body, "\tchain %s%d {\n\t\ttype %s hook %s %spriority %d; policy %s;\n", base.Hook, i, base.Type, base.Hook, device, priority, r.policy(base))
		if base.Device {
			// The rig's own frames.
			t.body.WriteString("meta protocol 0x88b5 accept\n")
		}
		s := t.scope(base.Type, base.Hook)
		s.Chains = n
		s.Raw = priority < -200 && (base.Hook == "prerouting" || base.Hook == "output")
		if (s.Raw && base.Hook == "prerouting" || base.Hook == "ingress") && r.IntN(2) == 0 {
			r.early(&t.body, 1+r.IntN(base.Rules), s)
			t.body.WriteString("\t}\n")
			continue
		}
		must := main && (base.Hook == "input" || base.Hook == "forward")
		if family != "netdev" && priority > -200 && (must || r.IntN(3) == 0) {
			t.body.WriteString("\t\t" + r.Pick("ct state invalid drop\n", "ct state established,related accept\n",
				"ct state established accept\n", "ct state != established accept\n"))
		}
		if s.Raw && !r.Basic && (len(r.Only) == 0 || slices.Contains(r.Only, "marks")) && r.IntN(4) == 0 {
			t.body.WriteString("\t\t" + r.directionZone() + "\n")
		}
		r.rules(&t.body, 1+r.IntN(base.Rules), s)
		t.body.WriteString("\t}\n")
	}
	return t.String()
}

// priorities are those that a base chain may have: see [Generator.ShowPorts].
func (r *Generator) priorities(base Base) []int {
	if r.ShowPorts {
		return base.Priorities
	}
	return slices.DeleteFunc(slices.Clone(base.Priorities), func(n int) bool {
		switch base.Hook {
		case "prerouting", "output":
			return n <= -100
		case "input", "postrouting":
			return n >= 100
		}
		return base.Device
	})
}

// knows tells whether a base chain can be had in a table.
func (r *Generator) knows(base Base, family string) bool {
	wanted := len(r.Only) == 0 || base.Area == "basic" || slices.Contains(r.Only, base.Area)
	return wanted && slices.Contains(base.Families, family)
}

func (r *Generator) policy(base Base) string {
	if len(base.Policies) > 0 {
		return Pick(r.Rand, base.Policies)
	}
	return r.Pick("accept", "accept", "accept", "drop")
}
