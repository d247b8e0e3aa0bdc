// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"maps"
	"strings"
	"testing"
)

func TestIngressQdiscs(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(`
dataplane: {ruleset: x, interfaces: [{name: a}, {name: b}, {name: c}]}
host:
  qdiscs:
    a: {root: {kind: cake, bandwidth: 9mbit}, ingress: {kind: cake, bandwidth: 90mbit, ingress: true}}
    b:
      ingress:
        kind: htb
        default: 1:1
        classes: { "1:1": {rate: 90mbit, leaf: dualpi2} }
    c: fq_codel
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Qdisc{
		{Root: map[string]string{"kind": "cake", "bandwidth": "9mbit"}, Ingress: map[string]string{"kind": "cake", "bandwidth": "90mbit", "ingress": "on"}},
		{Root: map[string]string{}, Ingress: map[string]string{"kind": "htb", "handle": "1:", "default": "1", "classes": "1:1", "class 1:1 rate": "90mbit", "class 1:1 ceil": "90mbit", "leaf 1:1 kind": "dualpi2"}},
		{Root: map[string]string{"kind": "fq_codel"}},
	}
	for i, w := range want {
		if q := c.Host.Qdiscs[i]; !maps.Equal(q.Root, w.Root) || !maps.Equal(q.Ingress, w.Ingress) || (q.Ingress == nil) != (w.Ingress == nil) {
			t.Errorf("%+v, not %+v", q, w)
		}
	}
	// XDP may send by an interface that is only shaped at its input.
	for _, i := range c.Dataplane.Interfaces {
		if i.AQM != (i.Name != "b") {
			t.Errorf("%s: a queue manager: %v", i.Name, i.AQM)
		}
	}
}

func TestIngressQdiscProblems(t *testing.T) {
	_, err := Parse("/x/l2d.yaml", []byte(`
dataplane: {ruleset: x, interfaces: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: re-e}]}
host:
  qdiscs:
    a: {ingress: fq_codel}
    b: {ingress: {kind: cake, rtt: 20ms}}
    c: {ingress: {kind: cake, bandwidth: unlimited}}
    d: {ingress: {kind: htb, default: 1}}
    e: {ingress: {kind: cake, bandwidth: 5mbit}}
    f: {ingress: {kind: cake, bandwidth: 5mbit}}
    g: {ingress: default}
    h: {}
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`:5:18: host.qdiscs.a.ingress: "fq_codel": holds nothing back by itself, and can be a leaf of htb: want one of cake, htb`,
		`:6:18: host.qdiscs.b.ingress.bandwidth: is missing: want a rate`,
		`:7:18: host.qdiscs.c.ingress.bandwidth: holds nothing back: want a rate`,
		`:8:18: host.qdiscs.d.ingress.classes: is missing`,
		`:9:18: host.qdiscs.e.ingress: its device in-e cannot be one of the dataplane's`,
		`:10:18: host.qdiscs.f.ingress: the dataplane, which hands what comes in to the qdisc, is not at the interface: want one of dataplane.interfaces: a, b, c, d, e, re-e`,
		`:11:18: host.qdiscs.g.ingress: "default": no such kind of qdiscs: want one of cake, htb`,
		`:12:5: host.qdiscs.h.root: is missing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

// TestShaperNames: of each interface its own, and none too long.
func TestShaperNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "eth0", "enp35s0f0np0", "enp35s0f0np0.1", "enp35s0f0np0.10", "enp35s0f0np0.11"} {
		for _, made := range []string{Shaper(name), ShaperEnd(name)} {
			if len(made) > maxName || !isInterfaceName(made) || seen[made] != "" {
				t.Errorf("%s: %s, which %q has", name, made, seen[made])
			}
			seen[made] = name
		}
	}
	if got := Shaper("enp35s0f0np0"); got != "in-enp35s0f0np0" {
		t.Error(got)
	}
}
