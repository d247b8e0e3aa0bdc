// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// WarningKind says what is odd about a rule.
type WarningKind string

// The kinds of warnings.
const (
	// NeverReached: an earlier rule of the chain decides about every packet
	// that the rule matches.
	NeverReached WarningKind = "never-reached"
	// NeverMatches: the rule looks into a constant set without elements, or no
	// packet meets all its conditions.
	NeverMatches WarningKind = "never-matches"
	// UnknownInterface: the rule, the first to do so, names an interface that
	// does not exist.
	UnknownInterface WarningKind = "unknown-interface"
	// LimitWithoutEffect: what the limit holds back gets the same verdict from
	// a later rule.
	LimitWithoutEffect WarningKind = "limit-without-effect"
	// LimitBypassed: earlier rules accept packets that the limit is meant for.
	LimitBypassed WarningKind = "limit-bypassed"
	// Pointless: the packets that the rule matches get the same verdict without
	// it, and it does nothing else.
	Pointless WarningKind = "pointless"
	// SetsOverlap: the sets of two rules with different verdicts have elements
	// in common, and the other rule comes first.
	SetsOverlap WarningKind = "sets-overlap"
	// UnusedChain: no rule jumps to the chain of the rule, its first.
	UnusedChain WarningKind = "unused-chain"
)

// Warning is about a rule that does not do what it seems to.
type Warning struct {
	Kind WarningKind
	Rule RuleInfo
	// By are the rules that make it so; for an unknown interface, the other
	// rules that name it.
	By []RuleInfo
	// Interface that is unknown.
	Interface string
	// Elements that sets have in common, one of them.
	Elements string
}

// String says it in a sentence.
func (w Warning) String() string {
	var by []string
	for _, r := range w.By {
		by = append(by, r.reference())
	}
	others := strings.Join(by, ", ")
	what := ""
	switch w.Kind {
	case NeverReached:
		what = "is never reached: every packet that it matches is decided before by " + others
	case NeverMatches:
		what = "matches nothing: a set is empty, or its conditions exclude each other"
	case UnknownInterface:
		what = fmt.Sprintf("names the interface %q, which does not exist: no packet comes or goes by it", w.Interface)
		if n := len(w.By); n > 0 {
			what += fmt.Sprintf(" (nor for %d more rules)", n)
		}
	case LimitWithoutEffect:
		what = "has a limit without effect: packets that it holds back get the same verdict from " + others
	case LimitBypassed:
		what = "has a limit that does not hold for packets accepted before by " + others
	case Pointless:
		what = "is pointless: the packets that it matches get the same verdict from " + others
	case SetsOverlap:
		what = fmt.Sprintf("does not decide about %s, which is also in the set of %s", w.Elements, others)
	case UnusedChain:
		return fmt.Sprintf("table %s chain %s: no rule jumps to it", w.Rule.Table, w.Rule.Chain)
	}
	return fmt.Sprintf("table %s chain %s: %s %s", w.Rule.Table, w.Rule.Chain, w.Rule.reference(), what)
}

// reference names a rule by handle, line and text.
func (r RuleInfo) reference() string {
	if r.Handle == 0 {
		return "the chain's " + r.Text
	}
	s := fmt.Sprintf("rule handle %d", r.Handle)
	if r.Line != 0 {
		s += fmt.Sprintf(" (line %d)", r.Line)
	}
	return s + fmt.Sprintf(" %q", r.Text)
}

// Lint finds rules, limits and chains that cannot have the effect they seem to
// have. It compares the conditions of rules of one chain by containment, and
// says only what is certain: rules whose conditions it cannot compare are passed
// over.
func (p *Program) Lint() []Warning {
	found := make(map[uint32]Warning)
	for _, ch := range p.chains {
		if ch.src.Base == nil && ch.calls == 0 && len(ch.rules) > 0 {
			index := ch.rules[0].index
			found[index] = Warning{Kind: UnusedChain, Rule: p.Rules[index]}
			continue
		}
		for i, w := range newChainLint(p, ch).run() {
			index := ch.rules[i].index
			w.Rule = p.Rules[index]
			found[index] = *w
		}
	}
	out := p.unknownInterfaces()
	for _, index := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[index])
	}
	return out
}

// unknownInterfaces finds names of interfaces that do not exist.
func (p *Program) unknownInterfaces() []Warning {
	rules := make(map[string][]uint32) // counter indexes by name
	for _, ch := range p.chains {
		for _, r := range ch.rules {
			for _, name := range r.interfaces() {
				if _, known := p.options.Links[name]; !known && !slices.Contains(rules[name], r.index) {
					rules[name] = append(rules[name], r.index)
				}
			}
		}
	}
	var out []Warning
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		w := Warning{Kind: UnknownInterface, Interface: name}
		for _, index := range slices.Sorted(slices.Values(rules[name])) {
			w.By = append(w.By, p.Rules[index])
		}
		w.Rule, w.By = w.By[0], w.By[1:]
		out = append(out, w)
	}
	return out
}

// interfaces returns the names of interfaces in a rule's conditions, as far as
// they are whole names.
func (r *rule) interfaces() []string {
	var names []string
	for _, o := range r.ops {
		switch o := o.(type) {
		case *opMatch:
			names = append(names, o.interfaces()...)
		case *opVerdictMap:
			for _, c := range o.cases {
				names = append(names, c.match.interfaces()...)
			}
		case *opData:
			for _, c := range o.cases {
				names = append(names, c.match.interfaces()...)
			}
		}
	}
	return names
}

func (m *opMatch) interfaces() []string {
	var names []string
	if m.named != nil {
		for i, key := range m.named.keys {
			if !key[0].name || len(key) != ifnameLen {
				continue
			}
			for _, e := range m.named.elems {
				if e[i].single() {
					names = append(names, string(bytes.TrimRight(e[i].lo, "\x00")))
				}
			}
		}
	}
	return names
}
