// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"slices"
	"strings"
)

// setLines gives the rules the lines they have in the file, chain by chain,
// where that is beyond doubt: the file must have just as many rules in a chain
// as the kernel, each with the same verdict. It must not include others or
// change chains by commands.
func setLines(rs *Ruleset, text string) {
	src := parseSource(text)
	if src == nil {
		return
	}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			rules := src[sourceChain{t.Family, t.Name, c.Name}]
			if !sameRules(rules, c.Rules) {
				continue
			}
			for i, r := range c.Rules {
				r.Line = rules[i].line
			}
		}
	}
}

// sameRules tells whether statements of the file can be these rules.
func sameRules(src []statement, rules []*Rule) bool {
	if len(src) != len(rules) {
		return false
	}
	for i, s := range src {
		// A definition may stand for the verdict.
		if strings.Contains(s.text, "$") {
			continue
		}
		if verdictOf(s.text) != verdictOf(rules[i].Text) {
			return false
		}
	}
	return true
}

// verdictOf returns the verdict that a rule ends with, or nothing.
func verdictOf(rule string) string {
	if i := strings.LastIndex(rule, ` comment "`); i >= 0 {
		rule = rule[:i]
	}
	words := strings.Fields(rule)
	n := len(words)
	switch {
	case n == 0:
		return ""
	case slices.Contains([]string{"accept", "drop", "return", "continue"}, words[n-1]):
		return words[n-1]
	case n > 1 && (words[n-2] == "jump" || words[n-2] == "goto"):
		return words[n-2] + " " + words[n-1]
	}
	return ""
}
