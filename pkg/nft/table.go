// SPDX-License-Identifier: GPL-2.0-only

package nft

import "slices"

// Table is a table with what it holds.
type Table struct {
	Family Family
	Name   string
	// Handle is the table's number: one of the same name that takes its place
	// has another.
	Handle uint64
	// Dormant tables have no effect on packets.
	Dormant bool
	// Owned tables belong to a process, and can be changed by no other.
	Owned bool
	// Comment of the table.
	Comment string
	// Chains in the order of their creation.
	Chains []*Chain
	// Sets and maps, anonymous ones included.
	Sets []*Set
	// Objects are the named counters, quotas and limits, and others.
	Objects []*Object
}

// Object returns the object of that type and name, or nil: each type has names
// of its own.
func (t *Table) Object(typ ObjectType, name string) *Object {
	for _, o := range t.Objects {
		if o.Type == typ && o.Name == name {
			return o
		}
	}
	return nil
}

// String returns "family name".
func (t *Table) String() string { return t.Family.String() + " " + t.Name }

// Filters tells whether the table has a chain that packets meet.
func (t *Table) Filters() bool {
	return slices.ContainsFunc(t.Chains, func(c *Chain) bool { return c.Base != nil })
}

// Chain returns the chain of that name, or nil.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Set returns the set or map of that name, or nil.
func (t *Table) Set(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}
