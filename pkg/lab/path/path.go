// SPDX-License-Identifier: GPL-2.0-only

// Package path is an emulated network path between two network namespaces: one bottleneck
// with a rate, a queue and faults, which packets go through in user space. The kernel's
// own emulator, netem, is not in every kernel, and tells no packet's delay.
package path

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Spec is what a path is like. Its faults are on the way from the sender to the receiver.
type Spec struct {
	// Rate is that of the bottleneck in bits of IP packets a second.
	Rate int64 `json:"rate"`
	// RTT is the round trip of an empty path; Jitter is up to how much more a
	// packet takes, without overtaking others.
	RTT    time.Duration `json:"rtt_ns"`
	Jitter time.Duration `json:"jitter_ns,omitempty"`
	// Limit is how many bytes wait at most; what comes then is lost.
	Limit int `json:"limit"`
	// Loss is the share of packets that is lost at random, in runs of LossRun packets
	// on average.
	Loss    float64 `json:"loss,omitempty"`
	LossRun float64 `json:"loss_run,omitempty"`
	// Mark has packets of ECN-capable connections marked that have waited as long; 0 marks
	// none.
	Mark time.Duration `json:"mark_ns,omitempty"`
	// Reorder is the share of packets that are overtaken by those of the next tenth of
	// the RTT.
	Reorder float64 `json:"reorder,omitempty"`
	// Aggregate has ACKs wait for a multiple of it.
	Aggregate time.Duration `json:"aggregate_ns,omitempty"`
}

// BDP is in bytes.
func (s Spec) BDP() int { return int(float64(s.Rate) / 8 * s.RTT.Seconds()) }

// Check returns what is out of range.
func (s Spec) Check() error {
	share := func(v float64) bool { return v >= 0 && v < 1 }
	switch {
	case s.Rate < 64_000 || s.Rate > 10_000_000_000:
		return fmt.Errorf("rate of %d bit/s: want 64 kbit/s to 10 Gbit/s", s.Rate)
	case s.RTT < 0 || s.RTT > 10*time.Second || s.Jitter < 0 || s.Jitter > 10*time.Second || s.Aggregate < 0 || s.Aggregate > time.Second || s.Mark < 0:
		return fmt.Errorf("RTT %s, jitter %s, aggregation %s, mark %s: want times up to 10s, and 1s of aggregation", s.RTT, s.Jitter, s.Aggregate, s.Mark)
	case s.Limit < maxPacket:
		return fmt.Errorf("queue of %d bytes: want at least one packet, %d", s.Limit, maxPacket)
	case !share(s.Loss) || !share(s.Reorder) || s.LossRun < 0:
		return fmt.Errorf("loss %g in runs of %g, reordering %g: want shares from 0 to below 1", s.Loss, s.LossRun, s.Reorder)
	}
	return nil
}

// maxPacket is the MTU.
const maxPacket = 1500

// fate is what becomes of a packet.
type fate struct {
	lost, marked bool
	waits        time.Duration // in the queue
	out          time.Time     // of the path
	overtaken    bool
}

// bottleneck decides that. It is what the time says it is, and not when it is asked:
// a late process makes bursts, and no rate.
type bottleneck struct {
	Spec
	random *rand.Rand
	idle   time.Time // when all that waits has gone
	last   time.Time // when the last one is out: none overtakes it
	losing bool
}

func newBottleneck(s Spec, seed uint64) *bottleneck {
	return &bottleneck{Spec: s, random: rand.New(rand.NewPCG(seed, 1))}
}

// accept is a packet that comes to it.
func (b *bottleneck) accept(now time.Time, bytes int, capable bool) (f fate) {
	if b.loses() {
		return fate{lost: true}
	}
	if f.waits = b.idle.Sub(now); f.waits < 0 {
		f.waits, b.idle = 0, now
	}
	if int(f.waits.Seconds()*float64(b.Rate)/8)+bytes > b.Limit {
		return fate{lost: true, waits: f.waits}
	}
	b.idle = b.idle.Add(time.Duration(float64(bytes) * 8 / float64(b.Rate) * float64(time.Second)))
	f.marked = capable && b.Mark > 0 && f.waits > b.Mark
	f.out = b.idle.Add(b.RTT / 2)
	if b.Jitter > 0 {
		f.out = f.out.Add(time.Duration(b.random.Int64N(int64(b.Jitter))))
	}
	if b.Reorder > 0 && b.random.Float64() < b.Reorder {
		f.out, f.overtaken = f.out.Add(b.RTT/10), true
		return f
	}
	if f.out.Before(b.last) {
		f.out = b.last
	}
	b.last = f.out
	return f
}

// loses tells whether the next packet is lost at random: a chain of two states (Gilbert), by
// the share and the mean length of runs.
func (b *bottleneck) loses() bool {
	if b.Loss == 0 {
		return false
	}
	run := max(b.LossRun, 1)
	stay := 1 - 1/run
	if run == 1 { // each by itself
		return b.random.Float64() < b.Loss
	}
	if b.losing {
		b.losing = b.random.Float64() < stay
	} else {
		b.losing = b.random.Float64() < b.Loss/(run*(1-b.Loss))
	}
	return b.losing
}

// back is when a packet of the way back is out.
func (s Spec) back(now time.Time) time.Time {
	out := now.Add(s.RTT - s.RTT/2)
	if s.Aggregate > 0 {
		out = out.Truncate(s.Aggregate).Add(s.Aggregate)
	}
	return out
}
