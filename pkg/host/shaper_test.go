// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// shaping are the resources of a file whose dataplane is at veth0.
func shaping(t *testing.T, qdiscs string) []reconcile.Resource {
	t.Helper()
	c, err := config.Parse("f", []byte("dataplane: {ruleset: x, interfaces: [{name: veth0}]}\nhost:\n  qdiscs:\n"+qdiscs))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestShaperBegun: a process that was killed between the two steps of making a shaper leaves
// one that is known, and undone.
func TestShaperBegun(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	if _, err := beginShaper(config.Shaper("veth0"), config.ShaperAlias("veth0")); err != nil {
		t.Fatal(err)
	}
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), shaping(t, "    veth0: noqueue\n"))
	if err == nil {
		_, err = e.Apply(t.Context(), plan, reconcile.Options{})
	}
	if out := output(t, "ip", "link"); err != nil || strings.Contains(out, "in-veth0") {
		t.Errorf("%v: %s", err, out)
	}
	// One with other addresses is somebody else's.
	run(t, "ip", "link", "add", "in-veth0", "type", "veth", "peer", "name", "re-veth0")
	if l, err := link("in-veth0"); err != nil || linkIs(l) != isDevice {
		t.Errorf("%v, %v", l, err)
	}
}

// TestShapers: the pair is made with its qdisc in one plan, goes when that is undone, and
// goes when the file does not declare it any more; undoing that brings all of it back.
func TestShapers(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "veth0", "mtu", "1400", "type", "veth", "peer", "name", "veth1")
	run(t, "ip", "link", "set", "veth0", "up")
	e := engine(t, t.TempDir(), Kinds()...)
	apply := func(list []reconcile.Resource, changes int, fail bool) *reconcile.Plan {
		t.Helper()
		plan, err := e.Plan(t.Context(), list)
		if err != nil || len(plan.Changes) != changes || len(plan.Warnings) > 0 {
			t.Fatalf("%d changes, not %d, %v: %+v", len(plan.Changes), changes, err, plan)
		}
		_, err = e.Apply(t.Context(), plan, reconcile.Options{Gates: []reconcile.Gate{{Name: "look", Check: func(context.Context) error {
			if fail {
				return errInjected
			}
			return nil
		}}}})
		if fail != (err != nil) {
			t.Fatal(err)
		}
		return plan
	}
	const htb = `    veth0: { ingress: { kind: htb, default: "1:1", classes: { "1:1": { rate: 10mbit, leaf: { kind: pfifo, limit: 7 } } } } }
`
	shape := func() string {
		return numbers.ReplaceAllString(output(t, "ip", "-o", "-d", "link"), "") + qdiscHandles.ReplaceAllString(output(t, "tc", "qdisc", "show"), "qdisc $1") +
			output(t, "tc", "class", "show", "dev", "in-veth0")
	}
	apply(shaping(t, htb), 2, true)
	if out := output(t, "ip", "link"); strings.Contains(out, "in-veth0") || strings.Contains(out, "re-veth0") {
		t.Fatalf("not undone: %s", out)
	}
	apply(shaping(t, htb), 2, false)
	apply(shaping(t, htb), 0, false)
	there := shape()
	for _, want := range []string{"in-veth0@re-veth0", "alias ingress shaper of veth0", "mtu 1400", "mtu 65535", "rate 10Mbit", "limit 7p"} {
		if !strings.Contains(there, want) {
			t.Errorf("no %q: %s", want, there)
		}
	}
	// Another rate is set in place.
	plan := apply(shaping(t, strings.Replace(htb, "10mbit", "20mbit", 1)), 1, true)
	if plan.Worst() != reconcile.InPlace || shape() != there {
		t.Errorf("%+v: %s, not %s", plan, shape(), there)
	}
	// An end that is down loses all: it is not as declared.
	run(t, "ip", "link", "set", "re-veth0", "down")
	apply(shaping(t, htb), 1, false)

	apply(shaping(t, "    veth0: noqueue\n"), 1, true)
	if now := shape(); now != there {
		t.Errorf("not brought back: %s, not %s", now, there)
	}
	apply(shaping(t, "    veth0: noqueue\n"), 1, false)
	if out := output(t, "ip", "link"); strings.Contains(out, "in-veth0") || strings.Contains(out, "re-veth0") {
		t.Errorf("still there: %s", out)
	}
	apply(shaping(t, "    veth0: noqueue\n"), 0, false)
}

// TestShaperProblems: what cannot be is told before anything is made.
func TestShaperProblems(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	e := engine(t, t.TempDir(), Kinds()...)
	const htb = `    veth0: { ingress: { kind: htb, default: "1:1", classes: { "1:1": { rate: 10mbit, leaf: LEAF } } } }
`
	for _, leaf := range LacksQdiscs("cake", "dualpi2", "fq_codel") {
		_, err := e.Plan(t.Context(), shaping(t, strings.Replace(htb, "LEAF", leaf, 1)))
		if err == nil || !strings.Contains(err.Error(), "f:4:5: qdisc in-veth0: leaf 1:1 kind: \""+leaf+"\": this kernel does not have it") {
			t.Errorf("%s: %v", leaf, err)
		}
	}
	run(t, "ip", "link", "add", "in-veth0", "type", "bridge")
	_, err := e.Plan(t.Context(), shaping(t, strings.Replace(htb, "LEAF", "pfifo", 1)))
	if err == nil || !strings.Contains(err.Error(), "f:4:5: link in-veth0: is: \"ingress shaper of veth0\": there is one of that name: bridge") {
		t.Error(err)
	}
}
