// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
}

func testOptions() Options {
	return Options{Repetitions: 1, GenCPU: 0, RouterCPU: 1}
}

// TestRedirectCounts sends a known number of packets through the bare
// redirect: each must arrive, be counted once and look right.
func TestRedirectCounts(t *testing.T) {
	needRoot(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	l, err := newLane(ctx, Case{Device: &Redirect{}, Flows: 16}, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()

	const times = 3
	for range times {
		if err := l.traffic.trickle(ctx, 0, 10_000); err != nil {
			t.Fatal(err)
		}
	}
	const want = times * 16
	var n uint64
	for n < want && ctx.Err() == nil {
		if n, err = l.traffic.received(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	sent, err := l.traffic.sent()
	if err != nil {
		t.Fatal(err)
	}
	if n != want || sent != want {
		t.Errorf("sent %d, received %d, want %d", sent, n, want)
	}
	if err := l.checkSamples(); err != nil {
		t.Error(err)
	}
}

// TestMeasureFindsWrongPackets lets a device promise what it does not do.
func TestMeasureFindsWrongPackets(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 50 * time.Millisecond
	_, err := Run(t.Context(), []Case{{Device: liar{&Redirect{}}, Flows: 16}}, o, func(s string) { t.Log(s) })
	if err == nil {
		t.Fatal("packets with an unchanged TTL pass for forwarded ones")
	}
	t.Log(err)
}

// liar redirects and says that it decrements the TTL.
type liar struct{ *Redirect }

func (liar) Promise() Promise {
	return Promise{TTL: startTTL - 1}
}

// TestRunKeepsRounds: what was measured before a round that fails is there.
func TestRunKeepsRounds(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Repetitions, o.Duration = 3, 50*time.Millisecond
	d := &breaking{Redirect: &Redirect{}, after: 2}
	r, err := Run(t.Context(), []Case{{Device: d, Flows: 16}}, o, func(s string) { t.Log(s) })
	if err == nil || r == nil || len(r.Samples) != 2 {
		t.Errorf("got %+v, %v; want two rounds and an error", r, err)
	}
}

// breaking is a redirect that fails after some rounds.
type breaking struct {
	*Redirect
	after int
}

func (*breaking) Watch(context.Context) error { return nil }

func (d *breaking) Verify(context.Context, Case) error {
	if d.after--; d.after < 0 {
		return errors.New("broken")
	}
	return nil
}

// TestEstablish lets the kernel masquerade: replies must come back to each
// flow, and packets must leave with the WAN's address.
func TestEstablish(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Repetitions, o.Duration = someTurns, 50*time.Millisecond
	r, err := Run(t.Context(), []Case{{Device: &NFTables{Ruleset: "../examples/l2/firewall.nft"}, Flows: 16}}, o,
		func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != someTurns || received(r)[NFTablesName] == 0 {
		t.Errorf("got %+v", r.Samples)
	}
}

// someTurns are short ones, of which a busy machine may leave the bench out of some.
const someTurns = 4

// received is what has arrived by each device in all turns.
func received(r *Report) map[string]uint64 {
	all := map[string]uint64{}
	for _, s := range r.Samples {
		all[s.Device] += s.Received
	}
	return all
}

// TestIPv6 is TestEstablish with the other family.
func TestIPv6(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Repetitions, o.Duration = someTurns, 50*time.Millisecond
	cases := []Case{
		{Device: &NFTables{Ruleset: "../examples/l2/firewall.nft"}, Flows: 16, IPv6: true},
		{Device: &Redirect{}, Flows: 2 * flowsAtAddr, IPv6: true},
	}
	r, err := Run(t.Context(), cases, o, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	if n := received(r); n[NFTablesName] == 0 || n[RedirectName] == 0 {
		t.Errorf("got %+v", r.Samples)
	}
	o.Repetitions, o.Duration = 1, 20*time.Millisecond
	lies := []Case{{Device: liar{&Redirect{}}, Flows: 16, IPv6: true}}
	if _, err := Run(t.Context(), lies, o, func(s string) { t.Log(s) }); err == nil {
		t.Error("an unchanged hop limit passes for a forwarded packet's")
	}
}

// TestFresh lets flows begin, each with an answer that comes back; packets of a
// flow that there was are none.
func TestFresh(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 20 * time.Millisecond
	d := &NFTables{Ruleset: writeRuleset(t)}
	if r, err := Run(t.Context(), []Case{{Device: d, Flows: freshFlows, Fresh: true}}, o, func(s string) { t.Log(s) }); err != nil {
		t.Error(err)
	} else if r.Samples[0].Received == 0 {
		t.Error("no answers")
	}
	if _, err := Run(t.Context(), []Case{{Device: d, Flows: 16, Fresh: true}}, o, func(s string) { t.Log(s) }); err == nil {
		t.Error("packets of 16 flows are all taken for new flows")
	}
}

// TestDropped counts what a blocklist drops, of each device and chain; what passes one
// fails the run.
func TestDropped(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 20 * time.Millisecond
	cases, err := (&DropsCmd{Blocked: 10}).cases(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cases = slices.DeleteFunc(cases, func(c Case) bool { _, l2d := c.Device.(*L2d); return l2d })
	r, err := Run(t.Context(), cases, o, func(s string) { t.Log(s) })
	if err != nil || len(r.Samples) != 1+len(blockingChains) {
		t.Fatalf("got %+v, %v", r.Samples, err)
	}
	for _, s := range r.Samples {
		if s.Received == 0 {
			t.Errorf("%s drops nothing", s.Device)
		}
	}
	d := &Redirect{}
	if _, err := Run(t.Context(), []Case{{Device: d, Flows: 16, Dropped: true}}, o, func(s string) { t.Log(s) }); err == nil {
		t.Error("packets that arrive are taken for dropped ones")
	}
}

// TestManyFlows establishes flows to more than one address.
func TestManyFlows(t *testing.T) {
	needRoot(t)
	d := &NFTables{Ruleset: writeRuleset(t)}
	l, err := newLane(t.Context(), Case{Device: d, Flows: 4 * flowsAtAddr, Rate: flowRate}, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

// TestCores has packets come by two queues: each generator's are handled by its own core,
// and the flows of one are not the other's.
func TestCores(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.GenCPU, o.RouterCPU, o.Further = 0, 0, []CPUPair{{1, 1}}
	l, err := newLane(t.Context(), Case{Device: &Redirect{}, Flows: 16, Cores: 2}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	for i, g := range l.traffic.makers {
		if err := g.pace(10_000); err != nil {
			t.Fatal(err)
		}
		before := []time.Duration{ran(t, l.threads[0]), ran(t, l.threads[1])}
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		done := g.run(ctx, o.Further[0].Gen*i)
		<-done
		stop()
		mine, other := ran(t, l.threads[i])-before[i], ran(t, l.threads[1-i])-before[1-i]
		if mine <= other {
			t.Errorf("packets from CPU %d: its core's thread ran %s, the other's %s", i, mine, other)
		}
		samples, err := l.traffic.takeSamples()
		if err != nil || len(samples) == 0 {
			t.Fatalf("%d samples, %v", len(samples), err)
		}
		for _, s := range samples {
			source, _, err := udpEnds(s)
			if err != nil || int(source.Port()-firstPort)%2 != i {
				t.Errorf("a packet from %s by generator %d, %v", source, i, err)
			}
		}
		// The first packet of each receiver's CPU is kept: none so far of the next one's.
	}
	for _, bad := range [][]CPUPair{{{2, 1}}, {{1, 2}}, nil} {
		o.Further = bad
		if got, err := o.pairs(2); err == nil {
			t.Errorf("%v: two queues, and all come to one: %v", bad, got)
		}
	}
}

func ran(t *testing.T, tid int) time.Duration {
	t.Helper()
	d, err := threadTime(tid)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCoresCPUs: the single core is the same as the first of more, and generators have CPUs of
// their own where there are as many.
func TestCoresCPUs(t *testing.T) {
	for cpus, want := range map[int][]CPUPair{2: {{0, 0}, {1, 1}}, 4: {{0, 2}, {1, 3}}, 8: {{0, 2}, {1, 3}}} {
		c := CoresCmd{Cores: 2}
		got, err := c.pairs(cpus)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d CPUs: got %v, %v", cpus, got, err)
		}
		if shared := (Options{GenCPU: want[0].Gen, RouterCPU: want[0].Router, Further: want[1:]}).shared(); shared != (cpus == 2) {
			t.Errorf("%d CPUs: shared %t", cpus, shared)
		}
	}
	for _, bad := range []CoresCmd{
		{Cores: 1}, {Cores: 3}, {Cores: 8}, {Cores: 2, Pairs: []string{"0:1"}}, {Cores: 2, Pairs: []string{"0:1", "2:3"}},
		{Cores: 2, Pairs: []string{"0:2", "1:9"}}, {Cores: 2, Pairs: []string{"0:2", "1"}}, {Cores: 2, Pairs: []string{"0:2", "1:3x"}},
	} {
		if got, err := bad.pairs(4); err == nil {
			t.Errorf("%+v: got %v", bad, got)
		}
	}
}

func writeRuleset(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "masquerade.nft")
	if err := os.WriteFile(name, []byte(ruleLoad{}.ruleset()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestFlood: while packets of other flows are dropped, a flow gets through; and a
// flood that is let through is found.
func TestFlood(t *testing.T) {
	needRoot(t)
	ruleset := filepath.Join(t.TempDir(), "flood.nft")
	if err := os.WriteFile(ruleset, []byte(floodRules.ruleset()), 0o600); err != nil {
		t.Fatal(err)
	}
	step := func(ruleset string) (floodStep, error) {
		m, err := newFlood(t.Context(), &NFTables{Ruleset: ruleset}, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.close(); err != nil {
				t.Error(err)
			}
		}()
		return m.step(t.Context(), 5000)
	}
	if s, err := step(ruleset); err != nil || s.flow == 0 || s.dropped == 0 || s.made == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	s, err := step(writeRuleset(t))
	if err == nil {
		t.Errorf("a flood that is let through counts as dropped: %+v", s)
	}
	t.Log(err)
}

func TestFloodUndisturbed(t *testing.T) {
	for part, good := range map[float64]bool{0: false, 0.07: false, 0.89: false, 0.91: true, 1: true} {
		if err := (floodStep{flow: part * floodFlow}).undisturbed(); (err == nil) != good {
			t.Errorf("%g of the flow: %v", part, err)
		}
	}
}
