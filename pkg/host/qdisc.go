// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// QdiscKind is the name of [Qdisc].
const QdiscKind = "qdisc"

// Qdisc is the kind of the root qdisc of an interface, with what is below it. A
// resource has the interface's name.
type Qdisc struct {
	dial   func() (*tcnl.Client, error)
	kernel *kernelQdiscs
}

// Name implements [reconcile.Kind].
func (*Qdisc) Name() string { return QdiscKind }

// Whole implements [reconcile.Whole]: what a kind or a rate is decides about options.
func (*Qdisc) Whole() {}

// root reads the qdisc of an interface.
func (k *Qdisc) root(name string) (*tcnl.Client, netlink.Link, *tcnl.Qdisc, error) {
	c, err := k.dial()
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := link(name)
	if err != nil {
		return nil, nil, nil, err
	}
	q, err := c.Root(l.Attrs().Index)
	return c, l, q, err
}

// Observe implements [reconcile.Kind].
func (k *Qdisc) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	_, _, q, err := k.root(name)
	if err != nil {
		return nil, err
	}
	all := attributes(q, true)
	out := reconcile.State{}
	for _, key := range keys {
		a := parseAttr(key)
		switch v, ok := all[key]; {
		case a.scope == queuesScope && q.Kind == "mq" && len(q.Children) > 0:
			out[key] = ofQueues(q, all, a)
		case ok:
			out[key] = v
		default:
			out[key] = nothing
		}
	}
	return out, nil
}

// ofQueues is the value of an attribute that the qdiscs of all queues have, or the
// different ones.
func ofQueues(root *tcnl.Qdisc, all reconcile.State, a attr) string {
	var values []string
	for _, q := range children(root) {
		a.scope = scopeOf(root, q)
		v, ok := all[a.key()]
		if !ok {
			v = nothing
		}
		if !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return strings.Join(values, ", ")
}

// Same implements [reconcile.Kind].
func (*Qdisc) Same(key, want, have string) bool {
	a := parseAttr(key)
	if o := a.option(); o != nil {
		return want == have || o.Same(want, have)
	}
	kind, def := strings.CutSuffix(have, byDefault)
	if a.name == kindKey && def {
		return want == AnyDefault || want == kind || strings.HasSuffix(want, byDefault)
	}
	return want == have
}

// Before implements [reconcile.Kind].
func (k *Qdisc) Before(_ context.Context, name string, _ reconcile.State) (reconcile.State, error) {
	_, _, q, err := k.root(name)
	if err != nil {
		return nil, err
	}
	return attributes(q, false), nil
}

// Set implements [reconcile.Kind].
func (k *Qdisc) Set(_ context.Context, name string, to reconcile.State) error {
	c, l, have, err := k.root(name)
	if err != nil {
		return err
	}
	index := l.Attrs().Index
	state := target(have, to)
	todo, err := steps(have, state)
	if err != nil {
		return err
	}
	switch {
	case isDefault(todo[0].want):
		if have.Default() {
			return nil
		}
		return c.Remove(index, have)
	case have.Kind == "mq" && slices.ContainsFunc(todo[1:], func(s step) bool { return isDefault(s.want) && !s.have.Default() }):
		// A queue without a qdisc takes no packet: all of the mq is made anew.
		if state[handleKey] == "" {
			state[handleKey] = tcnl.HandleText(have.Handle)
		}
		if err := c.Remove(index, have); err != nil {
			return err
		}
		if have, err = c.Root(index); err != nil {
			return err
		}
		if todo, err = steps(have, state); err != nil {
			return err
		}
	}
	if err := c.Put(index, have, todo[0].want); err != nil {
		return err
	}
	return setBelow(c, index, state)
}

// setBelow sets what is below a root: its classes, then the qdiscs.
func setBelow(c *tcnl.Client, index int, state reconcile.State) error {
	have, err := c.Root(index)
	if err != nil {
		return err
	}
	if have.Kind == "htb" {
		if err := setClasses(c, index, have, state); err != nil {
			return err
		}
		if have, err = c.Root(index); err != nil {
			return err
		}
	}
	todo, err := steps(have, state)
	if err != nil {
		return err
	}
	for _, s := range todo[1:] {
		switch {
		case !isDefault(s.want):
			err = c.Put(index, s.have, s.want)
		case !s.have.Default():
			err = c.Remove(index, s.have)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.scope, err)
		}
	}
	return nil
}

