// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"maps"
	"strings"
	"testing"
)

func TestQdiscs(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(least+`host:
  qdiscs:
    a: fq_codel
    b: default
    c:
      optional: true
      enforce: true
      root: {kind: fq_codel, target: 5ms, interval: 100000us, limit: 1000, ecn: false, memory_limit: 32MiB, ce_threshold: none}
    d:
      root: {kind: mq, queues: {kind: fq, maxrate: 1gbit, pacing: true, priomap: [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]}}
    e: {root: {kind: mq, queues: pfifo}}
    f: {root: {kind: cake, bandwidth: 100mbit, link: docsis, rtt: regional, nat: true, ack_filter: aggressive}}
    g: {root: {kind: dualpi2, max_rtt: 100ms, typical_rtt: 15ms, ecn: any}}
    h: {root: {kind: cake_mq, rtt: 20ms, overhead: -14}}
    i:
      root:
        kind: htb
        default: "1:20"
        classes:
          "1:20": {parent: 1:1, rate: 10mbit, ceil: 90mbit, prio: 1, leaf: {kind: fq_codel, ecn: false}}
          1:1: {rate: 90mbit}
          "1:A": {parent: 1:1, rate: 80mbit, burst: 15KiB}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Qdisc{
		{Name: "a", Root: map[string]string{"kind": "fq_codel"}},
		{Name: "b", Root: map[string]string{"kind": "default"}},
		{Name: "c", Optional: true, Enforce: true, Root: map[string]string{
			"kind": "fq_codel", "target": "5ms", "interval": "100ms", "limit": "1000", "ecn": "off", "memory_limit": "32MiB", "ce_threshold": "none",
		}},
		{Name: "d", Root: map[string]string{
			"kind": "mq", "queues kind": "fq", "queues maxrate": "1gbit", "queues pacing": "on", "queues priomap": "1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1",
		}},
		{Name: "e", Root: map[string]string{"kind": "mq", "queues kind": "pfifo"}},
		{Name: "f", Root: map[string]string{
			"kind": "cake", "bandwidth": "100mbit", "overhead": "18", "mpu": "64", "atm": "noatm", "raw": "off", "rtt": "30ms", "target": "1.5ms", "nat": "on", "ack_filter": "aggressive",
		}},
		{Name: "g", Root: map[string]string{
			"kind": "dualpi2", "target": "15ms", "tupdate": "15ms", "alpha": "0.1484375", "beta": "3", "ecn": "any",
		}},
		{Name: "h", Root: map[string]string{"kind": "cake_mq", "rtt": "20ms", "target": "1ms", "overhead": "-14", "raw": "off"}},
		{Name: "i", Root: map[string]string{
			"kind": "htb", "handle": "1:", "default": "20", "classes": "1:1 1:1>1:a 1:1>1:20", "class 1:1 rate": "90mbit", "class 1:1 ceil": "90mbit", "class 1:a rate": "80mbit", "class 1:a ceil": "80mbit", "class 1:a burst": "15KiB",
			"class 1:20 rate": "10mbit", "class 1:20 ceil": "90mbit", "class 1:20 prio": "1", "leaf 1:20 kind": "fq_codel", "leaf 1:20 ecn": "off",
		}},
	}
	if len(c.Host.Qdiscs) != len(want) {
		t.Fatalf("%+v", c.Host.Qdiscs)
	}
	for i, w := range want {
		q := c.Host.Qdiscs[i]
		if q.Name != w.Name || q.Optional != w.Optional || q.Enforce != w.Enforce || !maps.Equal(q.Root, w.Root) {
			t.Errorf("%+v, not %+v", q, w)
		}
	}
}

func TestQdiscProblems(t *testing.T) {
	_, err := Parse("/x/l2d.yaml", []byte(least+`host:
  qdiscs:
    a: fq_codle
    b: {root: {kind: fq_codel, targte: 5ms, limit: 0, quantum: 1.5, ecn: "on", memory_limit: 3GB, interval: 5}}
    c: {root: {limit: 5}}
    d: {root: {kind: mq, queues: mq, limit: 5}}
    e: {root: {kind: noqueue, limit: 5}}
    f: {enforce: true}
    lo: fq
    g: {root: {kind: default, limit: 5}}
    h: {root: {kind: fq, maxrate: 5, priomap: [1, 2], queues: fq}}
    i: {root: {kind: cake, link: docsys, rtt: moon, overhead: 300}}
    j: {root: {kind: dualpi2, max_rtt: 10ms, typical_rtt: 15ms, c_protection: 3, coupling: 0}}
    k: {root: {kind: dualpi2, max_rtt: 100s}}
    m:
      root:
        kind: htb
        default: 5
        classes:
          1:1: {prio: 1, rate: 5mbit}
          1:2: {parent: 1:1, rte: 5mbit}
          1:3: {parent: 1:9, rate: 1mbit, leaf: htb}
          2:4: {rate: 1mbit}
          1:5: {parent: 1:5, rate: 1}
          1:6: {ceil: 1mbit}
    n: {root: htb}
    l: {root: {kind: dualpi2, step_thresh: 1ms, step_packets: 5}}
    o: {root: {kind: fq_codel, ce_threshold_mask: 3}}
    p: {root: {kind: mq, queues: {kind: fq_codel, ce_threshold: none, ce_threshold_selector: 1}}}
    q: {root: {kind: fq_codel, ce_threshold_selector: 1, ce_threshold: 1ms}}
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`:8:8: host.qdiscs.a: "fq_codle": no such kind of qdiscs: want fq_codel`,
		`:9:32: host.qdiscs.b.root.targte: is not an option of fq_codel: want target`,
		`host.qdiscs.b.root.limit: "0": want a whole number from 1 to 4294967295`,
		`host.qdiscs.b.root.quantum: "1.5": want a size from 256 to 1MiB`,
		`host.qdiscs.b.root.ecn: "on": want true or false`,
		`host.qdiscs.b.root.memory_limit: "3GB": want a size from 1 to 2GiB`,
		`host.qdiscs.b.root.interval: "5": want a time from 0s to `,
		`:10:15: host.qdiscs.c.root.kind: is missing: want one of bfifo, cake`,
		`host.qdiscs.d.root.queues: "mq": cannot be below another qdisc: want one of bfifo, cake, dualpi2, `,
		`host.qdiscs.d.root.limit: is not an option of mq: want one of kind, queues`,
		`host.qdiscs.e.root.limit: is not an option of noqueue: want one of kind`,
		`:13:5: host.qdiscs.f.root: is missing`,
		`:14:5: host.qdiscs: "lo": want an interface name`,
		`host.qdiscs.g.root.limit: is not an option of default`,
		`host.qdiscs.h.root.maxrate: "5": want a rate from 8bit to `,
		`host.qdiscs.h.root.priomap: "a list": want 16 whole numbers from 0 to 2, separated by spaces`,
		`host.qdiscs.i.root.link: "docsys": want one of bridged-llcsnap, `,
		`host.qdiscs.i.root.rtt: "moon": want a time from `,
		`host.qdiscs.i.root.overhead: "300": want a whole number from -64 to 256`,
		`host.qdiscs.j.root.typical_rtt: "15ms": want at most max_rtt, 10ms`,
		`host.qdiscs.j.root.c_protection: is not an option of dualpi2: want classic_protection`,
		`host.qdiscs.j.root.coupling: "0": want a whole number from 1 to 255`,
		`host.qdiscs.k.root.max_rtt: "100s": want a time that alpha can be computed from`,
		`host.qdiscs.m.root.classes: "a mapping": the default 1:5 is not among the classes`,
		`host.qdiscs.m.root.classes.1:1.prio: "1": has no effect at a class that has others below it`,
		`host.qdiscs.m.root.classes.1:2.rte: is not an option of a class: want rate`,
		`host.qdiscs.m.root.classes.1:3.parent: "1:9": no such class: want one of 1:1, 1:2, 1:3, 1:5, 1:6`,
		`host.qdiscs.m.root.classes.1:3.leaf: "htb": cannot be below another qdisc`,
		`host.qdiscs.m.root.classes: "2:4": want the name of a class`,
		`host.qdiscs.m.root.classes.1:5.parent: "1:5": is too far below others, or below itself`,
		`host.qdiscs.m.root.classes.1:5.rate: "1": want a rate from 8bit to `,
		`host.qdiscs.m.root.classes.1:6.rate: is missing`,
		`host.qdiscs.n.root: "htb": needs classes: want a mapping`,
		`host.qdiscs.l.root.step_packets: "5": cannot be set together with step_thresh: want one of them`,
		`host.qdiscs.h.root.queues: is not an option of fq`,
		`:33:51: host.qdiscs.o.root.ce_threshold_mask: "3": has no effect without ce_threshold: want ce_threshold beside it`,
		`host.qdiscs.p.root.queues.ce_threshold_selector: "1": has no effect without ce_threshold`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "host.qdiscs.q.") {
		t.Errorf("what there is nothing wrong with is refused:\n%v", err)
	}
}

// TestQueueManagers: XDP does not send past a qdisc that is declared, unless it may.
func TestQueueManagers(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(`
dataplane:
  ruleset: x
  interfaces: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e, aqm: false}, {name: f, aqm: true}, {name: g}]
host:
  qdiscs:
    a: dualpi2
    b: pfifo
    c: {root: {kind: mq, queues: fq}}
    d: mq
    e: cake
    f: default
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"a": true, "c": true, "f": true}
	for _, i := range c.Dataplane.Interfaces {
		if i.AQM != want[i.Name] {
			t.Errorf("%s: %v", i.Name, i.AQM)
		}
	}
}
