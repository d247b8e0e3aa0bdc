// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import "testing"

// trace is ACKs as the kernel describes them: what each says, and what it leads to.
type trace []struct {
	inflight             uint32 // after the ACK
	acked, txInFlight    uint32
	lost                 uint32 // since the packet was sent; none is marked by the ACK
	state                uint8
	longterm             uint32
	tooHigh, precautious uint8
}

// replay runs the state machine with the ACKs of a trace, at 10 Mbit/s and 40 ms.
func replay(t *testing.T, m *machine, acks trace) {
	t.Helper()
	for i, a := range acks {
		m.b.C.Now += 1163
		m.b.C.Delivered += a.acked
		m.b.C.Inflight = a.inflight
		m.b.Rs = bbr3Bbr3{}.Rs
		m.b.Rs.Interval, m.b.Rs.Rtt = 40*millisecond, 41*millisecond
		m.b.Rs.Delivered, m.b.Rs.PriorDelivered = 34, m.b.C.Delivered-34
		m.b.Rs.NewlyAcked, m.b.Rs.TxInFlight, m.b.Rs.Lost = a.acked, a.txInFlight, a.lost
		m.event(simAck)
		if m.b.State != a.state || m.b.InflightLongterm != a.longterm || m.b.ProbeTooHigh != a.tooHigh || m.b.ProbePrecautionary != a.precautious {
			t.Fatalf("ACK %d: %s, longterm %d, too high %d, precautious %d; want %s, %d, %d, %d", i,
				stateNames[m.b.State], m.b.InflightLongterm, m.b.ProbeTooHigh, m.b.ProbePrecautionary, stateNames[a.state], a.longterm, a.tooHigh, a.precautious)
		}
	}
}

// probing is a connection in UP, with a limit that it has learned.
func probing(t *testing.T, longterm uint32) *machine {
	t.Helper()
	c := connect(t, usual(), Settings{})
	c.path.queue = 1000
	c.reach(refill, 10*second)
	c.b.InflightLongterm = longterm
	c.reach(up, second)
	c.fill()
	c.b.C.Cwnd, c.b.C.IsCwndLimited = longterm, 0
	c.b.InflightLongterm = longterm
	// No round begins within the traces.
	c.b.NextRoundDelivered, c.b.LossRoundDelivered = c.b.C.Delivered+1000, c.b.C.Delivered+1000
	return c.machine
}

// Each ACK's sample tells whether the losses of a probe are too many, whether or not it marks
// packets lost, and ends the probe once.
func TestSampleEndsProbe(t *testing.T) {
	m := probing(t, 60)
	replay(t, m, trace{
		{inflight: 38, acked: 2, txInFlight: 40, lost: 0, state: up, longterm: 60},
		{inflight: 39, acked: 2, txInFlight: 50, lost: 1, state: up, longterm: 60}, // 2 % are not more than 2 %
		{inflight: 39, acked: 2, txInFlight: 49, lost: 1, state: down, longterm: 49, tooHigh: 1},
		{inflight: 38, acked: 2, txInFlight: 40, lost: 4, state: down, longterm: 49, tooHigh: 1},
	})
}

// Without a probe it only keeps the limit from growing.
func TestSampleWithoutProbe(t *testing.T) {
	m := probing(t, 60)
	m.b.State, m.b.ProbeSample = cruise, 0
	m.b.CycleStamp, m.b.RoundsSinceProbe = m.b.C.Now, 0
	replay(t, m, trace{
		{inflight: 38, acked: 2, txInFlight: 70, lost: 2, state: cruise, longterm: 60},
		{inflight: 38, acked: 2, txInFlight: 70, lost: 1, state: cruise, longterm: 70},
	})
}

// After a probe that was too much, the next one stops when as much is in flight as was learned
// to be, by what was in flight when the ACK came.
func TestPrecautiousProbe(t *testing.T) {
	m := probing(t, 60)
	m.b.ProbeTooHigh = 1
	replay(t, m, trace{
		{inflight: 57, acked: 2, txInFlight: 40, state: up, longterm: 60, tooHigh: 1},
		{inflight: 58, acked: 2, txInFlight: 40, state: down, longterm: 60, precautious: 1},
	})
}
