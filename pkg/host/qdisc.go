// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// QdiscKind is the name of [Qdisc].
const QdiscKind = "qdisc"

// Attributes of a qdisc beside its options.
const (
	kindKey   = "kind"
	handleKey = "handle"
	// queuesPrefix is before the attributes of the qdiscs of all queues of an mq, and
	// queuePrefix and the queue's number before those of one.
	queuesPrefix = "queues "
	queuePrefix  = "queue "
)

// byDefault is after the kind of a qdisc that the kernel has put there by itself.
// It is what undoes that something else was put there.
const byDefault = " (default)"

// nothing is the value of an attribute that the qdisc does not have.
const nothing = "-"

// AnyDefault as a kind is whatever the kernel has by itself.
const AnyDefault = "default"

// Qdisc is the kind of the root qdisc of an interface, with what is attached to it.
// A resource has the interface's name.
type Qdisc struct {
	dial   func() (*tcnl.Client, error)
	kernel *kernelQdiscs
}

// Name implements [reconcile.Kind].
func (*Qdisc) Name() string { return QdiscKind }

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

// attributes are those of a qdisc and of its queues.
func attributes(q *tcnl.Qdisc) reconcile.State {
	out := reconcile.State{}
	add := func(prefix string, q *tcnl.Qdisc) {
		out[prefix+kindKey] = kindText(q)
		if !q.Default() {
			out[prefix+handleKey] = tcnl.HandleText(q.Handle)
		}
		for name, v := range q.Options {
			out[prefix+name] = v
		}
	}
	add("", q)
	for i := range q.Queues {
		add(ofQueue(&q.Queues[i]), &q.Queues[i])
	}
	return out
}

func kindText(q *tcnl.Qdisc) string {
	if q.Default() {
		return q.Kind + byDefault
	}
	return q.Kind
}

// ofQueue is the prefix of the attributes of a queue's qdisc.
func ofQueue(q *tcnl.Qdisc) string { return queuePrefix + strconv.Itoa(int(q.Parent&0xffff)) + " " }

// Observe implements [reconcile.Kind].
func (k *Qdisc) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	_, _, q, err := k.root(name)
	if err != nil {
		return nil, err
	}
	all := attributes(q)
	for _, key := range keys {
		if option, ok := strings.CutPrefix(key, queuesPrefix); ok && len(q.Queues) > 0 {
			all[key] = ofQueues(q, all, option)
		}
	}
	out := all.Pick(keys)
	for _, key := range keys {
		if _, ok := out[key]; !ok {
			out[key] = nothing
		}
	}
	return out, nil
}

// ofQueues is the value of an attribute that the qdiscs of all queues have, or the
// different ones.
func ofQueues(q *tcnl.Qdisc, all reconcile.State, option string) string {
	var values []string
	seen := map[string]bool{}
	for i := range q.Queues {
		v, ok := all[ofQueue(&q.Queues[i])+option]
		if !ok {
			v = nothing
		}
		if !seen[v] {
			seen[v], values = true, append(values, v)
		}
	}
	return strings.Join(values, ", ")
}

// Same implements [reconcile.Kind].
func (*Qdisc) Same(key, want, have string) bool {
	_, option := splitKey(key)
	switch kind, def := strings.CutSuffix(have, byDefault); {
	case option == kindKey && def:
		return want == AnyDefault || want == kind || strings.HasSuffix(want, byDefault)
	case option == kindKey, option == handleKey:
		return want == have
	}
	return sameOption(option, want, have)
}

// sameOption compares the values of an option. All kinds that have an option of some
// name have it round in the same way, or not at all.
func sameOption(name, want, have string) bool {
	if want == have {
		return true
	}
	for i := range tcnl.Kinds {
		if o := tcnl.Kinds[i].Option(name); o != nil && o.Same(want, have) {
			return true
		}
	}
	return false
}

// splitKey returns the prefix of an attribute and what is behind it.
func splitKey(key string) (prefix, option string) {
	if i := strings.LastIndexByte(key, ' '); i >= 0 {
		return key[:i+1], key[i+1:]
	}
	return "", key
}

// Before implements [reconcile.Kind].
func (k *Qdisc) Before(_ context.Context, name string, _ reconcile.State) (reconcile.State, error) {
	_, _, q, err := k.root(name)
	if err != nil {
		return nil, err
	}
	all := attributes(q)
	for prefix, queue := range queues(q) {
		if queue.Default() {
			maps.DeleteFunc(all, func(key, _ string) bool { p, o := splitKey(key); return p == prefix && o != kindKey })
		}
	}
	return all, nil
}

// queues are a qdisc, and the qdiscs of its queues, by the prefix of their attributes.
func queues(q *tcnl.Qdisc) map[string]*tcnl.Qdisc {
	out := map[string]*tcnl.Qdisc{"": q}
	for i := range q.Queues {
		out[ofQueue(&q.Queues[i])] = &q.Queues[i]
	}
	return out
}

// target is what a resource is to have: all attributes that matter, those that stay
// as they are among them.
func target(have *tcnl.Qdisc, to reconcile.State) reconcile.State {
	out := reconcile.State{}
	if kind, ok := to[kindKey]; !ok || kind == have.Kind && !have.Default() {
		out = attributes(have)
		if !ok {
			out[kindKey] = have.Kind
		}
		keepQueues(have, out, to)
	}
	for key, v := range to {
		out[key] = v
		prefix, option := splitKey(key)
		for i := range tcnl.Kinds {
			if o := tcnl.Kinds[i].Option(option); o != nil && o.Instead() != "" && to[prefix+o.Instead()] == "" {
				delete(out, prefix+o.Instead())
			}
		}
	}
	return out
}

