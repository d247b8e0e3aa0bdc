// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/randomizedcoder/l2d/internal/nearest"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// Qdisc is the queueing discipline of a network interface.
type Qdisc struct {
	Name string `json:"name"`
	// Optional says that the interface may be absent.
	Optional bool `json:"optional,omitempty"`
	// Enforce has it put there again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`
	// Root has the kind and the options of the root, by the names of package tcnl;
	// with "queues " in front those of the qdiscs of an mq's queues. It is empty if
	// only what comes in is declared.
	Root map[string]string `json:"root"`
	// Ingress has those of the qdisc that what comes in goes through; nil: nothing is.
	Ingress map[string]string `json:"ingress,omitempty"`

	at, ingressAt position
}

// At is an error with the place of the interface in a file.
func (q *Qdisc) At(file string) Error {
	return Error{File: file, Line: q.at.line, Column: q.at.column, Key: "host.qdiscs." + q.Name}
}

// defaultQdisc as a kind is what the kernel has by itself.
const defaultQdisc = "default"

func (d *decoder) qdiscs(v node, c *Host) {
	v.entries("interfaces by name, such as {eth0: fq_codel}", func(name, v node) {
		if !v.given(name) {
			return
		}
		q := Qdisc{Name: name.text(), Root: map[string]string{}, at: positionOf(name.n)}
		if !isInterfaceName(q.Name) {
			name.fail("an interface name of 1 to 15 characters without spaces, / or :, other than lo")
			return
		}
		before := len(d.errs)
		if _, word := v.n.(*ast.StringNode); word {
			v.qdisc(q.Root, "", rootPlace)
		} else {
			v.mapping(map[string]field{
				"optional": func(v node) { v.boolean(&q.Optional) },
				"enforce":  func(v node) { v.boolean(&q.Enforce) },
				"root":     func(v node) { v.qdisc(q.Root, "", rootPlace) },
				"ingress":  func(v node) { d.ingress(v, &q) },
			})
		}
		if len(d.errs) == before && len(q.Root) == 0 && q.Ingress == nil {
			d.add(Error{Line: q.at.line, Column: q.at.column, Key: v.key + ".root", Problem: "is missing", Want: "the qdisc of the interface, such as {kind: fq_codel}"})
		}
		if len(d.errs) == before {
			c.Qdiscs = append(c.Qdiscs, q)
		}
	})
}

// fifos are qdiscs that packets may go past: they send in the order of arrival.
var fifos = []string{"", defaultQdisc, "noqueue", "pfifo", "bfifo", "pfifo_fast"}

// manages tells whether a qdisc decides about packets, itself or at its queues.
func (q *Qdisc) manages() bool {
	kind := q.Root["kind"]
	if kind == "mq" {
		kind = q.Root["queues kind"]
	}
	return !slices.Contains(fifos, kind)
}

// manageQueues has the packets of an interface meet the qdisc that is declared for it,
// if the file does not say otherwise.
func (c *Config) manageQueues() {
	for i := range c.Dataplane.Interfaces {
		f := &c.Dataplane.Interfaces[i]
		for j := range c.Host.Qdiscs {
			if q := &c.Host.Qdiscs[j]; q.Name == f.Name && !f.saysAQM {
				f.AQM = q.manages()
			}
		}
	}
}

// qdiscPlace is where a qdisc is: which kinds can be there, and why others cannot.
type qdiscPlace struct {
	may func(*tcnl.Kind) bool
	not string
	// byDefault: there is one that the kernel has by itself.
	byDefault bool
}

var (
	rootPlace = qdiscPlace{may: func(*tcnl.Kind) bool { return true }, byDefault: true}
	leafPlace = qdiscPlace{may: func(k *tcnl.Kind) bool { return k.Classless }, not: "cannot be below another qdisc"}
)

