// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"strings"
)

// FollowedSet is a named set of the ruleset that has the networks, or the addresses, of an interface.
type FollowedSet struct {
	// Family is that of the table, in nft's words.
	Family string `json:"family"`
	Table  string `json:"table"`
	Set    string `json:"set"`
	// Interface need not be there: it has no address then.
	Interface string `json:"interface"`

	at position
}

// Name is how nft names the set.
func (f *FollowedSet) Name() string { return f.Family + " " + f.Table + " " + f.Set }

// At is an error with the place of the set in a file.
func (f *FollowedSet) At(file string) Error {
	return Error{File: file, Line: f.at.line, Column: f.at.column, Key: "dataplane.sets", Value: f.Name()}
}

func (d *decoder) followedSets(v node, c *Dataplane) {
	const want = `the family, table and name of a set, such as "inet filter lan6"`
	first := make(map[string]position)
	v.list(`sets that follow interfaces, such as [{set: "inet filter lan6", interface: br0}]`, func(_ int, v node) {
		f := FollowedSet{at: positionOf(v.n)}
		before := len(d.errs)
		var name string
		ok := v.mapping(map[string]field{
			"set":       func(v node) { v.str(&name, want, isSetName); f.at = positionOf(v.n) },
			"interface": func(v node) { v.str(&f.Interface, "an interface's name", isInterfaceName) },
		})
		if !ok || len(d.errs) > before {
			return
		}
		missing := func(key, want string) {
			d.add(Error{Line: f.at.line, Column: f.at.column, Key: v.key + "." + key, Problem: "is missing", Want: want})
		}
		other, again := first[name]
		switch {
		case name == "":
			missing("set", want)
		case f.Interface == "":
			missing("interface", "the interface whose networks, or addresses, the set is to have")
		case again:
			v.failf(fmt.Sprintf("%s follows an interface already, on line %d", name, other.line), "each set once")
		default:
			first[name] = f.at
			words := strings.Fields(name)
			f.Family, f.Table, f.Set = words[0], words[1], words[2]
			c.Sets = append(c.Sets, f)
		}
	})
}

// isSetName tells three words, of which the first is a family that sets can be in.
func isSetName(s string) bool {
	w := strings.Fields(s)
	return len(w) == 3 && strings.Join(w, " ") == s && (w[0] == "inet" || w[0] == "ip" || w[0] == "ip6")
}
