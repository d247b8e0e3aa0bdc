// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// attr is the attribute of a qdisc or a class: where it is, the kind that has such an
// option, and the name of that. As a key these are separated by spaces. Scopes are
// empty for the root, "queues" for all queues of an mq and "queue N" for one,
// "class 1:10" for a class and "leaf 1:10" for the qdisc of one.
type attr struct{ scope, kind, name string }

// Names of attributes that are no options, and need no kind.
const (
	kindKey   = "kind"
	handleKey = "handle"
	// classesKey is which classes there are: "1:1 1:1>1:10", a parent before its child.
	classesKey = "classes"
)

// Scopes, but for the root's.
const (
	queuesScope = "queues"
	queueScope  = "queue "
	classScope  = "class "
	leafScope   = "leaf "
)

// byDefault is after the kind of a qdisc that the kernel has put there by itself.
// It is what undoes that something else was put there.
const byDefault = " (default)"

// AnyDefault as a kind is whatever the kernel has by itself.
const AnyDefault = "default"

// nothing is the value of an attribute that the qdisc does not have.
const nothing = "-"

func (a attr) key() string {
	parts := slices.DeleteFunc([]string{a.scope, a.kind, a.name}, func(s string) bool { return s == "" })
	return strings.Join(parts, " ")
}

func parseAttr(key string) (a attr) {
	rest := ""
	if i := strings.LastIndexByte(key, ' '); i >= 0 {
		rest = key[:i]
	}
	a.name = strings.TrimPrefix(key[len(rest):], " ")
	if a.name == kindKey || a.name == handleKey || a.name == classesKey || strings.HasPrefix(rest, classScope) {
		a.scope = rest
		return a
	}
	i := strings.LastIndexByte(rest, ' ')
	a.scope, a.kind = rest[:max(i, 0)], rest[i+1:]
	return a
}

// option is the option that an attribute stands for; nil if it is none.
func (a attr) option() *tcnl.Option {
	if strings.HasPrefix(a.scope, classScope) {
		return tcnl.ClassOptions.Option(a.name)
	}
	if k := tcnl.KindOf(a.kind); k != nil {
		return k.Option(a.name)
	}
	return nil
}

func kindText(q *tcnl.Qdisc) string {
	if q.Default() {
		return q.Kind + byDefault
	}
	return q.Kind
}

func isDefault(q *tcnl.Qdisc) bool {
	return q.Kind == AnyDefault || strings.HasSuffix(q.Kind, byDefault)
}

// scopeOf is the scope of a qdisc below a root.
func scopeOf(root, child *tcnl.Qdisc) string {
	if root.Kind == "mq" {
		return queueScope + strconv.Itoa(int(child.Parent&0xffff))
	}
	return leafScope + tcnl.ClassText(child.Parent)
}

// children are the qdiscs below a root. A class without one that was put there has
// the kernel's, which is not reported.
func children(root *tcnl.Qdisc) []*tcnl.Qdisc {
	var out []*tcnl.Qdisc
	for i := range root.Children {
		out = append(out, &root.Children[i])
	}
	for _, c := range root.Classes {
		inner := slices.ContainsFunc(root.Classes, func(other tcnl.Class) bool { return other.Parent == c.ID })
		has := slices.ContainsFunc(root.Children, func(q tcnl.Qdisc) bool { return q.Parent == c.ID })
		if !inner && !has {
			out = append(out, &tcnl.Qdisc{Kind: "pfifo", Parent: c.ID})
		}
	}
	return out
}

// attributes are all that a root and what is below it has; of what the kernel has put
// there by itself, the options only if they are asked for.
func attributes(root *tcnl.Qdisc, ofDefaults bool) reconcile.State {
	out := reconcile.State{}
	add := func(scope string, q *tcnl.Qdisc) {
		out[attr{scope, "", kindKey}.key()] = kindText(q)
		if !q.Default() {
			out[attr{scope, "", handleKey}.key()] = tcnl.HandleText(q.Handle)
		}
		for name, v := range q.Options {
			if !q.Default() || ofDefaults {
				out[attr{scope, q.Kind, name}.key()] = v
			}
		}
	}
	add("", root)
	for _, q := range children(root) {
		add(scopeOf(root, q), q)
	}
	if root.Kind == "htb" && !root.Default() {
		out[classesKey] = classesText(root.Classes)
	}
	for _, c := range root.Classes {
		for name, v := range c.Options {
			out[attr{classScope + tcnl.ClassText(c.ID), "", name}.key()] = v
		}
	}
	return out
}

func classesText(list []tcnl.Class) string {
	parts := make([]string, len(list))
	for i, c := range list {
		parts[i] = tcnl.ClassText(c.ID)
		if !c.Top() {
			parts[i] = tcnl.ClassText(c.Parent) + ">" + parts[i]
		}
	}
	return strings.Join(parts, " ")
}

