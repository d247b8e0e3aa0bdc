// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestHostCPUs(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(`dataplane:
  ruleset: x
  interfaces: [{name: a}]
  cpus: 0,12,1,13,2-3
host:
  governor: {0-7: performance, 8: schedutil}
  nics:
    a: {irqs: dataplane, rps: {cpus: 8-9, flows: 4096}, xps: [0, "1", 2-3], threaded: true, threads: dataplane}
    b: {irqs: 4, rps: [none, 1], xps: none, threaded: false, threads: [0-1, 2]}
    c: {irqs: keep, rps: dataplane}
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(struct {
		CPUs []int
		Host any
	}{c.Dataplane.CPUs, c.Host})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"CPUs":[0,12,1,13,2,3],`,
		`{"name":"a","irqs":{"dataplane":true,"each":true},"rps":{"sets":[[8,9]]},"xps":{"sets":[[0],[1],[2,3]]},"flows":4096,"threaded":true,"threads":{"dataplane":true}}`,
		`{"name":"b","irqs":{"sets":[[4]],"each":true},"rps":{"sets":[null,[1]]},"xps":{"sets":[null]},"threaded":false,"threads":{"sets":[[0,1],[2]]}}`,
		`{"name":"c","irqs":{"keep":true,"each":true},"rps":{"dataplane":true}}`,
		`"governor":[{"cpus":[0,1,2,3,4,5,6,7],"name":"performance"},{"cpus":[8],"name":"schedutil"}]`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if e := c.Host.NICs[0].IRQs.At("f", "a", "irqs"); fmt.Sprint(e) != "f:8:15: host.nics.a.irqs" {
		t.Error(e)
	}
	if e := c.Dataplane.CPUsAt("f"); fmt.Sprint(e) != `f:4:9: dataplane.cpus: "0-3,12-13"` {
		t.Error(e)
	}
	if c, err = Parse("/x/l2d.yaml", []byte(least+"host: {governor: performance}\n")); err != nil || len(c.Host.Governors) != 1 || c.Host.Governors[0].CPUs != nil {
		t.Errorf("one governor for all: %v", err)
	}
}

// TestBadHostCPUs: all that is wrong is told together, with its place.
func TestBadHostCPUs(t *testing.T) {
	_, err := Parse("/x/l2d.yaml", []byte(`dataplane:
  ruleset: x
  interfaces: [{name: a}]
host:
  governor: {0-7: performance, 7: powersave, 8: [x]}
  nics:
    a: {irqs: dataplane, rps: {cpus: 8-1, flows: -1}, xps: [], threaded: 1}
    b: {irqs: none, rps: [[1]], xps: 010}
    c: {irqs: all, rps: {flows: 4096, cpu: 1}}
`))
	want := []string{
		`5:32: host.governor: "7": CPU 7 has one already, on line 5: want each CPU once`,
		`5:49: host.governor.8: "a list": want a governor, such as performance`,
		`7:15: host.nics.a.irqs: "dataplane": dataplane.cpus is not given: want a list of CPUs`,
		`7:38: host.nics.a.rps.cpus: "8-1": "8-1" ends before it begins: want a list of CPUs, such as 0-7`,
		`7:50: host.nics.a.rps.flows: "-1": want a whole number`,
		`7:60: host.nics.a.xps: "a list": want a list of CPUs, such as 0-7 or 0,12,1,13, a list of them, or dataplane or none`,
		`7:74: host.nics.a.threaded: "1": want true or false`,
		`8:15: host.nics.b.irqs: "none": "none" is no CPU's number`,
		`8:27: host.nics.b.rps[0]: "a list": want a list of CPUs`,
		`8:38: host.nics.b.xps: "010": "010" is no CPU's number`,
		`9:15: host.nics.c.irqs: "all": "all" is no CPU's number`,
		`9:39: host.nics.c.rps.cpu: unknown key`,
	}
	var got []string
	if err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if len(got) != len(want) {
		t.Fatalf("%d problems, not %d:\n%v", len(got), len(want), err)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], "/x/l2d.yaml:"+want[i]) {
			t.Errorf("%s\nis not\n%s", got[i], want[i])
		}
	}
}
