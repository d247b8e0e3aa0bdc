// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// position is a place in the file, both parts from 1; zero when unknown.
type position struct {
	line, column int
}

func positionOf(n ast.Node) position {
	// A mapping's own token is the colon of its first entry.
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return positionOf(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return positionOf(m.Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

// node is a value of the file together with the path of its key.
type node struct {
	d   *decoder
	n   ast.Node
	key string
	to  *schema // what is found out of it, if the decoder describes
}

// field reads the value of one key.
type field func(node)

// fail records a problem with the value.
func (v node) fail(want string) { v.failf("", want) }

func (v node) failf(problem, want string) {
	if v.d.describes {
		v.to.told = true
		v.to.scalar(v)
		if problem == "" {
			v.to.say(want)
		}
		return
	}
	at := positionOf(v.n)
	v.d.add(Error{Line: at.line, Column: at.column, Key: v.key, Value: v.text(), Problem: problem, Want: want})
}

// text returns a scalar as written, or what kind of value it is.
func (v node) text() string {
	switch n := v.n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	if t := v.n.GetToken(); t != nil {
		return t.Value
	}
	return v.n.Type().String()
}

// mapping reads a mapping whose keys are those of fields and no others.
func (v node) mapping(fields map[string]field) bool {
	if v.d.describes {
		v.to.told = true
		if v.is("object") {
			v.to.mapping(v.d, fields)
		}
		return false
	}
	return v.entries("the keys "+keys(fields), func(name, value node) {
		read, ok := fields[name.text()]
		if !ok {
			at := positionOf(name.n)
			v.d.add(Error{Line: at.line, Column: at.column, Key: value.key, Problem: "unknown key", Want: "one of " + keys(fields)})
			return
		}
		if value.given(name) {
			read(value)
		}
	})
}

// given tells whether the key that is called name has a value.
func (v node) given(name node) bool {
	if _, null := v.n.(*ast.NullNode); !null && v.n != nil {
		return true
	}
	at := positionOf(name.n)
	v.d.add(Error{Line: at.line, Column: at.column, Key: v.key, Problem: "has no value",
		Want: "a value, or the key left out for its default"})
	return false
}

// pairs are the keys and values of a mapping; ok is false for anything else.
func (v node) pairs() (list []*ast.MappingValueNode, ok bool) {
	switch n := v.n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// entries reads a mapping with what is described, giving each entry to read: its
// name, and its value, which may be missing.
func (v node) entries(what string, read func(name, value node)) bool {
	if v.d.describes {
		v.to.told = true
		if v.is("object") {
			v.to.entries(v.d, read)
		}
		return false
	}
	entries, ok := v.pairs()
	if !ok {
		v.fail("a mapping with " + what)
		return false
	}
	seen := make(map[string]position, len(entries))
	for _, e := range entries {
		at := positionOf(e.Key)
		name := e.Key.GetToken().Value
		path := name
		if v.key != "" {
			path = v.key + "." + name
		}
		if first, again := seen[name]; again {
			v.d.add(Error{Line: at.line, Column: at.column, Key: path,
				Problem: fmt.Sprintf("given twice, first on line %d", first.line), Want: "each key once"})
			continue
		}
		seen[name] = at
		if value, ok := v.d.resolve(node{d: v.d, n: e.Value, key: path}); ok {
			read(node{d: v.d, n: e.Key, key: v.key}, value)
		}
	}
	return true
}

// resolve is the value itself where it has an anchor (&name), or is said to be that of
// one further up (*name).
func (d *decoder) resolve(v node) (_ node, ok bool) {
	switch n := v.n.(type) {
	case *ast.AnchorNode:
		if d.anchors == nil {
			d.anchors = map[string]ast.Node{}
		}
		d.anchors[n.Name.GetToken().Value] = n.Value
		v.n = n.Value
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		value, ok := d.anchors[name]
		if !ok {
			at := positionOf(n)
			d.add(Error{Line: at.line, Column: at.column, Key: v.key, Value: "*" + name, Problem: "no such anchor", Want: "one that stands before it, as &" + name})
			return v, false
		}
		v.n = value
	}
	return v, true
}

// list reads a list, giving each element to read.
func (v node) list(what string, read func(int, node)) bool {
	s, ok := v.n.(*ast.SequenceNode)
	if v.d.describes {
		v.to.told = true
		if ok {
			v.to.types["array"] = true
			v.to.items = v.d.describe(func(v node) { read(0, v) })
		}
		return ok
	}
	if !ok {
		v.fail("a list of " + what)
		return false
	}
	for i, e := range s.Values {
		if value, ok := v.d.resolve(node{d: v.d, n: e, key: fmt.Sprintf("%s[%d]", v.key, i)}); ok {
			read(i, value)
		}
	}
	return true
}

// str reads a text that accept, which says what it wants, agrees with.
func (v node) str(dst *string, want string, accept func(string) bool) {
	s, ok := v.n.(*ast.StringNode)
	if v.d.describes {
		v.to.told = true
		v.to.types["string"] = true
		v.to.say(want)
		return
	}
	if !ok || !accept(s.Value) {
		v.fail(want)
		return
	}
	*dst = s.Value
}

// oneOf reads one of a few words.
func (v node) oneOf(dst *string, words ...string) {
	if v.d.describes {
		v.to.told = true
		v.to.types["string"], v.to.words = true, words
		return
	}
	want := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	v.str(dst, want, func(s string) bool {
		for _, w := range words {
			if s == w {
				return true
			}
		}
		return false
	})
}

// boolean reads true or false.
func (v node) boolean(dst *bool) {
	if v.d.describes {
		v.to.told = true
		v.to.types["boolean"] = true
		return
	}
	b, ok := v.n.(*ast.BoolNode)
	if !ok || (b.Token.Value != "true" && b.Token.Value != "false") {
		v.fail("true or false")
		return
	}
	*dst = b.Value
}

// number reads a whole number in plain decimal digits: 010 is neither 8 nor 10.
func (v node) number(dst *uint32, least, most uint32) {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if v.d.describes {
		v.to.told = true
		v.to.types["integer"], v.to.limits = true, [2]uint64{uint64(least), uint64(most)}
		return
	}
	n, ok := v.n.(*ast.IntegerNode)
	if !ok {
		v.fail(want)
		return
	}
	s := n.Token.Value
	x, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strconv.FormatUint(x, 10) != s || uint32(x) < least || uint32(x) > most {
		v.fail(want)
		return
	}
	*dst = uint32(x)
}

// ports reads a list of ports.
func (v node) ports(dst *[]uint16) {
	v.list("ports, such as [51820]", func(_ int, v node) {
		var port uint32
		v.number(&port, 1, 65535)
		*dst = append(*dst, uint16(port))
	})
}

// portRange reads a list of the first and the last port.
func (v node) portRange(dst *[2]uint16) {
	var ports []uint16
	before := len(v.d.errs)
	v.ports(&ports)
	if len(v.d.errs) > before {
		return
	}
	if len(ports) != 2 || ports[0] > ports[1] {
		v.fail("the first and the last port, such as [32768, 60999]")
		return
	}
	*dst = [2]uint16(ports)
}

// seconds reads a duration with its unit, in whole seconds.
func (v node) seconds(dst *time.Duration) {
	want := fmt.Sprintf("a duration in whole seconds from 1s to %dh, such as 30s, 5m or 24h", int(MaxTimeout.Hours()))
	s, ok := v.n.(*ast.StringNode)
	if !ok {
		v.fail(want)
		return
	}
	x, err := time.ParseDuration(s.Value)
	if err != nil || x < MinTimeout || x > MaxTimeout || x%time.Second != 0 {
		v.fail(want)
		return
	}
	*dst = x
}

// keys lists what a mapping may have, in order.
func keys(fields map[string]field) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// within reads a duration in whole seconds between two others.
func (v node) within(dst *time.Duration, least, most time.Duration) {
	want := fmt.Sprintf("a duration in whole seconds from %v to %v", least, most)
	s, ok := v.n.(*ast.StringNode)
	if !ok {
		v.fail(want)
		return
	}
	x, err := time.ParseDuration(s.Value)
	if err != nil || x < least || x > most || x%time.Second != 0 {
		v.fail(want)
		return
	}
	*dst = x
}
