// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// WarningKind says what is odd about a rule.
type WarningKind string

// The kinds of warnings.
const (
	// NeverReached: an earlier rule of the chain decides about every packet
	// that the rule matches.
	NeverReached WarningKind = "never-reached"
	// NeverMatches: the rule looks into a constant set without elements.
	NeverMatches WarningKind = "never-matches"
	// UnknownInterface: the rule, the first to do so, names an interface that
	// does not exist.
	UnknownInterface WarningKind = "unknown-interface"
	// LimitWithoutEffect: what the limit holds back gets the same verdict from
	// a later rule.
	LimitWithoutEffect WarningKind = "limit-without-effect"
	// LimitBypassed: earlier rules accept packets that the limit is meant for.
	LimitBypassed WarningKind = "limit-bypassed"
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
		what = "matches nothing: its set is empty"
	case UnknownInterface:
		what = fmt.Sprintf("names the interface %q, which does not exist: no packet comes or goes by it", w.Interface)
		if n := len(w.By); n > 0 {
			what += fmt.Sprintf(" (nor for %d more rules)", n)
		}
	case LimitWithoutEffect:
		what = "has a limit without effect: packets that it holds back get the same verdict from " + others
	case LimitBypassed:
		what = "has a limit that does not hold for packets accepted before by " + others
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

// Lint finds rules and limits that cannot have the effect they seem to have.
// It compares the conditions of rules of one chain by containment, and says
// only what is certain: rules whose conditions it cannot compare are passed
// over.
func (p *Program) Lint() []Warning {
	found := make(map[uint32]Warning)
	for _, ch := range p.chains {
		rules := ch.views(p)
		for i, r := range ch.rules {
			if w := lintRule(rules, i); w != nil {
				w.Rule = p.Rules[r.index]
				found[r.index] = *w
			}
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

// view is a rule as the linter sees it.
type view struct {
	info RuleInfo
	// conds all hold where the rule takes effect, apart from its limit.
	conds []condition
	// opaque are conditions that are only compared with their like.
	opaque []op
	// transport is how many bytes of transport header it needs.
	transport int
	limit     *LimitInfo
	// verdict that ends the chain, and whether there is one.
	verdict  nft.VerdictCode
	terminal bool
	// jumps tells that what happens depends on another chain.
	jumps bool
	never bool
	// chance tells that the rule has conditions on values that are not the
	// packet's, and can be other ones a rule later: they are not in conds.
	chance bool
}

// onLocal tells whether a key has computed values.
func onLocal(keys [][]sym) bool {
	return slices.ContainsFunc(keys, func(key []sym) bool {
		return slices.ContainsFunc(key, func(s sym) bool { return s.field == fieldRegs })
	})
}

// views returns the rules of a chain, and behind them the policy.
func (ch *chain) views(p *Program) []view {
	var out []view
	for _, r := range ch.rules {
		out = append(out, newView(p, r))
	}
	if b := ch.src.Base; b != nil {
		out = append(out, view{info: p.Rules[ch.policy], verdict: b.Policy, terminal: true})
	}
	return out
}

func newView(p *Program, r *rule) view {
	v := view{info: p.Rules[r.index]}
	for _, o := range r.ops {
		switch o := o.(type) {
		case *opMatch:
			if o.named != nil {
				// What is wrong with the rules does not depend on which
				// interfaces exist.
				o = o.named
			}
			switch {
			case len(o.elems) == 0 && !o.invert:
				v.never = true
			case len(o.elems) == 0:
			case onLocal(o.keys):
				v.chance = true
			case len(o.keys) == 1:
				v.conds = append(v.conds, newCondition(o))
			default:
				v.opaque = append(v.opaque, o)
			}
		case *opLookup:
			if onLocal(o.keys) {
				v.chance = true
			}
			v.opaque = append(v.opaque, o)
		case *opFact, *opAsk, *opDynset, opQuota:
			v.chance = true
		case opTransport:
			v.transport = max(v.transport, o.end)
		case opLimit:
			if o.shared {
				v.chance = true
			} else {
				v.limit = &p.Limits[o.index]
			}
		case *opVerdictMap:
			// What is behind it in the rule is for some packets only.
			v.jumps, v.chance = true, true
		case opMasquerade:
			v.verdict, v.terminal = nft.VerdictAccept, true
		case opVerdict:
			v.verdict = o.code
			v.terminal = o.code != nft.VerdictJump
			v.jumps = v.jumps || o.chain != nil
		}
	}
	return v
}

// lintRule looks at one rule of a chain.
func lintRule(rules []view, at int) *Warning {
	v := &rules[at]
	if v.never {
		return &Warning{Kind: NeverMatches}
	}
	for i := range rules[:at] {
		if r := &rules[i]; r.terminal && r.limit == nil && !r.never && v.within(r) {
			return &Warning{Kind: NeverReached, By: []RuleInfo{r.info}}
		}
	}
	if v.limit == nil || !v.terminal || v.jumps {
		return nil
	}
	if r := v.sameAnyway(rules[at+1:]); r != nil {
		return &Warning{Kind: LimitWithoutEffect, By: []RuleInfo{r.info}}
	}
	if by := v.bypass(rules[:at]); len(by) > 0 {
		return &Warning{Kind: LimitBypassed, By: by}
	}
	return nil
}

// within tells whether every packet that v matches is one that r matches.
func (v *view) within(r *view) bool {
	if r.transport > v.transport || r.chance {
		return false
	}
	for _, c := range r.conds {
		if !slices.ContainsFunc(v.conds, func(d condition) bool { return d.implies(c) }) {
			return false
		}
	}
	for _, o := range r.opaque {
		if !slices.ContainsFunc(v.opaque, func(d op) bool { return sameOp(d, o) }) {
			return false
		}
	}
	return true
}

// apart tells whether no packet matches both.
func (v *view) apart(r *view) bool {
	if v.never || r.never {
		return true
	}
	for _, c := range r.conds {
		if slices.ContainsFunc(v.conds, func(d condition) bool { return d.excludes(c) }) {
			return true
		}
	}
	return false
}

// sameAnyway returns the later rule that gives every packet, which the limit
// of v holds back, the verdict of v; or nil.
func (v *view) sameAnyway(later []view) *view {
	for i := range later {
		r := &later[i]
		switch {
		case r.never || v.apart(r):
		case r.jumps:
			return nil
		case !r.terminal:
		case r.verdict != v.verdict:
			return nil
		case r.limit == nil && v.within(r):
			return r
		}
	}
	return nil
}

// bypass returns the earlier rules that accept packets for which the limit of v
// is meant. Traffic of the host with itself does not count.
func (v *view) bypass(earlier []view) []RuleInfo {
	if v.verdict == nft.VerdictAccept == v.limit.Over || v.chance {
		return nil
	}
	var by []RuleInfo
	for i := range earlier {
		r := &earlier[i]
		if r.terminal && r.limit == nil && r.verdict == nft.VerdictAccept && !r.loopback() && !r.chance && !v.apart(r) {
			by = append(by, r.info)
		}
	}
	return by
}

// loopback tells whether the rule is about the loopback interface only.
func (v *view) loopback() bool {
	index, name := ifindexBytes(1), paddedName("lo", ifnameLen)
	byIndex := newCondition(&opMatch{keys: [][]sym{fieldBytes(fieldIif, 0, 4)}, elems: [][]span{{{index, index}}}})
	byName := newCondition(&opMatch{keys: [][]sym{ifname(fieldIif)}, elems: [][]span{{{name, name}}}})
	return slices.ContainsFunc(v.conds, func(c condition) bool { return c.implies(byIndex) || c.implies(byName) })
}
