// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// TestNTuple: rules that sort packets are planned, applied and undone with all else, over
// the daemon's death too, and what cannot be is refused at its place.
func TestNTuple(t *testing.T) {
	h := newHost(t)
	declare := func(rules ...string) {
		t.Helper()
		list := "\n  ntuple: ["
		for _, r := range rules {
			list += "\n    " + r + ","
		}
		h.write("l2d.yaml", strings.Replace(h.config(), "\ncontrol", list+"]\ncontrol", 1))
	}
	const ssh = "{match: {proto: tcp, dport: 22}, action: drop, interfaces: [wan0]}"
	declare(ssh)
	p := h.start()
	h.expect("READY=1")
	c := h.client()
	rules := func() (list []api.NTuple) {
		t.Helper()
		list, err := c.NTuples(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := rules()
	if len(list) != 2 || list[0].Rule != "tcp4 dport 22 drop" || list[1].Rule != "tcp6 dport 22 drop" || list[0].Interface != "wan0" ||
		list[0].Place != api.PlaceXDP || list[0].Why == "" || *list[0].Hits != 0 {
		t.Fatalf("%+v", list)
	}
	h.knock(1000, 5)
	h.settles("hits", func() bool { l := rules(); return *l[0].Hits == 5 && *l[1].Hits == 0 })
	if n := h.status().Dataplane.Stats["drop_steer"]; n != 5 {
		t.Errorf("%d drops", n)
	}

	// Bad ones are told together, and nothing changes.
	declare(ssh, "{match: {proto: tcp, dport: 23}, action: cpu 999, interfaces: [wan0]}", "{match: {proto: udp}, action: drop, interfaces: [br0]}")
	_, err := c.HostApply(t.Context(), api.HostOptions{})
	for _, want := range []string{"l2d.yaml:7:46: dataplane.ntuple[1].action: ", "machine has no CPU 999"} {
		if !api.IsBadInput(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}

	// A change that waits is one of the dataplane's, and undone with it.
	declare("{match: {proto: tcp4, dport: 23}, action: drop, interfaces: [wan0]}")
	a, err := c.HostApply(t.Context(), api.HostOptions{Confirm: time.Hour})
	if err != nil || a.Pending == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if l := rules(); len(l) != 1 || l[0].Rule != "tcp4 dport 23 drop" {
		t.Errorf("%+v", l)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	h.start()
	h.expect("READY=1")
	if l := rules(); len(l) != 1 || l[0].Place != api.PlaceXDP {
		t.Errorf("after a restart: %+v", l)
	}
	if err := c.HostRollback(t.Context(), a.Pending.ID); err != nil {
		t.Fatal(err)
	}
	if l := rules(); len(l) != 2 || l[0].Rule != "tcp4 dport 22 drop" {
		t.Errorf("not undone: %+v", l)
	}
	before := *rules()[0].Hits
	h.knock(2000, 5)
	h.settles("hits", func() bool { return *rules()[0].Hits == before+5 })

	// None at all.
	declare()
	if _, err := c.HostApply(t.Context(), api.HostOptions{}); err != nil {
		t.Fatal(err)
	}
	if l := rules(); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}
