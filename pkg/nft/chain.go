// SPDX-License-Identifier: GPL-2.0-only

package nft

// Chain is a chain of rules.
type Chain struct {
	Table *Table
	Name  string
	// Base is nil for a regular chain.
	Base  *Base
	Rules []*Rule
}

// Base says where a base chain is attached.
type Base struct {
	// Type is "filter", "nat" or "route".
	Type string
	Hook Hook
	// Priority orders the base chains of a hook, lowest first.
	Priority int32
	// Policy is what happens to a packet that no rule decided.
	Policy VerdictCode
	// Devices of a chain at the hook ingress or egress, with a * at the end for
	// all whose names begin so.
	Devices []string
}

// HookName returns the hook as nft writes it; empty for a regular chain. Some
// families number their hooks in another way.
func (c *Chain) HookName() string {
	if c.Base == nil {
		return ""
	}
	names := map[Family][]string{
		FamilyARP: {"input", "output", "forward"},
	}[c.Table.Family]
	if int(c.Base.Hook) < len(names) {
		return names[c.Base.Hook]
	}
	return c.Base.Hook.String()
}
