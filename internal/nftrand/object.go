// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Counters, quotas and limits with a name, and quotas without.

func init() {
	statement := func(text func(r *Generator, s *Scope) string) {
		RegisterStatements(Fragment{Area: "object", Families: Everywhere, Text: text})
	}
	statement(func(r *Generator, s *Scope) string { return "counter name " + s.object("counter", "n1", "") })
	statement(func(r *Generator, s *Scope) string { return r.quota() })
	statement(func(r *Generator, s *Scope) string {
		return "quota name " + s.object("quota", "q1", r.quota()[len("quota "):])
	})
	statement(func(r *Generator, s *Scope) string {
		return "limit name " + s.object("limit", "l1", fmt.Sprintf("rate %s1/day burst %d packets", r.Pick("", "over "), 1+r.IntN(200)))
	})
	RegisterStatements(Fragment{Area: "object", Net: "4", Text: func(r *Generator, s *Scope) string {
		s.object("quota", "q1", "over 2000 bytes")
		s.object("quota", "q2", "3000 bytes")
		return fmt.Sprintf("quota name ip saddr map { %s : %q, 10.0.0.0/8 : %q }", "192.168.1.50", "q1", "q2")
	}})
}

func (r *Generator) quota() string {
	return fmt.Sprintf("quota %s%d bytes", r.Pick("", "over "), 1+r.IntN(9000))
}

// object declares one, and returns its name as a rule has it.
func (s *Scope) object(kind, name, body string) string {
	return fmt.Sprintf("%q", s.Declare(name, func() string { return fmt.Sprintf("%s %s { %s }", kind, name, body) }))
}
