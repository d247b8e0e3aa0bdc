// SPDX-License-Identifier: GPL-2.0-only

package nft

// Ruleset is a whole ruleset, in the order in which the kernel holds it.
type Ruleset struct {
	// Tables in the order of their creation.
	Tables []*Table
	// Generation is the number of the transaction that the kernel's ruleset
	// was read at; 0 for one of a file.
	Generation uint32

	listing []listingLine
}

// Table returns the table, or nil.
func (r *Ruleset) Table(family Family, name string) *Table {
	for _, t := range r.Tables {
		if t.Family == family && t.Name == name {
			return t
		}
	}
	return nil
}

// Rules returns every rule, in the order of tables, chains and rules.
func (r *Ruleset) Rules() []*Rule {
	var rules []*Rule
	for _, t := range r.Tables {
		for _, c := range t.Chains {
			rules = append(rules, c.Rules...)
		}
	}
	return rules
}
