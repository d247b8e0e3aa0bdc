// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// DefaultStateDir is where what has to outlive the daemon is, if it is about more
// than the dataplane.
const DefaultStateDir = "/var/lib/l2d"

// Host is the state of the host that is declared, around the dataplane.
type Host struct {
	// StateDir has what it takes to undo a change that is not final.
	StateDir string `json:"state_dir"`
	// Sysctls are in the order of the file.
	Sysctls []Sysctl `json:"sysctl,omitempty"`
}

// Sysctl is a kernel setting, or some that a pattern names.
type Sysctl struct {
	// Name as in sysctl.d(5); a part of it can be *.
	Name  string `json:"name"`
	Value string `json:"value"`
	// Enforce has it set again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`

	at position
}

// At is an error with the place of the setting in a file.
func (s *Sysctl) At(file string) Error {
	return Error{File: file, Line: s.at.line, Column: s.at.column, Key: "host.sysctl." + s.Name}
}

func (d *decoder) host(v node, c *Host) {
	v.mapping(map[string]field{
		"state_dir": func(v node) { v.str(&c.StateDir, "an absolute path, such as "+DefaultStateDir, isCleanAbs) },
		"sysctl":    func(v node) { d.sysctls(v, c) },
	})
}

func (d *decoder) sysctls(v node, c *Host) {
	v.entries("sysctls, such as {net.ipv4.ip_forward: 1}", func(name, v node) {
		s := Sysctl{Name: name.text(), at: positionOf(name.n)}
		before := len(d.errs)
		if !v.given(name) {
			return
		}
		if !isSysctl(s.Name) {
			name.fail("a name such as net.ipv4.ip_forward, or a pattern such as net.ipv4.conf.*.rp_filter")
			return
		}
		switch v.n.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			v.mapping(map[string]field{
				"value":   func(v node) { v.scalar(&s.Value) },
				"enforce": func(v node) { v.boolean(&s.Enforce) },
			})
			if s.Value == "" && len(d.errs) == before {
				at := positionOf(v.n)
				d.add(Error{Line: at.line, Column: at.column, Key: v.key + ".value", Problem: "is missing", Want: "the value of the sysctl"})
			}
		default:
			v.scalar(&s.Value)
		}
		if len(d.errs) == before {
			c.Sysctls = append(c.Sysctls, s)
		}
	})
}

// isSysctl tells whether a name can be one, without a look at the host. Its parts
// are separated by what comes first in it, a dot or a slash.
func isSysctl(s string) bool {
	i := strings.IndexAny(s, "./")
	if i < 0 || strings.ContainsAny(s, " \t\n\x00") {
		return false
	}
	for _, part := range strings.Split(s, s[i:i+1]) {
		if part == "" || part == ".." || strings.Contains(part, "*") && part != "*" {
			return false
		}
	}
	return true
}

// scalar reads a number in plain decimal digits, or a text of one line.
func (v node) scalar(dst *string) {
	const want = "a number in decimal digits, or a text of one line; other numbers in quotes"
	switch n := v.n.(type) {
	case *ast.IntegerNode:
		x, err := strconv.ParseInt(n.Token.Value, 10, 64)
		if err != nil || strconv.FormatInt(x, 10) != n.Token.Value {
			v.fail(want)
			return
		}
		*dst = n.Token.Value
	case *ast.StringNode:
		if n.Value == "" || strings.ContainsAny(n.Value, "\n\x00") {
			v.fail(want)
			return
		}
		*dst = n.Value
	default:
		v.fail(want)
	}
}