// setClasses has the classes that are wanted, and no others.
func setClasses(c *tcnl.Client, index int, have *tcnl.Qdisc, state reconcile.State) error {
	want, err := classesOf(state)
	if err != nil {
		return err
	}
	gone := goneClasses(have.Classes, want)
	for _, class := range slices.Backward(gone) { // children first
		if err := c.RemoveClass(index, class); err != nil {
			return fmt.Errorf("%s%s: %w", classScope, tcnl.ClassText(class.ID), err)
		}
	}
	for _, class := range want {
		var is *tcnl.Class
		if i := slices.IndexFunc(have.Classes, func(h tcnl.Class) bool { return h.ID == class.ID }); i >= 0 && !contains(gone, class.ID) {
			is = &have.Classes[i]
		}
		if err := c.PutClass(index, is, class); err != nil {
			return fmt.Errorf("%s%s: %w", classScope, tcnl.ClassText(class.ID), err)
		}
	}
	return nil
}

func contains(list []tcnl.Class, id uint32) bool {
	return slices.ContainsFunc(list, func(c tcnl.Class) bool { return c.ID == id })
}

// goneClasses are those that are not wanted, or not where they are, and what is below
// them. Parents come before their children, as in have.
func goneClasses(have, want []tcnl.Class) (gone []tcnl.Class) {
	for _, h := range have {
		stays := slices.ContainsFunc(want, func(w tcnl.Class) bool {
			return w.ID == h.ID && (w.Parent == h.Parent || w.Top() && h.Top())
		})
		if !stays || contains(gone, h.Parent) {
			gone = append(gone, h)
		}
	}
	return gone
}

// defaultQdisc is the sysctl with the kind that new queues get.
const defaultQdisc = "net.core.default_qdisc"

// Effect implements [reconcile.Kind].
func (k *Qdisc) Effect(name string, to reconcile.State) reconcile.Effect {
	c, l, have, err := k.root(name)
	if err != nil {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	state := target(have, to)
	todo, err := steps(have, state)
	if err != nil {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	lost := false
	if classes, err := classesOf(state); err == nil && todo[0].inPlace() {
		lost = len(goneClasses(have.Classes, classes)) > 0
	}
	for i, s := range todo {
		if s.inPlace() {
			continue
		}
		if why := k.strange(c, l, s.have, i == 0); why != "" {
			return reconcile.Effect{Impact: reconcile.NotRevertable, Why: "what is there cannot be put back: " + why}
		}
		lost = lost || s.have.Kind != "noqueue" && s.have.Kind != tcnl.NoQdisc
	}
	if lost {
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: "packets that wait in the queue are lost"}
	}
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// strange says why a qdisc cannot be put back once it is replaced; empty if it can.
func (k *Qdisc) strange(c *tcnl.Client, l netlink.Link, q *tcnl.Qdisc, root bool) string {
	switch has, err := c.HasFilters(l.Attrs().Index, q); {
	case err != nil:
		return err.Error()
	case has:
		return "the qdisc " + q.Kind + " has filters"
	case q.Strange != "":
		return "the qdisc " + q.Kind + " " + q.Strange
	}
	for i := range q.Children {
		if why := k.strange(c, l, &q.Children[i], false); why != "" {
			return why
		}
	}
	b, err := os.ReadFile("/proc/sys/net/core/default_qdisc")
	if now := strings.TrimSpace(string(b)); err == nil && root && q.Default() && len(q.Children) == 0 &&
		q.Kind != "noqueue" && q.Kind != "mq" && q.Kind != tcnl.NoQdisc && q.Kind != now {
		return "the kernel put " + q.Kind + " there by itself, and would put " + now + " there now (" + defaultQdisc + ")"
	}
	return ""
}
