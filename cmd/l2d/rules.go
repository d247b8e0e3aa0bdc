// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// Rules implements api.Service.
func (d *daemon) Rules(context.Context) (api.Rules, error) {
	plan, dp := d.state()
	if dp == nil {
		return api.Rules{}, errDetached
	}
	counters, err := dp.Counters()
	if err != nil {
		return api.Rules{}, err
	}
	return countedRules(plan.Ruleset, plan.Program.Rules, counters)
}

// RuleCounts implements metrics.Source.
func (d *daemon) RuleCounts(context.Context) ([]api.Rule, error) {
	plan, dp := d.state()
	if dp == nil {
		return nil, errDetached
	}
	counters, err := dp.Counters()
	if err != nil {
		return nil, err
	}
	return ruleCounts(plan.Program.Rules, counters)
}

// ruleCounts joins rules with their counters.
func ruleCounts(infos []policy.RuleInfo, counters []loader.Counter) ([]api.Rule, error) {
	if len(counters) < len(infos) {
		return nil, fmt.Errorf("%d counters for %d rules: the policy has changed meanwhile", len(counters), len(infos))
	}
	rules := make([]api.Rule, len(infos))
	for i, info := range infos {
		c := counters[info.Index]
		rules[i] = apiRule(info)
		rules[i].Packets, rules[i].Bytes = c.Packets, c.Bytes
	}
	return rules, nil
}

// apiRule is a rule without what it has counted.
func apiRule(info policy.RuleInfo) api.Rule {
	family, table, _ := strings.Cut(info.Table, " ")
	return api.Rule{
		Family: family, Table: table, Chain: info.Chain, Handle: info.Handle, Text: info.Text,
		Line: info.Line, Policy: info.Handle == 0 && info.Chain != "",
	}
}

// ruleKey names a rule: handles are unique within a table.
type ruleKey struct {
	table  string
	handle uint64
}

// countedRules joins a ruleset with the counters of its rules.
func countedRules(rs *nft.Ruleset, infos []policy.RuleInfo, counters []loader.Counter) (api.Rules, error) {
	rules, err := ruleCounts(infos, counters)
	if err != nil {
		return api.Rules{}, err
	}
	out := api.Rules{Rules: rules}
	byRule := make(map[ruleKey]loader.Counter, len(infos))
	for _, info := range infos {
		if info.Handle != 0 {
			byRule[ruleKey{info.Table, info.Handle}] = counters[info.Index]
		}
	}
	var text strings.Builder
	err = rs.Render(&text, func(r *nft.Rule) (packets, bytes uint64, ok bool) {
		c, ok := byRule[ruleKey{r.Chain.Table.String(), r.Handle}]
		return c.Packets, c.Bytes, ok
	})
	out.Text = text.String()
	return out, err
}
