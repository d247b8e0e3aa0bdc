// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The example test cases of draft-ietf-ccwg-bbr, in its order. Each runs the state machine as
// the kernel has it, on a simulated path.

// usual is 10 Mbit/s, 40 ms, and one BDP of queue.
func usual() simPath { return simPath{rate: 860, rtt: 40 * millisecond, queue: 35} }

func TestStartupExitsOnPlateau(t *testing.T) {
	c := connect(t, usual(), Settings{})
	if c.b.PacingGain != 710 || c.b.CwndGain != 512 {
		t.Fatalf("gains of STARTUP: %d/256, %d/256", c.b.PacingGain, c.b.CwndGain)
	}
	c.path.queue = 1000 // no loss may end it
	counts := map[uint8]bool{}
	c.onAck = func() { counts[c.b.FullBwCount] = true }
	c.reach(drain, 5*second)
	if !counts[1] || !counts[2] || c.b.FullBwCount != 3 || c.b.FullBwNow == 0 || c.b.FullBwReached == 0 {
		t.Errorf("rounds without growth: %v, %d", counts, c.b.FullBwCount)
	}
	if !near(c.maxBW(), c.path.rate, 0.02) {
		t.Errorf("%.0f packets/s, of %.0f", c.maxBW(), c.path.rate)
	}
	if c.b.InflightLongterm != noInflight || c.lost != 0 {
		t.Errorf("longterm %d, lost %d", c.b.InflightLongterm, c.lost)
	}
}

// lossy loses a share of packets.
func lossy(share float64) func(int) bool {
	r := rand.New(rand.NewPCG(3, 4))
	return func(int) bool { return r.Float64() < share }
}

func TestStartupExitsOnLossWhenAppLimited(t *testing.T) {
	p := usual()
	p.rate, p.queue = 5000, 1000
	c := connect(t, p, Settings{})
	c.appRate = 2000
	c.run(second, nil)
	if c.b.State != startup || c.b.FullBwReached != 0 {
		t.Fatalf("limited by the application: %s", c.describe())
	}
	c.path.lose = lossy(0.1)
	c.leave(startup, 5*second)
	if c.b.FullBwNow == 0 || c.b.FullBwReached == 0 || c.b.Rs.IsAppLimited == 0 {
		t.Errorf("full now %d, reached %d, sample limited %d", c.b.FullBwNow, c.b.FullBwReached, c.b.Rs.IsAppLimited)
	}
	if c.b.InflightLongterm == noInflight {
		t.Error("no inflight_longterm")
	}
}

func TestDrainExitsOnInflight(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(drain, 5*second)
	if c.b.PacingGain != 128 {
		t.Errorf("pacing gain %d/256", c.b.PacingGain)
	}
	begun := c.b.RoundCount
	c.leave(drain, second)
	if float64(c.inflight()) > c.path.bdp()*1.1+3 || c.b.RoundCount > begun+3 {
		t.Errorf("%d in flight, BDP %.0f, %d rounds", c.inflight(), c.path.bdp(), c.b.RoundCount-begun)
	}
}

func TestDrainExitsOnTime(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(drain, 5*second)
	c.path.rate /= 4 // more than the draft's tenth: it must not be empty in time
	begun := c.b.RoundCount
	c.leave(drain, 5*second)
	if c.b.RoundCount != begun+4 || float64(c.inflight()) <= bandwidth(c.b.Bw)*float64(c.b.MinRtt)/second {
		t.Errorf("%d rounds, %d in flight", c.b.RoundCount-begun, c.inflight())
	}
}

func TestUpExitsOnPlateau(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(up, 10*second)
	if c.b.PacingGain != 320 || c.b.CwndGain != 576 {
		t.Errorf("gains %d/256, %d/256", c.b.PacingGain, c.b.CwndGain)
	}
	begun := c.b.RoundCount
	c.reach(down, 5*second)
	if c.b.RoundCount < begun+3 || c.b.FullBwNow == 0 || c.lost != 0 {
		t.Errorf("%d rounds, full %d, lost %d", c.b.RoundCount-begun, c.b.FullBwNow, c.lost)
	}
}

func TestUpExitsOnLossWhenAppLimited(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(refill, 10*second)
	c.appRate = c.path.rate / 2
	c.reach(up, second)
	c.run(200*millisecond, nil)
	if c.b.State != up {
		t.Fatalf("left without loss: %s", c.describe())
	}
	before := c.b.InflightLongterm
	c.path.lose = lossy(0.3)
	c.leave(up, 2*second)
	if c.b.ProbeTooHigh == 0 || c.b.InflightLongterm != before {
		t.Errorf("too high %d, longterm %d after %d: an application's limit says nothing of the path", c.b.ProbeTooHigh, c.b.InflightLongterm, before)
	}
}

