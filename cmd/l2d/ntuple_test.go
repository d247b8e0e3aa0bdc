// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// TestNTupleLocation: of a rule in a NIC it is said at which number of the NIC's table it is, wherever that puts it and
// whatever others are there; of one that somebody has taken out that it is missing; hits are those of XDP's rules.
func TestNTupleLocation(t *testing.T) {
	nic := fakenic.New("fake0")
	if err := nic.Change(func(s *fakenic.State) error {
		s.Statistics = []ethioctl.Statistic{{Name: "fdir_match", Value: 42}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var placed []ntuple.Placed
	put := func(text string, at uint32) {
		t.Helper()
		r, err := ntuple.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Spec()
		if err != nil {
			t.Fatal(err)
		}
		s.SetLocation(at)
		if _, err := ethioctl.Insert(nic, "fake0", s); err != nil {
			t.Fatal(err)
		}
		placed = append(placed, ntuple.Placed{Rule: r, Hardware: true, XDP: r.Action == ntuple.ToQueue, Of: len(placed)})
	}
	put("udp4 dport 137 queue 1", 2045) // XDP knows it, too, to leave it alone
	put("tcp4 dport 135 drop", 0)
	put("tcp4 dport 139 drop", 7)
	put("tcp4 dport 140 drop", 1) // not of the list: the same port as none
	placed = placed[:3]
	slow, err := ntuple.Parse("sctp6 dport 9 drop")
	if err != nil {
		t.Fatal(err)
	}
	placed = append(placed, ntuple.Placed{Rule: slow, XDP: true, Why: "a reason"})

	check := func(hits []uint64, wants ...string) {
		t.Helper()
		list := ntuplesOf(nic, "fake0", placed, hits)
		if len(list) != len(wants) {
			t.Fatalf("%+v", list)
		}
		for i, r := range list {
			got := r.Interface + " " + r.Rule + ": " + string(r.Place)
			if r.Location != nil {
				got += fmt.Sprint(" at ", *r.Location)
			}
			if r.Hits != nil {
				got += fmt.Sprint(", ", *r.Hits, " hits")
			}
			if r.NICHits != nil {
				got += fmt.Sprint(", all ", r.NICHits["fdir_match"])
			}
			if r.Why != "" {
				got += ", " + r.Why
			}
			if got != wants[i] {
				t.Errorf("%q, not %q", got, wants[i])
			}
		}
	}
	check([]uint64{3, 4}, "fake0 udp4 dport 137 queue 1: NIC at 2045, all 42", "fake0 tcp4 dport 135 drop: NIC at 0, all 42",
		"fake0 tcp4 dport 139 drop: NIC at 7, all 42", "fake0 sctp6 dport 9 drop: XDP, 4 hits, a reason")
	// Somebody takes one out, and another away from XDP.
	if err := ethioctl.Delete(nic, "fake0", 0); err != nil {
		t.Fatal(err)
	}
	check(nil, "fake0 udp4 dport 137 queue 1: NIC at 2045, all 42", "fake0 tcp4 dport 135 drop: missing, all 42",
		"fake0 tcp4 dport 139 drop: NIC at 7, all 42", "fake0 sctp6 dport 9 drop: missing, a reason")
}

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
