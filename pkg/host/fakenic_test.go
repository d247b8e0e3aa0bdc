// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// fakeKinds are the kinds of what such an interface has.
func fakeKinds(n *fakenic.NIC) []reconcile.Kind {
	return []reconcile.Kind{
		&Settings{ethnl.Channels, n.Client}, &Settings{ethnl.Rings, n.Client}, &Settings{ethnl.Pause, n.Client}, &Settings{ethnl.EEE, n.Client},
		newFEC(n.Client), newWoL(n.Client), &PrivateFlags{n.Client}, &RSS{n}, &NTuple{n},
	}
}

func TestFakeNIC(t *testing.T) {
	n := fakenic.New("fake0")
	before := visible(n)
	e := engine(t, t.TempDir(), fakeKinds(n)...)
	wants := []reconcile.Resource{
		nic("channels", "fake0", 0, reconcile.State{"combined": "4"}),
		nic("eee", "fake0", 1, reconcile.State{"enabled": "0", "tx-timer": "70000"}),
		nic(FECKind, "fake0", 2, reconcile.State{valueKey: "baser rs"}),
		nic(WoLKind, "fake0", 3, reconcile.State{valueKey: noMode}),
		nic(PrivateFlagsKind, "fake0", 4, reconcile.State{"legacy-rx": "on"}),
		nic(RSSKind, "fake0", 5, reconcile.State{rssQueues: "0 1 3", rssKey: strings.Repeat("6d:5a:", 19) + "6d:5a"}),
		nic("rings", "fake0", 6, reconcile.State{"rx": "4096", "tx": "1024"}),
		nic("pause", "fake0", 7, reconcile.State{"autoneg": "0", "rx": "1", "tx": "1"}),
	}
	plan, err := e.Plan(t.Context(), wants)
	if err != nil || len(plan.Notes) != 0 || len(plan.Changes) != len(wants) {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := n.State()
	if s.Queues != 4 || s.EEE[5] != 0 || s.EEE[6] != 1 || s.EEE[7] != 70000 || s.FECAuto || !slices.Equal(s.FEC, []string{"BASER", "RS"}) ||
		s.Wake["magic"] || !s.Private["legacy-rx"] || s.Private["vf-ipsec"] || !slices.Equal(s.Table[:6], []uint32{0, 1, 3, 0, 1, 3}) || s.Table[127] != 1 || s.Key[39] != 0x5a {
		t.Errorf("%+v", s)
	}
	if again, err := e.Plan(t.Context(), wants); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := visible(n); after != before {
		t.Errorf("not undone:\n%s\nnot\n%s", after, before)
	}
}

func TestFakeNICProblems(t *testing.T) {
	n := fakenic.New("fake0")
	e := engine(t, t.TempDir(), fakeKinds(n)...)
	before := visible(n)
	_, err := e.Plan(t.Context(), []reconcile.Resource{
		nic("rings", "fake0", 0, reconcile.State{"rx": "9000"}),
		nic("channels", "fake0", 0, reconcile.State{"combined": "9000"}),
		nic("eee", "eth7", 0, reconcile.State{"enabled": "1"}),
		nic(WoLKind, "fake0", 0, reconcile.State{valueKey: "arp magic"}),
		nic(FECKind, "fake0", 0, reconcile.State{valueKey: "reed"}),
		nic(PrivateFlagsKind, "fake0", 0, reconcile.State{"legacy-rxx": "on", "disable-fw-lldp": "on"}),
		nic(RSSKind, "fake0", 0, reconcile.State{rssKey: "01:02", rssQueues: strings.Repeat("0 1 ", 64) + "1"}),
	})
	for _, want := range []string{
		`rings fake0: rx: "9000": more than the device has: want at most 8192`, `channels fake0: combined: "9000": more than the device has: want at most 16`,
		`eee eth7: no such interface`, `wol fake0: value: "arp magic": the driver of fake0 has no arp: want one of magic, mcast, off, ucast`,
		`fec fake0: value: "reed": the driver of fake0 has no reed: want one of auto, baser, llrs, off, rs`,
		`legacy-rxx: "on": the driver of fake0 has no such flag: want legacy-rx`, `disable-fw-lldp: "on": the driver of fake0 has no such flag: want one of legacy-rx, vf-ipsec`,
		`key: "01:02": the device's key has another length: want 40 bytes`, `more than the device's table has room for: want at most 128`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if visible(n) != before {
		t.Error("something was touched")
	}
}

// randomFake is a state that is wanted of the interface.
func randomFake(r *rand.Rand) (list []reconcile.Resource) {
	maybe := func(kind string, rank int, want reconcile.State) {
		for key := range want {
			if want[key] == "" {
				delete(want, key)
			}
		}
		if r.IntN(3) > 0 && len(want) > 0 {
			list = append(list, nic(kind, "fake0", rank, want))
		}
	}
	oneOf := func(values ...string) string { return values[r.IntN(len(values))] }
	maybe("channels", 0, reconcile.State{"combined": oneOf("2", "4", "8", "12")})
	maybe("eee", 1, reconcile.State{"enabled": oneOf("", "0", "1"), "tx-lpi": oneOf("", "0", "1"), "tx-timer": oneOf("", "30", "64")})
	maybe(FECKind, 2, reconcile.State{valueKey: oneOf("off", "rs", "auto", "auto rs", "baser rs")})
	maybe(WoLKind, 3, reconcile.State{valueKey: oneOf("off", "magic", "magic ucast")})
	maybe(PrivateFlagsKind, 4, reconcile.State{"legacy-rx": oneOf("", "on", "off"), "vf-ipsec": oneOf("", "on", "off")})
	maybe(RSSKind, 5, reconcile.State{rssQueues: oneOf("", "0", "0 1", "0 1 2 3", "0 1 2 3 4 5 6 7", "1 1 0"), rssKey: oneOf("", strings.Repeat("01:", 39)+"02")})
	maybe(NTupleKind, 6, reconcile.State{valueKey: oneOf("none", "tcp4 dport 135 drop", "tcp4 dport 135 drop; udp4 dport 137 queue 1; tcp4 dport 139 drop", "tcp4 src 192.0.2.0/24 drop; udp4 src 198.51.0.0/24 queue 3")})
	return list
}

// visible is the state that the kernel shows: not whether a table that is as its own
// is its own.
func visible(n *fakenic.NIC) string {
	s := n.State()
	if inTurn(s.Table, s.Queues) {
		s.TableSet = false
	}
	return fmt.Sprintf("%+v", s)
}

// TestFakeNICRollback: whichever write fails, of whichever plan, and whatever a
// crash leaves undone, the interface is as it was before, to the byte.
func TestFakeNICRollback(t *testing.T) {
	changed := 0
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		n := fakenic.New("fake0")
		if random.IntN(2) == 0 {
			foreignRule(t, n)
		}
		// It begins with some of another plan.
		_, _ = applyAll(t.Context(), engine(t, t.TempDir(), fakeKinds(n)...), randomFake(random))
		list, before := randomFake(random), visible(n)
		for failAt := 0; ; failAt++ {
			writes := 0
			crash := random.IntN(2) == 0
			n.Fail = func() error {
				if writes++; writes != failAt+1 {
					return nil
				}
				if crash {
					panic(errInjected)
				}
				return errInjected
			}
			dir := t.TempDir()
			e := engine(t, dir, fakeKinds(n)...)
			changes, err := applyAll(t.Context(), e, list)
			n.Fail = nil
			if err == nil {
				changed += changes
				break
			}
			if writes > failAt && crash {
				if err := engine(t, dir, fakeKinds(n)...).Recover(t.Context()); err != nil {
					t.Fatalf("seed %d, write %d: %v", seed, failAt, err)
				}
			}
			if after := visible(n); after != before {
				t.Fatalf("seed %d, write %d, crash %v, %v:\n%s, not\n%s", seed, failAt, crash, err, after, before)
			}
			if writes <= failAt {
				break // what the interface refuses itself
			}
		}
	}
	if changed < 200 {
		t.Errorf("only %d changes were made at all", changed)
	}
}

// applyAll applies resources until a panic, which stands for the end of the process.
func applyAll(ctx context.Context, e *reconcile.Engine, list []reconcile.Resource) (changes int, err error) {
	plan, err := e.Plan(ctx, list)
	if err != nil {
		return 0, err
	}
	return len(plan.Changes), applyOrDie(ctx, e, plan)
}

// foreignRule is one that something else has put into the interface, of fields that no
// rule of l2d's has.
func foreignRule(t *testing.T, n *fakenic.NIC) {
	t.Helper()
	var s ethioctl.Spec
	s.SetType(ethioctl.TCPv4)
	copy(s.Header()[10:], []byte{0, 22, 4}) // a port and a type of service
	copy(s.Mask()[10:], []byte{0xff, 0xff, 0xff})
	s.SetCookie(2)
	s.SetLocation(1900)
	if _, err := ethioctl.Insert(n, "fake0", s); err != nil {
		t.Fatal(err)
	}
}

// TestNTuple: rules that stay are not touched, others take their place, and what was
// somebody else's comes back where it was.
func TestNTuple(t *testing.T) {
	n := fakenic.New("fake0")
	foreignRule(t, n)
	before := visible(n)
	e := engine(t, t.TempDir(), fakeKinds(n)...)
	apply := func(rules string, confirm time.Duration) *reconcile.Pending {
		t.Helper()
		plan, err := e.Plan(t.Context(), []reconcile.Resource{nic(NTupleKind, "fake0", 6, reconcile.State{valueKey: rules})})
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: confirm})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := apply("tcp4 dport 135 drop; udp4 dport 137 queue 1", time.Hour)
	if s := n.State(); len(s.Rules) != 2 {
		t.Errorf("%+v", s.Rules)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil || visible(n) != before {
		t.Errorf("%v: %s, not %s", err, visible(n), before)
	}
	apply("tcp4 dport 135 drop; udp4 dport 137 queue 1", 0)
	writes := 0
	n.Fail = func() error { writes++; return nil }
	apply("udp4 dport 137 queue 1; tcp4 dport 139 drop", 0)
	if writes != 2 {
		t.Errorf("%d writes for one rule that goes and one that comes", writes)
	}
	writes = 0
	apply("tcp4 dport 139 drop; udp4 dport 137 queue 1", 0)
	if writes != 0 {
		t.Errorf("%d writes for what is so already", writes)
	}
	// What the NIC does not take is refused with its words, and undone.
	held := visible(n)
	plan, err := e.Plan(t.Context(), []reconcile.Resource{nic(NTupleKind, "fake0", 6, reconcile.State{valueKey: "tcp4 dport 139 drop; tcp4 src 192.0.2.1 drop"})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), plan, reconcile.Options{}); err == nil || !strings.Contains(err.Error(), `the NIC does not take "@1 tcp4 src 192.0.2.1 drop"`) || visible(n) != held {
		t.Errorf("%v", err)
	}
}

// TestRulePlacement: what cannot be done is told together, each at its place.
func TestRulePlacement(t *testing.T) {
	c, err := config.Parse("/x/l2d.yaml", []byte(`dataplane:
  ruleset: x
  interfaces: [{name: ixgbe0}, {name: eth0, xdp: off}, {name: eth1}]
  ntuple:
    - {match: {proto: tcp4, dport: 135}, action: drop, interfaces: [ixgbe0]}
    - {match: {proto: udp, dport: 137}, action: drop, interfaces: [ixgbe0]}
    - match: {src: 192.0.2.1}
      action: queue 2
      interfaces: [ixgbe0]
    - {match: {src: 192.0.2.2}, action: queue 8, interfaces: [ixgbe0]}
    - {match: {src: 192.0.2.0/24}, action: queue 1, interfaces: [ixgbe0]}
    - {match: {proto: icmp}, action: drop, interfaces: [eth0]}
    - {match: {vlan: 7}, action: cpu 1, interfaces: [eth1]}
    - {match: {}, action: "cpu 0-1,700", interfaces: [eth1]}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := rulePlacer{c: c, cpus: cpus.Machine{Possible: []int{0, 1}, Online: []int{0, 1}}, facts: func(name string) nicFacts {
		switch name {
		case "ixgbe0":
			return nicFacts{driver: "ixgbe", features: map[string]bool{ntupleFeature: true}, queues: 8}
		case "eth1":
			return nicFacts{driver: "r8169", features: map[string]bool{vlanFeature: true}}
		}
		return nicFacts{driver: "r8169"}
	}}
	_, err = p.place()
	if err == nil {
		t.Fatal("all is well")
	}
	want := []string{
		`/x/l2d.yaml:14:27: dataplane.ntuple[7].action: the machine has no CPU 700: want CPUs of 0-1`,
		`/x/l2d.yaml:10:41: dataplane.ntuple[3].action: ixgbe0 has no receive queue 8: want a queue from 0 to 7, or more of channels`,
		`/x/l2d.yaml:11:7: dataplane.ntuple[4]: ixgbe0 does not take "ip4 src 192.0.2.0/24 queue 1": its filters have one mask per port: want a rule that the NIC takes, or cpu N instead, which XDP does`,
		`/x/l2d.yaml:12:7: dataplane.ntuple[5]: eth0 does not take "icmp drop": what the driver r8169 takes is not known; and its XDP is off: want xdp: auto or native for eth0`,
		`/x/l2d.yaml:13:22: dataplane.ntuple[6].match.vlan: eth1 takes tags out of frames before XDP sees them: want features: {rx-vlan-hw-parse: false} for it in host.nics`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("%s\nnot\n%s", err, strings.Join(want, "\n"))
	}
	// Without them.
	c.Dataplane.NTuple = c.Dataplane.NTuple[:3]
	p.errs = nil
	placed, err := p.place()
	if err != nil {
		t.Fatal(err)
	}
	if got := ntupleWant(placed["ixgbe0"])[valueKey]; got != "ip4 src 192.0.2.1 queue 2" {
		t.Errorf("%q", got)
	}
}
