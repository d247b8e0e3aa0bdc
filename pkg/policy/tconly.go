// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
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

// findTCOnly notes the rules that keep XDP from running the ruleset.
func (c *compiler) findTCOnly() {
	seen := make(map[*chain]bool)
	for _, ph := range c.p.phases {
		// What is rejected behind them at XDP would meet them again at TC.
		early := c.p.early&earlyBits[ph.function] != 0 && !c.p.rejects
		if isDeviceHook(ph.hook) && !early {
			for _, ch := range ph.chains {
				c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[ch.policy], fmt.Sprintf("the hook %v is TC's", ph.hook)})
			}
		}
		if !slices.Contains(xdpPhases, ph.function) {
			continue
		}
		for _, ch := range ph.chains {
			c.tcOnlyIn(ch, seen)
		}
	}
	c.findTCOnlyBeforeRoute()
}

// beforeRoute are the phases that come before the choice of a route, which XDP
// makes first.
var beforeRoute = []string{"policy_prerouting_raw", "policy_prerouting_early", "policy_prerouting"}

// findTCOnlyBeforeRoute notes the rules that may change the route.
func (c *compiler) findTCOnlyBeforeRoute() {
	c.visit(beforeRoute, func(r *rule, o op) {
		if s, ok := o.(*opSet); ok && s.field == fieldMark {
			c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[r.index], "XDP asks the routing table, which may go by the mark, before its chains"})
		}
	})
}

// visit calls fn with each operation in the chains that some phases reach, once.
func (c *compiler) visit(functions []string, fn func(*rule, op)) {
	seen := make(map[*chain]bool)
	var in func(ch *chain)
	in = func(ch *chain) {
		if seen[ch] {
			return
		}
		seen[ch] = true
		for _, r := range ch.rules {
			for _, o := range r.ops {
				fn(r, o)
			}
			for _, t := range r.targets() {
				in(c.p.chains[t])
			}
		}
	}
	for _, ph := range c.p.phases {
		if !slices.Contains(functions, ph.function) {
			continue
		}
		for _, ch := range ph.chains {
			in(ch)
		}
	}
}

func (c *compiler) tcOnlyIn(ch *chain, seen map[*chain]bool) {
	if seen[ch] {
		return
	}
	seen[ch] = true
	for _, r := range ch.rules {
		for _, o := range r.ops {
			if t, ok := o.(tcOnly); ok {
				c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[r.index], t.why()})
			}
		}
		for _, t := range r.targets() {
			c.tcOnlyIn(c.p.chains[t], seen)
		}
	}
}