func TestAppLimitedStays(t *testing.T) {
	for _, state := range []uint8{startup, up} {
		p := usual()
		p.queue = 1000
		c := connect(t, p, Settings{})
		limit := c.path.rate / 10
		if state == up {
			c.reach(refill, 10*second)
			limit = c.path.rate / 2
		}
		c.appRate = limit
		c.reach(state, second)
		if c.run(4*second, func() bool { return c.b.State != state }) && c.b.State != probeRTT {
			t.Errorf("%s: %s", stateNames[state], c.describe())
		}
	}
}

func TestDownExitsOnInflight(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.reach(up, 10*second)
	c.reach(down, 5*second)
	if c.b.PacingGain != 230 {
		t.Errorf("pacing gain %d/256", c.b.PacingGain)
	}
	c.reach(cruise, 3*second)
	bound := bandwidth(max(c.b.MaxBw[0], c.b.MaxBw[1])) * float64(c.b.MinRtt) / second
	if c.b.InflightLongterm != noInflight {
		bound = min(bound, 0.86*float64(c.b.InflightLongterm))
	}
	if float64(c.inflight()) > bound+3 {
		t.Errorf("%d in flight, want at most %.0f", c.inflight(), bound)
	}
}

func TestDownExitsAfterMaxTime(t *testing.T) {
	s := DefaultSettings
	s.ProbeRTTInterval = 60 * time.Second
	c := connect(t, usual(), s)
	c.path.queue = 10000
	c.reach(up, 10*second)
	c.reach(down, 5*second)
	// The queue shall not drain, and rounds shall be long: it is the clock that ends it.
	c.path.rate *= 0.5
	entered, wait := c.now, int64(c.b.ProbeWait)
	if !c.run(5*second, func() bool { return c.b.State != down }) {
		t.Fatal("it stays")
	}
	if c.b.State != refill || c.now < entered+wait {
		t.Errorf("%s after %d ms, of %d", stateNames[c.b.State], (c.now-entered)/millisecond, wait/millisecond)
	}
}

func TestProbeRTT(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.reach(probeRTT, 12*second)
	if c.b.CwndGain != 128 {
		t.Errorf("cwnd gain %d/256", c.b.CwndGain)
	}
	at := c.now
	lowest := c.inflight()
	c.run(2*second, func() bool { lowest = min(lowest, c.inflight()); return c.b.State != probeRTT })
	if c.b.State != cruise || c.now-at < 200*millisecond {
		t.Errorf("%s after %d ms", stateNames[c.b.State], (c.now-at)/millisecond)
	}
	if float64(lowest) > c.path.bdp()/2+2 {
		t.Errorf("%d in flight at least", lowest)
	}
	before := c.delivered
	c.run(second, nil)
	if got := float64(c.delivered - before); got < 0.8*c.path.rate {
		t.Errorf("afterwards %.0f packets/s", got)
	}
	c.reach(probeRTT, 12*second)
	if since := c.now - at; since < 5*second || since > 11*second {
		t.Errorf("the next after %d ms", since/millisecond)
	}
}

func TestIdleSkipsProbeRTT(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.reach(cruise, 10*second)
	c.appRate = -1
	c.run(6*second, nil)
	if c.inflight() != 0 {
		t.Fatalf("%d in flight", c.inflight())
	}
	c.appRate = 1e9
	if !c.run(second, func() bool { return c.b.IdleRestart != 0 }) {
		t.Fatal("no idle_restart")
	}
	if c.pacing == 0 || !near(float64(c.pacing)/mss, bandwidth(c.b.Bw)*pacingMargin, 0.02) {
		t.Errorf("paced at %d packets/s, bw %.0f", c.pacing/mss, bandwidth(c.b.Bw))
	}
	if c.run(2*second, func() bool { return c.b.State == probeRTT }) {
		t.Errorf("%s", c.describe())
	}
}

func TestStartupWithAggregation(t *testing.T) {
	p := usual()
	p.aggregate, p.queue = 30*millisecond, 1000
	c := connect(t, p, Settings{})
	c.reach(drain, 10*second)
	if extra := max(c.b.ExtraAcked[0], c.b.ExtraAcked[1]); extra == 0 {
		t.Error("no extra_acked")
	}
	if float64(c.cwnd) <= 2*c.path.bdp() {
		t.Errorf("cwnd %d, BDP %.0f", c.cwnd, c.path.bdp())
	}
	if !near(c.maxBW(), c.path.rate, 0.25) {
		t.Errorf("%.0f packets/s, of %.0f", c.maxBW(), c.path.rate)
	}
}

