// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"iter"
	"slices"
)

// TCOnly is a rule that XDP programs cannot run.
type TCOnly struct {
	Rule RuleInfo
	// Why says what XDP lacks.
	Why string
}

// String says which rule it is, and why.
func (t TCOnly) String() string {
	return fmt.Sprintf("table %s chain %s: %q: %s", t.Rule.Table, t.Rule.Chain, t.Rule.Text, t.Why)
}

// TCOnlyTexts returns the rules of TCOnly as text.
func (p *Program) TCOnlyTexts() []string {
	var texts []string
	for _, t := range p.TCOnly {
		texts = append(texts, t.String())
	}
	return texts
}

// xdpPhases are the policy functions that the XDP program runs: all that a
// forwarded packet of a confirmed flow meets.
var xdpPhases = []string{
	"policy_prerouting_raw", "policy_prerouting_early", "policy_prerouting",
	"policy_forward", "policy_postrouting", "policy_postrouting_late",
}

// findTCOnly notes the rules that keep XDP from running the ruleset, and whether there
// it can come to one that rejects.
func (c *compiler) findTCOnly() {
	c.visitXDP(xdpPhases, func(r *rule, o op) {
		switch o := o.(type) {
		case tcOnly:
			if t := (TCOnly{c.p.Rules[r.index], o.why()}); !slices.Contains(c.p.TCOnly, t) {
				c.p.TCOnly = append(c.p.TCOnly, t)
			}
		case opReject:
			c.p.rejectsAtXDP = true
		}
	})
	for _, ph := range c.p.phases {
		// What is rejected behind them at XDP would meet them again at TC.
		early := c.p.early&earlyBits[ph.function] != 0 && !c.p.rejectsAtXDP
		if !isDeviceHook(ph.hook) || early {
			continue
		}
		for _, ch := range ph.chains {
			c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[ch.policy], fmt.Sprintf("the hook %v is TC's", ph.hook)})
		}
	}
	c.findTCOnlyBeforeRoute()
}

// beforeRoute are the phases that come before the choice of a route, which XDP
// makes first.
var beforeRoute = []string{"policy_prerouting_raw", "policy_prerouting_early", "policy_prerouting"}

// findTCOnlyBeforeRoute notes the rules that may change the route.
func (c *compiler) findTCOnlyBeforeRoute() {
	c.visitXDP(beforeRoute, func(r *rule, o op) {
		if s, ok := o.(*opSet); ok && s.field == fieldMark {
			c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[r.index], "XDP asks the routing table, which may go by the mark, before its chains"})
		}
	})
}

// visit calls fn with each operation in the chains that some phases reach, once.
func (c *compiler) visit(functions []string, fn func(*rule, op)) {
	seen := make(map[*chain]bool)
	for _, ph := range c.p.phases {
		if slices.Contains(functions, ph.function) {
			c.visitChains(ph.chains, whole, seen, fn)
		}
	}
}

// visitXDP calls fn with what is left of them at XDP. A chain of which more is left
// before conntrack than behind it is visited twice.
func (c *compiler) visitXDP(functions []string, fn func(*rule, op)) {
	seen := map[bool]map[*chain]bool{false: make(map[*chain]bool), true: make(map[*chain]bool)}
	for _, ph := range c.p.phases {
		if slices.Contains(functions, ph.function) {
			known := ph.facts(true, true)
			reach := func(rules []*rule) iter.Seq2[*rule, []op] { return known.reach(rules, c.p) }
			c.visitChains(ph.chains, reach, seen[known.steady], fn)
		}
	}
}

// whole goes through rules with all that they do.
func whole(rules []*rule) iter.Seq2[*rule, []op] {
	return func(yield func(*rule, []op) bool) {
		for _, r := range rules {
			if !yield(r, r.ops) {
				return
			}
		}
	}
}

func (c *compiler) visitChains(chains []*chain, reach func([]*rule) iter.Seq2[*rule, []op], seen map[*chain]bool, fn func(*rule, op)) {
	for _, ch := range chains {
		if seen[ch] {
			continue
		}
		seen[ch] = true
		for r, ops := range reach(ch.rules) {
			for _, o := range ops {
				fn(r, o)
			}
			for _, t := range targetsOf(ops) {
				c.visitChains([]*chain{c.p.chains[t]}, reach, seen, fn)
			}
		}
	}
}