// qdisc reads a kind, or a mapping of a kind and its options, into attributes with a
// prefix.
func (v node) qdisc(to map[string]string, prefix string, place qdiscPlace) {
	if _, word := v.n.(*ast.StringNode); word {
		if k := v.qdiscKind(to, prefix, place); k != nil && k.Classful {
			v.failf("needs classes", "a mapping with its kind, its default and its classes")
		}
		return
	}
	var kind *tcnl.Kind
	found, before := false, len(v.d.errs)
	v.entries("a kind and its options, such as {kind: fq_codel, limit: 1000}", func(name, v node) {
		if name.text() == "kind" && v.given(name) {
			kind, found = v.qdiscKind(to, prefix, place), true
		}
	})
	if !found && len(v.d.errs) == before {
		at := positionOf(v.n)
		v.d.add(Error{Line: at.line, Column: at.column, Key: v.key + ".kind", Problem: "is missing", Want: "one of " + place.kinds()})
	}
	if kind == nil {
		return // what its options are is not known
	}
	var classes node
	short, at := map[string]string{}, map[string]node{}
	v.entries("options", func(name, v node) {
		switch key := name.text(); {
		case key == "kind" || !v.given(name):
		case key == "queues" && kind.Name == "mq":
			v.qdisc(to, prefix+"queues ", leafPlace)
		case key == "classes" && kind.Classful:
			classes = v
		case kind.IsShort(key, v.text()):
			short[key], at[key] = v.text(), v
		case key == "default" && kind.Classful:
			// 1:20 and 20 are the same class.
			d := map[string]string{}
			if text, ok := strings.CutPrefix(v.text(), htbHandle); ok {
				d["default"], ok = kind.Option(key).Parse(text)
				if !ok {
					v.fail("the name of a class, such as 1:20")
					return
				}
			} else {
				v.option(kind.Option(key), d, "")
			}
			to[prefix+key] = d["default"]
		case kind.Option(key) != nil:
			o := kind.Option(key)
			if _, both := to[prefix+o.Instead()]; both && o.Instead() != "" {
				v.failf("cannot be set together with "+o.Instead(), "one of them")
				return
			}
			v.option(o, to, prefix)
			at[key] = v
		default:
			name.unknown(v.key, "an option of "+kind.Name, qdiscOptions(kind))
		}
	})
	for i := range kind.Options {
		o := &kind.Options[i]
		need := to[prefix+o.Needs()]
		if v, given := at[o.Name]; given && o.Needs() != "" && (need == "" || need == "none") {
			v.failf("has no effect without "+o.Needs(), o.Needs()+" beside it")
		}
	}
	if kind.Classful {
		to[prefix+"handle"] = htbHandle
		if classes.n == nil {
			here := positionOf(v.n)
			v.d.add(Error{Line: here.line, Column: here.column, Key: v.key + ".classes", Problem: "is missing", Want: `at least one, such as {"1:10": {rate: 100mbit}}`})
			return
		}
		classes.classes(to) // behind the default, which is one of them
	}
	long, bad, want := kind.Long(short)
	if bad != "" {
		at[bad].fail(want)
	}
	for name, value := range long {
		if _, given := to[prefix+name]; !given {
			to[prefix+name] = value
		}
	}
	if _, given := to[prefix+"overhead"]; given && kind.Option("raw") != nil && to[prefix+"raw"] == "" {
		to[prefix+"raw"] = "off" // even if raw has the same overhead now
	}
	if _, given := to[prefix+"rtt"]; given && kind.Option("target") != nil && to[prefix+"target"] == "" {
		to[prefix+"target"] = tcnl.CakeTarget(to[prefix+"rtt"])
	}
}

// qdiscOptions are the names that a kind's mapping can have.
func qdiscOptions(k *tcnl.Kind) []string {
	names := append([]string{"kind"}, k.Names()...)
	names = append(names, k.Shorts()...)
	switch {
	case k.Name == "mq":
		names = append(names, "queues")
	case k.Classful:
		names = append(names, "classes")
	}
	return names
}

// qdiscKind reads the name of a kind; nil if it is none, or the default.
func (v node) qdiscKind(to map[string]string, prefix string, place qdiscPlace) *tcnl.Kind {
	name := v.text()
	k := tcnl.KindOf(name)
	switch {
	case place.byDefault && name == defaultQdisc:
		to["kind"] = name
		return &tcnl.Kind{Name: name}
	case k == nil:
		want := "one of " + place.kinds()
		if near := nearest.Of(name, strings.Split(place.kinds(), ", ")); near != "" {
			want = near
		}
		v.failf("no such kind of qdiscs", want)
	case !place.may(k):
		v.failf(place.not, "one of "+place.kinds())
		return nil
	default:
		to[prefix+"kind"] = name
	}
	return k
}

// kinds are those that can be there.
func (p qdiscPlace) kinds() string {
	var names []string
	for i := range tcnl.Kinds {
		if p.may(&tcnl.Kinds[i]) {
			names = append(names, tcnl.Kinds[i].Name)
		}
	}
	return strings.Join(names, ", ")
}

// unknown reports a key that is not one of some names, with the one that was
// probably meant.
func (v node) unknown(key, what string, names []string) {
	slices.Sort(names)
	want := "one of " + strings.Join(names, ", ")
	if near := nearest.Of(v.text(), names); near != "" {
		want = near
	}
	at := positionOf(v.n)
	v.d.add(Error{Line: at.line, Column: at.column, Key: key, Problem: "is not " + what, Want: want})
}

// option reads the value of an option.
func (v node) option(o *tcnl.Option, to map[string]string, prefix string) {
	text := v.text()
	switch n := v.n.(type) {
	case *ast.BoolNode:
		if o.Bool() {
			text = map[bool]string{false: "off", true: "on"}[n.Value]
		}
	case *ast.SequenceNode:
		var parts []string
		for _, e := range n.Values {
			parts = append(parts, node{d: v.d, n: e}.text())
		}
		text = strings.Join(parts, " ")
	case *ast.StringNode:
		if o.Bool() {
			text = "" // on and off are YAML's business
		}
	}
	value, ok := o.Parse(text)
	if !ok {
		v.fail(o.Want())
		return
	}
	to[prefix+o.Name] = value
}