// classesOf are the classes that attributes describe, parents before their children.
func classesOf(state reconcile.State) ([]tcnl.Class, error) {
	var out []tcnl.Class
	for _, text := range strings.Fields(state[classesKey]) {
		c := tcnl.Class{Parent: tcnl.TopParent, Options: map[string]string{}}
		parent, id, ok := strings.Cut(text, ">")
		if !ok {
			parent, id = "", text
		}
		var err error
		if c.ID, err = tcnl.ParseClass(id); err == nil && parent != "" {
			c.Parent, err = tcnl.ParseClass(parent)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", classesKey, err)
		}
		for key, v := range state {
			if a := parseAttr(key); a.scope == classScope+id {
				c.Options[a.name] = v
			}
		}
		out = append(out, c)
	}
	return tcnl.Sorted(out), nil
}

// target is what a resource is to have: all attributes that matter, those that stay
// as they are among them.
func target(have *tcnl.Qdisc, to reconcile.State) reconcile.State {
	out := reconcile.State{}
	if kind, ok := to[kindKey]; !ok || kind == have.Kind && !have.Default() {
		out = kept(have, to)
	}
	for key, v := range to {
		out[key] = v
		if o := parseAttr(key).option(); o != nil && o.Instead() != "" {
			displace(out, to, parseAttr(key), o.Instead())
		}
	}
	return out
}

// displace leaves out an option that another one takes the place of, if it is not
// wanted itself.
func displace(out, to reconcile.State, by attr, option string) {
	maps.DeleteFunc(out, func(key, _ string) bool {
		a := parseAttr(key)
		_, wanted := to[key]
		return !wanted && a.kind == by.kind && a.name == option &&
			(a.scope == by.scope || by.scope == queuesScope && strings.HasPrefix(a.scope, queueScope))
	})
}

// kept are the attributes that stay, and no handles: what is replaced gets another
// one, so that nothing is missing for a moment. A root with classes keeps its handle,
// which is part of their names.
func kept(have *tcnl.Qdisc, to reconcile.State) reconcile.State {
	out := attributes(have, true)
	if to[kindKey] == "" {
		out[kindKey] = have.Kind
	}
	if k := tcnl.KindOf(have.Kind); k == nil || !k.Classful {
		delete(out, handleKey)
	}
	for _, q := range children(have) {
		scope := scopeOf(have, q)
		delete(out, attr{scope, "", handleKey}.key())
		for key := range to {
			switch a := parseAttr(key); {
			case a.scope == queuesScope && a.name == kindKey:
				delete(out, attr{scope, "", kindKey}.key())
			case a.scope == queuesScope || a.scope == scope:
				delete(out, attr{scope, a.kind, a.name}.key())
				if one := (attr{scope, "", kindKey}).key(); q.Default() && a.kind == q.Kind && out[one] != "" {
					out[one] = q.Kind // and not by default
				}
			}
		}
	}
	return out
}

// described is the qdisc that the attributes of scopes describe, of which the last one
// has the most of a say; where have is now.
func described(state reconcile.State, have *tcnl.Qdisc, scopes ...string) (*tcnl.Qdisc, error) {
	q := &tcnl.Qdisc{Kind: have.Kind, Parent: have.Parent, Options: map[string]string{}}
	for _, scope := range scopes {
		if kind, ok := state[attr{scope, "", kindKey}.key()]; ok {
			q.Kind = kind
		}
		if text, ok := state[attr{scope, "", handleKey}.key()]; ok {
			var err error
			if q.Handle, err = tcnl.ParseHandle(text); err != nil {
				return nil, err
			}
		}
	}
	for _, scope := range scopes {
		for key, v := range state {
			if a := parseAttr(key); a.scope == scope && a.kind == q.Kind {
				q.Options[a.name] = v
			}
		}
	}
	return q, nil
}

// step is a qdisc and what becomes of it.
type step struct {
	scope      string
	have, want *tcnl.Qdisc
}

// inPlace tells whether nothing is replaced.
func (s step) inPlace() bool {
	if isDefault(s.want) {
		return s.have.Default()
	}
	return s.want.InPlace(s.have)
}

// steps are those for a state: the root, and what is below it by now.
func steps(have *tcnl.Qdisc, state reconcile.State) ([]step, error) {
	root, err := described(state, have, "")
	if err != nil {
		return nil, err
	}
	out := []step{{"", have, root}}
	for _, q := range children(have) {
		scope := scopeOf(have, q)
		w, err := described(state, q, queuesScope, scope)
		if err != nil {
			return nil, err
		}
		if q.Default() && (w.Kind == AnyDefault || w.Kind == q.Kind && w.Handle == 0 && len(w.Options) == 0) {
			w.Kind = q.Kind + byDefault
		}
		out = append(out, step{scope, q, w})
	}
	return out, nil
}
