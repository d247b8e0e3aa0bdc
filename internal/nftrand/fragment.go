// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import (
	"fmt"
	"slices"
	"strings"
)

// Fragment is something that rules are made of, with what nft demands of its
// place. Each area of the language registers its own in a file of its own, by
// init functions; their order, and so what a seed makes, is that of the files'
// names.
type Fragment struct {
	// Area names the file: see [Generator.Only].
	Area string
	// Net is "4" or "6" if it is about one of them, Transport "tcp", "udp",
	// "icmp" or another name if it is about that protocol, "th" (what has ports)
	// or "l4" (any) if it says itself about which.
	Net, Transport string
	// Families of tables, Types and Hooks of base chains that it can stand in, or
	// in a chain that is reached from there. No families are inet, ip and ip6, no
	// hooks all of them. No types are all for a match or a statement, and all but
	// nat for a verdict.
	Families, Types, Hooks []string
	// Raw: only in base chains before connection tracking.
	Raw bool
	// Basic is what the interpreter in the tests of pkg/policy knows.
	Basic bool
	// Rare: in one of twenty routers' rulesets only, or where its area is asked for.
	// The rig has to be slow with it.
	Rare bool
	// Weight is how often it is chosen, against 1 of most; 0 is 1.
	Weight int
	// Text writes it; "" for nothing, as what it needs is not there.
	Text func(r *Generator, s *Scope) string
}

// Everywhere are the families with chains at the hooks of IP and of devices.
var Everywhere = []string{"inet", "ip", "ip6", "netdev"}

var matches, statements, verdicts []Fragment

// RegisterMatches adds conditions.
func RegisterMatches(list ...Fragment) { matches = append(matches, list...) }

// RegisterStatements adds what stands between conditions and the verdict.
func RegisterStatements(list ...Fragment) { statements = append(statements, list...) }

// RegisterVerdicts adds ends of rules, also those that translate addresses.
func RegisterVerdicts(list ...Fragment) {
	for _, f := range list {
		if len(f.Types) == 0 {
			f.Types = []string{"filter", "route"}
		}
		verdicts = append(verdicts, f)
	}
}

// Scope is where a rule stands, and what it has said so far.
type Scope struct {
	// Family of the table.
	Family string
	// Type of the base chains, and the Hooks, that the rule is reached from.
	Type  string
	Hooks []string
	// Chains is how many chains, c0 and so on, the rule may jump to.
	Chains int
	// Raw: the chain is a base chain before connection tracking.
	Raw bool
	// Net and Transport are as in [Fragment]: what the rule's conditions have
	// already demanded.
	Net, Transport string

	table *table
}

// Declare has the rule's table begin with a declaration, a set or an object, and
// returns the name. Of several with the same name the first one stays. A map or
// set of one name has to be the same kind everywhere.
func (s *Scope) Declare(name string, text func() string) string {
	if !s.table.declared[name] {
		s.table.declared[name] = true
		s.table.declarations = append(s.table.declarations, "\t"+text()+"\n")
	}
	return name
}

// Set is Declare of a set, whose braces contain what body returns.
func (s *Scope) Set(name string, body func() string) string {
	return "@" + s.Declare(name, func() string { return fmt.Sprintf("set %s { %s }", name, body()) })
}

// JumpTo returns the name of a chain to jump to, "" where there is none.
func (s *Scope) JumpTo(r *Generator) string {
	if s.Chains == 0 {
		return ""
	}
	if r.IntN(3) == 0 {
		return fmt.Sprintf("c%d", s.Chains-1) // deep
	}
	return fmt.Sprintf("c%d", r.IntN(s.Chains))
}

// fits tells whether a fragment can stand in a scope.
func (f *Fragment) fits(s *Scope) bool {
	families := f.Families
	if len(families) == 0 {
		families = []string{"inet", "ip", "ip6"}
	}
	if !slices.Contains(families, s.Family) || len(f.Types) > 0 && !slices.Contains(f.Types, s.Type) {
		return false
	}
	for _, hook := range s.Hooks {
		if len(f.Hooks) > 0 && !slices.Contains(f.Hooks, hook) {
			return false
		}
		// Before the stack, whatever the family: what an interface's chains know.
		if hook == "ingress" && !slices.Contains(families, "netdev") {
			return false
		}
	}
	if f.Raw && !s.Raw || f.Net != "" && s.Net != "" && f.Net != s.Net {
		return false
	}
	return f.Transport == "" || s.Transport == "" || f.Transport == s.Transport && f.Transport != "th" && f.Transport != "l4"
}

// draw chooses a fragment that fits, and notes what it demands.
func (r *Generator) draw(from []Fragment, s *Scope) string {
	var fit []*Fragment
	total := 0
	for i := range from {
		f := &from[i]
		if r.Basic && !f.Basic || len(r.Only) > 0 && !f.Basic && !slices.Contains(r.Only, f.Area) || f.Rare && !r.rare && !slices.Contains(r.Only, f.Area) || !f.fits(s) {
			continue
		}
		fit = append(fit, f)
		total += max(f.Weight, 1)
	}
	if total == 0 {
		return ""
	}
	n := r.IntN(total)
	for _, f := range fit {
		if n -= max(f.Weight, 1); n < 0 {
			text := f.Text(r, s)
			if text != "" && f.Net != "" {
				s.Net = f.Net
			}
			if text != "" && f.Transport != "" {
				s.Transport = f.Transport
			}
			return text
		}
	}
	return ""
}

// table is a table that is being written.
type table struct {
	family, name string
	declared     map[string]bool
	declarations []string
	body         strings.Builder
}

func newTable(family, name string) *table {
	return &table{family: family, name: name, declared: map[string]bool{}}
}

func (t *table) scope(kind string, hooks ...string) Scope {
	net := map[string]string{"ip": "4", "ip6": "6"}[t.family]
	return Scope{Family: t.family, Type: kind, Hooks: hooks, Net: net, table: t}
}

func (t *table) String() string {
	return fmt.Sprintf("table %s %s {\n%s%s}\n", t.family, t.name, strings.Join(t.declarations, ""), t.body.String())
}
