// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// schema is what may be the value of a key, as it is found out by having the functions
// that read values read samples of each kind: they tell of the keys of a mapping, and
// of the words and numbers that they accept, instead of looking at the sample.
type schema struct {
	types  map[string]bool // of JSON
	keys   map[string]*schema
	other  *schema // values of keys with any name
	items  *schema
	words  []string
	limits [2]uint64 // of a number
	want   []string  // what it should be, in words
	told   bool      // something was told of the sample that is read
	open   bool      // a mapping that has been looked at by itself
}

// samples are values of all kinds that there are.
var samples = func() []ast.Node {
	var list []ast.Node
	for _, text := range []string{"x", "0", "true", "[]", "{}"} {
		file, err := parser.ParseBytes([]byte(text), 0)
		if err != nil {
			panic(err) // it is YAML
		}
		list = append(list, file.Docs[0].Body)
	}
	return list
}()

// sampleKeys are keys that a mapping may have where it takes any: for those that look at
// them, an interface, a CPU, a sysctl and a route.
var sampleKeys = []string{"x0", "0", "a.b", "10.0.0.0/8"}

// describe finds out what a function reads.
func (d *decoder) describe(read field) *schema {
	s := &schema{types: map[string]bool{}}
	for _, sample := range samples {
		v := node{d: d, n: sample, to: s}
		s.told = false
		if read(v); s.told {
			continue
		}
		// The function has looked at it by itself, and takes it.
		switch {
		case v.is("object"):
			s.types["object"], s.open = true, true
		case v.is("array"), v.is("boolean"):
			s.types[v.kind()] = true
		default:
			s.scalar(v)
		}
	}
	return s
}

// scalar notes a word or a number that a function has looked at by itself.
func (s *schema) scalar(v node) {
	if v.is("string") || v.is("integer") {
		s.types["string"], s.types["integer"] = true, true
	}
}

func (s *schema) say(want string) {
	if want != "" && !slices.Contains(s.want, want) {
		s.want = append(s.want, want)
	}
}

// mapping notes the keys of a mapping.
func (s *schema) mapping(d *decoder, fields map[string]field) {
	s.types["object"] = true
	if s.keys == nil {
		s.keys = map[string]*schema{}
	}
	for name, read := range fields {
		s.keys[name] = d.describe(read)
	}
}

// entries notes what may be behind any key.
func (s *schema) entries(d *decoder, read func(name, value node)) {
	s.types["object"] = true
	for _, name := range sampleKeys {
		key := &schema{types: map[string]bool{}}
		file, err := parser.ParseBytes([]byte(fmt.Sprintf("%q", name)), 0)
		if err != nil {
			panic(err) // it is YAML
		}
		o := d.describe(func(v node) { read(node{d: d, n: file.Docs[0].Body, to: key}, v) })
		if s.other == nil || o.says() > s.other.says() {
			s.other = o
		}
	}
}

// says is how much is known of a value.
func (s *schema) says() int { return len(s.types) + len(s.keys) + len(s.want) }

// kind is the type of a sample.
func (v node) kind() string {
	switch v.n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "object"
	case *ast.SequenceNode:
		return "array"
	case *ast.BoolNode:
		return "boolean"
	case *ast.IntegerNode:
		return "integer"
	}
	return "string"
}

func (v node) is(kind string) bool { return v.kind() == kind }

// MarshalJSON implements [json.Marshaler]: JSON Schema, draft 2020-12.
func (s *schema) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	if len(s.want) > 0 {
		out["description"] = strings.Join(s.want, "; ")
	}
	types := slices.Sorted(maps.Keys(s.types))
	if len(s.words) > 0 && len(types) == 1 {
		out["enum"] = s.words
		return json.Marshal(out)
	}
	if len(types) == 0 { // no function tells the kind of
		types = []string{"integer", "string"}
	}
	out["type"] = types
	if len(types) == 1 {
		out["type"] = types[0]
	}
	if s.types["object"] && !s.open {
		out["additionalProperties"] = false
		if s.other != nil {
			out["additionalProperties"] = s.other
		}
		if s.keys != nil {
			out["properties"] = s.keys
		}
	}
	if s.items != nil {
		out["items"] = s.items
	}
	if s.types["integer"] && s.limits[1] > 0 {
		out["minimum"], out["maximum"] = s.limits[0], s.limits[1]
	}
	return json.Marshal(out)
}

// Schema is a JSON Schema of the file, for editors. It accepts whatever l2d accepts, and
// refuses keys, words and numbers that it does not; "l2ctl check" refuses more.
func Schema() ([]byte, error) {
	d := &decoder{describes: true}
	cfg := Default()
	root := d.describe(func(v node) { d.config(v, &cfg) })
	body, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, err
	}
	out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	out["title"] = "l2d.yaml"
	out["required"] = []string{"dataplane"}
	delete(out, "description")
	return json.MarshalIndent(out, "", "  ")
}