// keepQueues leaves of the attributes of queues what is not to be changed, and no
// handles: what is replaced gets another one, so that nothing is missing for a moment.
func keepQueues(have *tcnl.Qdisc, out, to reconcile.State) {
	for prefix, q := range queues(have) {
		delete(out, prefix+handleKey)
		if prefix == "" {
			continue
		}
		kind, ok := to[prefix+kindKey]
		if !ok {
			kind, ok = to[queuesPrefix+kindKey]
		}
		changes := false
		for name := range q.Options {
			_, all := to[queuesPrefix+name]
			_, one := to[prefix+name]
			if changes = changes || all || one; all || ok && kind != kindText(q) {
				delete(out, prefix+name)
			}
		}
		switch {
		case ok:
			delete(out, prefix+kindKey)
		case changes:
			out[prefix+kindKey] = q.Kind // and not by default
		}
	}
}

// described is the qdisc that attributes with a prefix, or another one that has less of
// a say, describe; where have is now.
func described(state reconcile.State, have *tcnl.Qdisc, less, prefix string) (*tcnl.Qdisc, error) {
	q := &tcnl.Qdisc{Kind: have.Kind, Parent: have.Parent, Options: map[string]string{}}
	for _, p := range []string{less, prefix} {
		for key, v := range state {
			at, option := splitKey(key)
			var err error
			switch {
			case at != p:
			case option == kindKey:
				q.Kind = v
			case option == handleKey:
				q.Handle, err = tcnl.ParseHandle(v)
			default:
				q.Options[option] = v
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return q, nil
}

func isDefault(q *tcnl.Qdisc) bool {
	return q.Kind == AnyDefault || strings.HasSuffix(q.Kind, byDefault)
}

// step is a qdisc and what becomes of it.
type step struct{ have, want *tcnl.Qdisc }

// inPlace tells whether nothing is replaced.
func (s step) inPlace() bool {
	if isDefault(s.want) {
		return s.have.Default()
	}
	return s.want.InPlace(s.have)
}

// steps are those for a state: the root, and its queues if they are there by now.
func steps(have *tcnl.Qdisc, state reconcile.State) ([]step, error) {
	root, err := described(state, have, "", "")
	if err != nil {
		return nil, err
	}
	out := []step{{have, root}}
	for i := range have.Queues {
		q := &have.Queues[i]
		w, err := described(state, q, queuesPrefix, ofQueue(q))
		if err != nil {
			return nil, err
		}
		if q.Default() && w.Kind == q.Kind && w.Handle == 0 && len(w.Options) == 0 {
			w.Kind = q.Kind + byDefault
		}
		out = append(out, step{q, w})
	}
	return out, nil
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
	if isDefault(todo[0].want) {
		if have.Default() {
			return nil
		}
		return c.Remove(index, have)
	}
	for _, s := range todo[1:] {
		if isDefault(s.want) && !s.have.Default() {
			// A queue without a qdisc takes no packet: all of the mq is made anew.
			if state[handleKey] == "" {
				state[handleKey] = tcnl.HandleText(have.Handle)
			}
			if err := c.Remove(index, have); err != nil {
				return err
			}
			break
		}
	}
	if have, err = c.Root(index); err != nil {
		return err
	}
	if todo, err = steps(have, state); err != nil {
		return err
	}
	if err := c.Put(index, have, todo[0].want); err != nil || !hasQueues(state) {
		return err
	}
	if have, err = c.Root(index); err != nil {
		return err
	}
	if todo, err = steps(have, state); err != nil {
		return err
	}
	for _, s := range todo[1:] {
		if isDefault(s.want) {
			continue
		}
		if err := c.Put(index, s.have, s.want); err != nil {
			return fmt.Errorf("%s: %w", ofQueue(s.have), err)
		}
	}
	return nil
}

func hasQueues(state reconcile.State) bool {
	for key := range state {
		if strings.HasPrefix(key, queuePrefix) || strings.HasPrefix(key, queuesPrefix) {
			return true
		}
	}
	return false
}

// defaultQdisc is the sysctl with the kind that new queues get.
const defaultQdisc = "net.core.default_qdisc"

// Effect implements [reconcile.Kind].
func (k *Qdisc) Effect(name string, to reconcile.State) reconcile.Effect {
	c, l, have, err := k.root(name)
	if err != nil {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	todo, err := steps(have, target(have, to))
	if err != nil {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	var lost bool
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
	for i := range q.Queues {
		if why := k.strange(c, l, &q.Queues[i], false); why != "" {
			return why
		}
	}
	b, err := os.ReadFile("/proc/sys/net/core/default_qdisc")
	if now := strings.TrimSpace(string(b)); err == nil && root && q.Default() && len(q.Queues) == 0 &&
		q.Kind != "noqueue" && q.Kind != "mq" && q.Kind != tcnl.NoQdisc && q.Kind != now {
		return "the kernel put " + q.Kind + " there by itself, and would put " + now + " there now (" + defaultQdisc + ")"
	}
	return ""
}
