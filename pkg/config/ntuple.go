// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// NTuple is a rule that sorts packets before all else.
type NTuple struct {
	ntuple.Rule
	// Interfaces are those that packets come in by: some of the dataplane's.
	Interfaces []string `json:"interfaces"`

	at, actionAt, vlanAt position
	index                int
}

func (t *NTuple) error(file string, p position, key string) Error {
	return Error{File: file, Line: p.line, Column: p.column, Key: fmt.Sprintf("dataplane.ntuple[%d]%s", t.index, key)}
}

// At is an error with the place of the rule in a file, ActionAt with that of its action
// and VLANAt with that of its VLAN.
func (t *NTuple) At(file string) Error { return t.error(file, t.at, "") }

// ActionAt is described at [NTuple.At].
func (t *NTuple) ActionAt(file string) Error { return t.error(file, t.actionAt, ".action") }

// VLANAt is described at [NTuple.At].
func (t *NTuple) VLANAt(file string) Error { return t.error(file, t.vlanAt, ".match.vlan") }

func (d *decoder) ntuples(v node, c *Dataplane) {
	c.NTuple = []NTuple{}
	v.list("rules, such as {match: {proto: tcp, dport: 135}, action: drop}", func(i int, v node) {
		t := NTuple{at: positionOf(v.n), index: i}
		before := len(d.errs)
		ok := v.mapping(map[string]field{
			"match": func(v node) { v.match(&t) },
			"action": func(v node) {
				t.actionAt = positionOf(v.n)
				v.action(&t.Rule)
			},
			"interfaces": func(v node) { v.names(&t.Interfaces) },
		})
		switch {
		case !ok || len(d.errs) > before:
		case t.Action == "":
			d.add(Error{Line: t.at.line, Column: t.at.column, Key: v.key + ".action", Problem: "is missing", Want: actionWant})
		case t.Action == ntuple.Drop && t.MatchText() == "all":
			v.failf("drops all packets", "something that it matches")
		default:
			c.NTuple = append(c.NTuple, t)
		}
	})
}

// bindNTuples gives rules without interfaces all of them, and checks the others'.
func (d *decoder) bindNTuples(c *Dataplane) {
	var all []string
	for _, i := range c.Interfaces {
		all = append(all, i.Name)
	}
	type match struct{ nic, text string }
	seen := map[match]int{}
	for n := range c.NTuple {
		t := &c.NTuple[n]
		if t.Interfaces == nil {
			t.Interfaces = all
		}
		for _, name := range t.Interfaces {
			if !slices.Contains(all, name) && d.sound("dataplane.interfaces") {
				e := t.error("", t.at, ".interfaces")
				e.Value, e.Want = name, "some of dataplane.interfaces: "+strings.Join(all, ", ")
				d.add(e)
			}
			for _, r := range t.Families() {
				m := match{name, r.MatchText()}
				if first, again := seen[m]; again {
					e := t.At("")
					e.Problem, e.Want = fmt.Sprintf("matches %s of %s, as the rule on line %d does", m.text, name, first), "each match once: the first rule decides"
					d.add(e)
					break
				}
				seen[m] = t.at.line
			}
		}
	}
}

func (v node) names(dst *[]string) {
	const want = "interfaces, such as [eth0, eth1]"
	v.list(want, func(_ int, v node) {
		var name string
		before := len(v.d.errs)
		if v.str(&name, want, isInterfaceName); len(v.d.errs) > before {
			return
		}
		if slices.Contains(*dst, name) {
			v.failf("given twice", want)
			return
		}
		*dst = append(*dst, name)
	})
	if s, ok := v.n.(*ast.SequenceNode); ok && len(s.Values) == 0 {
		v.fail(want)
	}
}

// match reads what a rule matches.
func (v node) match(t *NTuple) {
	r := &t.Rule
	var proto, ports node
	port := func(to *uint16) field {
		return func(v node) {
			var n uint32
			v.number(&n, 1, 65535)
			*to, ports = uint16(n), v
		}
	}
	prefix := func(v node) (r ntuple.Rule) {
		var text string
		v.str(&text, "an address or a prefix, such as 192.0.2.0/24", func(s string) bool {
			var err error
			r.Src, err = ntuple.ParsePrefix(s)
			return err == nil
		})
		return r
	}
	before := len(v.d.errs)
	v.mapping(map[string]field{
		"proto": func(v node) { proto = v; v.protocol(r) },
		"src":   func(v node) { r.Src = prefix(v).Src },
		"dst":   func(v node) { r.Dst = prefix(v).Src },
		"sport": port(&r.SrcPort),
		"dport": port(&r.DstPort),
		"vlan": func(v node) {
			var n uint32
			t.vlanAt = positionOf(v.n)
			v.number(&n, 1, 4094)
			r.VLAN, r.Tagged = uint16(n), true
		},
	})
	if len(v.d.errs) > before {
		return
	}
	if ports.n != nil && !ntuple.HasPorts(r.Proto) {
		ports.failf("a port of no protocol that has them", "proto: tcp, udp or sctp beside it")
	}
	for _, p := range []struct{ is4, valid bool }{{r.Src.Addr().Is4(), r.Src.IsValid()}, {r.Dst.Addr().Is4(), r.Dst.IsValid()}} {
		family := 6
		if p.is4 {
			family = 4
		}
		switch {
		case !p.valid:
		case r.Family != 0 && r.Family != family:
			if proto.n == nil {
				proto = v
			}
			proto.failf("addresses of another family", "all of IPv4 or all of IPv6")
			return
		default:
			r.Family = family
		}
	}
}

func (v node) protocol(r *ntuple.Rule) {
	var word string
	if n, ok := v.n.(*ast.IntegerNode); ok {
		word = n.Token.Value
	} else if s, ok := v.n.(*ast.StringNode); ok {
		word = s.Value
	}
	var err error
	if r.Proto, r.Family, err = ntuple.Protocol(word); err != nil {
		v.fail(ntuple.ProtocolWords)
	}
}

const actionWant = "drop, queue N, or cpu N, of which N can be a list such as 0-3,8 that shares the flows"

// action reads what becomes of packets.
func (v node) action(r *ntuple.Rule) {
	s, ok := v.n.(*ast.StringNode)
	if !ok {
		v.fail(actionWant)
		return
	}
	word, number, _ := strings.Cut(s.Value, " ")
	var err error
	switch r.Action = ntuple.Action(word); {
	case s.Value == string(ntuple.Drop):
	case r.Action == ntuple.ToQueue:
		r.Queue, err = decimal(number, maxQueue)
	case r.Action == ntuple.ToCPU:
		if r.CPUs, err = cpus.Parse(number); err == nil && (len(r.CPUs) == 0 || len(r.CPUs) > ntuple.MaxCPUs) {
			err = fmt.Errorf("%d CPUs", len(r.CPUs))
		}
	default:
		v.fail(actionWant)
		return
	}
	if err != nil {
		v.failf(err.Error(), actionWant)
	}
}