func TestCruiseWithAggregation(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(cruise, 10*second)
	c.path.aggregate = 30 * millisecond
	c.run(3*second, nil)
	before := c.delivered
	c.run(4*second, nil)
	if got := float64(c.delivered-before) / 4; got < 0.85*c.path.rate {
		t.Errorf("%.0f packets/s, of %.0f", got, c.path.rate)
	}
	if extra := max(c.b.ExtraAcked[0], c.b.ExtraAcked[1]); float64(extra) < c.path.rate*0.02 {
		t.Errorf("extra_acked %d", extra)
	}
}

func TestSubPacketBDP(t *testing.T) {
	c := connect(t, simPath{rate: 50, rtt: 5 * millisecond, queue: 100}, Settings{})
	c.reach(cruise, 30*second)
	least := c.cwnd
	before, at := c.delivered, c.now
	c.run(10*second, func() bool { least = min(least, c.cwnd); return false })
	if least < 4 {
		t.Errorf("cwnd %d", least)
	}
	if got := float64(c.delivered-before) * second / float64(c.now-at); !near(got, c.path.rate, 0.1) {
		t.Errorf("%.1f packets/s, of %.0f", got, c.path.rate)
	}
	if paced := float64(c.pacing) / mss; !near(paced, c.path.rate, 0.4) {
		t.Errorf("paced at %.1f packets/s", paced)
	}
}

// Beyond the draft's: each cycle waits for another time, of two to three seconds (PickProbeWait).
func TestProbeWaits(t *testing.T) {
	c := connect(t, usual(), Settings{})
	waits := map[uint32]bool{}
	for range 4 {
		c.reach(up, 12*second)
		c.reach(down, 5*second)
		if c.b.ProbeWait < 2*second || c.b.ProbeWait >= 3*second {
			t.Errorf("waits %d us", c.b.ProbeWait)
		}
		waits[c.b.ProbeWait] = true
	}
	if len(waits) != 4 {
		t.Errorf("4 cycles wait %v us", waits)
	}
}

// Beyond the draft's: a round with losses leaves a share of the bounds, of a slow path's, too.
// A timeout takes the window to one packet, and not what the path is taken for.
func TestLowerBounds(t *testing.T) {
	m := newMachine(t, Settings{})
	m.b.C.Mss, m.b.C.CwndClamp, m.b.C.MaxPacingRate, m.b.C.Now = mss, noInflight, ^uint64(0), second
	m.event(simInit)
	m.b.State, m.b.FullBwReached, m.b.LossInRound, m.b.MinRtt, m.b.MaxBw[1] = probeRTT, 1, 1, 50*millisecond, 2000
	m.b.C.Cwnd, m.b.C.InRecovery, m.b.PriorCwnd = 1, 1, 100
	m.b.BwShortterm, m.b.C.Delivered = 900, 1
	m.b.Rs.Interval, m.b.Rs.NewlyAcked, m.b.Rs.Rtt = second, 1, -1
	m.event(simAck)
	if m.b.BwShortterm != 630 || m.b.InflightShortterm != 70 {
		t.Errorf("bw %d, want 630, inflight %d, want 70", m.b.BwShortterm, m.b.InflightShortterm)
	}
}

func TestTenTimesTheBandwidth(t *testing.T) {
	c := connect(t, usual(), Settings{})
	// An upper bound from loss, so that probing has to raise it.
	c.reach(cruise, 10*second)
	c.run(6*second, nil)
	c.b.InflightLongterm = min(c.b.InflightLongterm, 2*uint32(c.path.bdp()))
	c.path.rate *= 10
	c.path.queue *= 10
	c.reach(up, 5*second)
	slopes := map[uint32]bool{}
	if !c.run(15*second, func() bool { slopes[c.b.ProbeUpRounds] = true; return c.maxBW() > 0.9*c.path.rate }) {
		t.Fatalf("%.0f packets/s, of %.0f: %s", c.maxBW(), c.path.rate, c.describe())
	}
	if len(slopes) < 4 {
		t.Errorf("slopes of growth: %v", slopes)
	}
}

func TestTenthOfTheBandwidth(t *testing.T) {
	p := usual()
	p.rate, p.queue = 4000, 160
	c := connect(t, p, Settings{})
	c.reach(cruise, 10*second)
	c.path.rate /= 10
	c.path.queue /= 10
	if !c.run(3*second, func() bool { return bandwidth(c.b.BwShortterm) < 0.5*c.maxBW() }) {
		t.Errorf("bw_shortterm %.0f packets/s", bandwidth(c.b.BwShortterm))
	}
	if !c.run(30*second, func() bool { return c.maxBW() < 1.1*c.path.rate }) {
		t.Errorf("max_bw %.0f packets/s, of %.0f: %s", c.maxBW(), c.path.rate, c.describe())
	}
}

