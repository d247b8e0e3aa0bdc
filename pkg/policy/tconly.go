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
	var chains []*chain
	for _, ph := range c.p.phases {
		if slices.Contains(xdpPhases, ph.function) {
			chains = append(chains, ph.chains...)
		}
	}
	c.walk(chains, func(r *rule) {
		for _, o := range r.ops {
			if t, ok := o.(tcOnly); ok {
				c.p.TCOnly = append(c.p.TCOnly, TCOnly{c.p.Rules[r.index], t.why()})
			}
		}
	})
}

// walk calls fn once for each rule of chains and of those that they jump to.
func (c *compiler) walk(chains []*chain, fn func(r *rule)) {
	seen := make(map[*chain]bool)
	var visit func(ch *chain)
	visit = func(ch *chain) {
		if seen[ch] {
			return
		}
		seen[ch] = true
		for _, r := range ch.rules {
			fn(r)
			for _, t := range r.targets() {
				visit(c.p.chains[t])
			}
		}
	}
	for _, ch := range chains {
		visit(ch)
	}
}