func TestPolicer(t *testing.T) {
	p := usual()
	p.bucket = 200
	c := connect(t, p, Settings{})
	short := false
	c.run(20*second, func() bool {
		short = short || c.b.BwShortterm != ^uint64(0) && c.b.InflightShortterm != noInflight
		return false
	})
	if !short {
		t.Error("the short-term model was never used")
	}
	lost, delivered := c.lost, c.delivered
	c.run(20*second, nil)
	share := float64(c.lost-lost) / float64(c.lost-lost+c.delivered-delivered)
	if got := float64(c.delivered-delivered) / 20; share > 0.1 || got < 0.7*c.path.rate {
		t.Errorf("%.0f packets/s, of %.0f, %.1f %% lost", got, c.path.rate, 100*share)
	}
}

// spurious has the packets of a moment overtaken by others, and checks that what was taken
// for a loss leaves nothing behind.
func spurious(t *testing.T, delay int64, timeout bool) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(up, 10*second)
	bw, inflight, longterm := c.b.BwShortterm, c.b.InflightShortterm, c.b.InflightLongterm
	from := c.sent + 5
	c.path.delay = func(number int) int64 {
		if number >= from && (timeout || number < from+8) {
			return delay
		}
		return 0
	}
	if !c.run(3*second, func() bool { return c.recovering }) {
		t.Fatal("no recovery")
	}
	if c.timeout != timeout {
		t.Fatalf("timeout %v", c.timeout)
	}
	if c.b.UndoBwShortterm != bw || c.b.UndoInflightShortterm != inflight || c.b.UndoInflightLongterm != longterm {
		t.Errorf("saved %d %d %d, of %d %d %d", c.b.UndoBwShortterm, c.b.UndoInflightShortterm, c.b.UndoInflightLongterm, bw, inflight, longterm)
	}
	cwnd := c.b.PriorCwnd
	c.path.delay = nil
	if !c.run(3*second, func() bool { return c.undos > 0 }) {
		t.Fatalf("no undo: %d of %d came", c.spurious, c.lostInRecovery)
	}
	if c.b.InflightLongterm < longterm || c.b.InflightShortterm < inflight || c.b.BwShortterm < bw || c.b.UndoState != none {
		t.Errorf("after the undo: %d %d %d", c.b.InflightLongterm, c.b.InflightShortterm, c.b.BwShortterm)
	}
	if c.b.State != refill && c.b.State != up {
		t.Errorf("after the undo: %s", c.describe())
	}
	if c.b.C.Cwnd < min(cwnd, c.b.C.Cwnd+1)-1 {
		t.Errorf("cwnd %d, before %d", c.b.C.Cwnd, cwnd)
	}
}

func TestSpuriousFastRecovery(t *testing.T) { spurious(t, 25*millisecond, false) }

func TestSpuriousTimeout(t *testing.T) { spurious(t, 1500*millisecond, true) }

func TestProbeRTTDuringStartup(t *testing.T) {
	p := usual()
	p.queue = 1000
	c := connect(t, p, Settings{})
	c.appRate = c.path.rate / 4 // never full
	c.path.rtt = 40 * millisecond
	c.run(second, nil)
	c.path.rtt += 5 * millisecond // nothing refreshes the minimum
	c.reach(probeRTT, 10*second)
	if c.b.FullBwReached != 0 {
		t.Fatal("full already")
	}
	if !c.run(2*second, func() bool { return c.b.State != probeRTT }) || c.b.State != startup {
		t.Errorf("%s", c.describe())
	}
}

func TestLossInUpWithLongterm(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(refill, 10*second)
	c.b.InflightLongterm = 3 * uint32(c.path.bdp())
	c.reach(up, second)
	longterm, target := c.b.InflightLongterm, min(float64(c.cwnd), bandwidth(c.b.Bw)*float64(c.b.MinRtt)/second)
	c.path.lose = lossy(0.3)
	c.reach(down, second)
	if c.b.InflightLongterm >= longterm || float64(c.b.InflightLongterm) < 0.7*target-1 {
		t.Errorf("longterm %d, was %d, target %.0f", c.b.InflightLongterm, longterm, target)
	}
	if c.b.ProbeTooHigh == 0 || c.b.UndoState != up {
		t.Errorf("too high %d, undo state %s", c.b.ProbeTooHigh, stateNames[c.b.UndoState])
	}
}

func TestAppLimitedRefill(t *testing.T) {
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(refill, 10*second)
	before := c.maxBW()
	c.appRate = c.path.rate / 5
	c.reach(up, 2*second)
	if c.maxBW() != before {
		t.Errorf("max_bw %.0f, was %.0f packets/s", c.maxBW(), before)
	}
	c.appRate = 1e9
	c.reach(down, 5*second)
	if !near(c.maxBW(), c.path.rate, 0.05) {
		t.Errorf("max_bw %.0f packets/s, of %.0f", c.maxBW(), c.path.rate)
	}
}
