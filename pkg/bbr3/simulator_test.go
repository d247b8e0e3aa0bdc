// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"container/heap"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

// Events of the simulated state machine, as in bpf/bbr3.c.
const (
	simInit uint32 = iota
	simAck
	simTransmitStart
	simEnterRecovery
	simExitRecovery
	simUndo
	simTailLost
)

// States, as in bpf/bbr3/types.h.
const (
	startup uint8 = iota
	drain
	down
	cruise
	refill
	up
	probeRTT
	none
)

const (
	mss          = 1448
	noInflight   = ^uint32(0)
	second       = 1_000_000 // of the simulator's time
	millisecond  = 1_000
	reordering   = 3 // packets that arrive before an earlier one is taken for lost
	initialCwnd  = 10
	pacingMargin = 0.99
)

// machine is the state machine as the kernel runs it.
type machine struct {
	t     *testing.T
	prog  *ebpf.Program
	state *ebpf.Variable
	b     bbr3Bbr3
}

func newMachine(t *testing.T, s Settings) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	spec, err := loadBbr3()
	if err != nil {
		t.Fatal(err)
	}
	if err := configure(spec, s.withDefaults()); err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if name != bbr3ProgBbr3Simulate {
			delete(spec.Programs, name)
		}
	}
	for _, name := range []string{bbr3MapBbr3Ops, bbr3MapBbr3Socks, bbr3MapBbr3Stats} {
		delete(spec.Maps, name)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return &machine{t: t, prog: coll.Programs[bbr3ProgBbr3Simulate], state: coll.Variables[bbr3VarBbr3Simulated]}
}

// event has the state machine handle one.
func (m *machine) event(e uint32) {
	m.t.Helper()
	if err := m.state.Set(&m.b); err != nil {
		m.t.Fatal(err)
	}
	if ret, err := m.prog.Run(&ebpf.RunOptions{Context: e}); err != nil || ret != 0 {
		m.t.Fatalf("event %d: %d, %v", e, int32(ret), err)
	}
	if err := m.state.Get(&m.b); err != nil {
		m.t.Fatal(err)
	}
}

// simPath is what lies between the ends. All of it can change on the way.
type simPath struct {
	rate  float64 // packets a second
	rtt   int64   // without queues, in microseconds
	queue int     // packets
	// lose has a packet lost, delay has it come later.
	lose  func(number int) bool
	delay func(number int) int64
	// aggregate has ACKs come at multiples of it only.
	aggregate int64
	// bucket makes it a policer: it has no queue, and drops what is beyond so many packets
	// at once.
	bucket float64

	idleAt float64 // when all that is queued is sent
	tokens float64
	filled int64
}

// arrive returns when the ACK of a packet comes that is sent at a time; 0 if it is lost.
func (p *simPath) arrive(now int64, number int) int64 {
	if p.lose != nil && p.lose(number) {
		return 0
	}
	at := float64(now)
	if p.bucket > 0 {
		p.tokens = min(p.bucket, p.tokens+p.rate*float64(now-p.filled)/second)
		p.filled = now
		if p.tokens < 1 {
			return 0
		}
		p.tokens--
	} else {
		waits := max(0, p.idleAt-at)
		if waits*p.rate/second > float64(p.queue) {
			return 0
		}
		p.idleAt = at + waits + second/p.rate
		at = p.idleAt
	}
	ack := int64(at) + p.rtt
	if p.delay != nil {
		ack += p.delay(number)
	}
	if p.aggregate > 0 {
		ack = (ack/p.aggregate + 1) * p.aggregate
	}
	return ack
}

// bdp is in packets.
func (p *simPath) bdp() float64 { return p.rate * float64(p.rtt) / second }

// packet is one that was sent, with what was known then.
type packet struct {
	number                       int
	sent, first, deliveredAt     int64
	delivered, lost, inFlight    uint32
	appLimited, isLost, isActive bool
}

// arrival is the ACK of a packet.
type arrival struct {
	at int64
	p  *packet
}

type arrivals []arrival

func (a arrivals) Len() int           { return len(a) }
func (a arrivals) Less(i, j int) bool { return a[i].at < a[j].at }
func (a arrivals) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)        { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// connection is a sender with selective acknowledgments in simulated time. What is lost is
// sent again as new packets.
type connection struct {
	*machine
	path *simPath
	// appRate limits what the application has to send, in packets a second: none if it is
	// less than 0.
	appRate float64
	// onAck is called after each ACK.
	onAck func()

	now              int64
	nextSend         float64
	acks             arrivals
	flight           []*packet // in the order of sending
	sent             int
	highest          int // acknowledged
	delivered, lost  uint32
	deliveredAt      int64
	firstSent        int64
	appLimited       uint32
	cwnd             uint32
	pacing           uint64
	recovering       bool
	recoverTo        int
	spurious         int // lost packets of this recovery that have come nonetheless
	lostInRecovery   int
	undos            int
	limited, wasFull bool
	limitedTo        int
	srtt, minRTT     int64
	appGiven         float64
	appAt            int64
	random           *rand.Rand
	states           []transition
	lastDelivered    int64
	timeout          bool
}

type transition struct {
	at    int64
	state uint8
}

// connect begins a connection.
func connect(t *testing.T, p simPath, s Settings) *connection {
	t.Helper()
	c := &connection{machine: newMachine(t, s), path: &p, cwnd: initialCwnd, now: second, random: rand.New(rand.NewPCG(1, 2))}
	c.appRate = 1e9
	c.fill()
	c.b.C.InitialCwnd = c.cwnd
	c.event(simInit)
	c.take()
	c.note()
	c.lastDelivered, c.appAt, p.filled = c.now, c.now, c.now
	c.path.tokens = c.path.bucket
	return c
}

// inflight is in packets.
func (c *connection) inflight() uint32 { return uint32(len(c.flight)) }

// fill writes down the connection for an event.
func (c *connection) fill() {
	to := &c.b.C
	to.Now, to.Cwnd, to.CwndClamp, to.Inflight = uint64(c.now), c.cwnd, noInflight, c.inflight()
	to.PacingRate, to.MaxPacingRate = c.pacing, ^uint64(0)
	to.Delivered, to.Lost, to.AppLimited, to.Mss, to.GsoMax = c.delivered, c.lost, c.appLimited, mss, 65536
	to.Srtt, to.RttMin = uint32(c.srtt), uint32(c.minRTT)
	if to.HasSack = 1; to.Random == 0 {
		to.Random = c.random.Uint32()
	}
	to.IsCwndLimited, to.InRecovery = is(c.limited), is(c.recovering)
	to.InFastRecovery = is(c.recovering && !c.timeout)
}

func is(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// take does what an event has decided.
func (c *connection) take() {
	c.cwnd, c.pacing, c.appLimited = c.b.C.Cwnd, c.b.C.PacingRate, c.b.C.AppLimited
}

func (c *connection) note() {
	if n := len(c.states); n == 0 || c.states[n-1].state != c.b.State {
		c.states = append(c.states, transition{c.now, c.b.State})
	}
}

func (c *connection) do(e uint32) {
	c.fill()
	c.event(e)
	c.take()
	c.note()
}

// available tells whether the application has a packet to send.
func (c *connection) available() bool {
	if c.appRate < 0 {
		return false
	}
	c.appGiven = min(c.appGiven+c.appRate*float64(c.now-c.appAt)/second, max(2, c.appRate/1000))
	c.appAt = c.now
	return c.appGiven >= 1
}

// send sends what may be sent now.
func (c *connection) send() {
	for {
		if !c.available() {
			if c.inflight() < c.cwnd {
				c.appLimited = max(c.delivered+c.inflight(), 1)
			}
			return
		}
		if c.inflight() >= c.cwnd {
			c.wasFull = true
			c.limited = true
			return
		}
		if float64(c.now) < c.nextSend {
			return
		}
		if c.inflight() == 0 {
			if c.appLimited != 0 {
				c.do(simTransmitStart)
			}
			c.firstSent, c.deliveredAt, c.lastDelivered = c.now, c.now, c.now
		}
		c.appGiven--
		c.sent++
		p := &packet{number: c.sent, sent: c.now, first: c.firstSent, deliveredAt: c.deliveredAt, delivered: c.delivered, lost: c.lost,
			inFlight: c.inflight() + 1, appLimited: c.appLimited != 0, isActive: true}
		c.flight = append(c.flight, p)
		if at := c.path.arrive(c.now, p.number); at > 0 {
			heap.Push(&c.acks, arrival{at, p})
		}
		// What the simulator's steps hold back may be made up for.
		c.nextSend = max(float64(c.now-millisecond), c.nextSend) + mss*second/float64(max(c.pacing, 1))
	}
}

// receive handles the packets whose ACKs come now, as one.
func (c *connection) receive() {
	var newest *packet
	var acked uint32
	for len(c.acks) > 0 && c.acks[0].at <= c.now {
		p := heap.Pop(&c.acks).(arrival).p
		if p.isLost {
			c.late()
			continue
		}
		p.isActive = false
		acked++
		c.highest = max(c.highest, p.number)
		if newest == nil || p.number > newest.number {
			newest = p
		}
	}
	if newest == nil {
		return
	}
	c.delivered += acked
	c.deliveredAt, c.lastDelivered = c.now, c.now
	if c.appLimited != 0 && c.delivered > c.appLimited {
		c.appLimited = 0
	}
	rtt := c.now - newest.sent
	if c.srtt == 0 {
		c.srtt, c.minRTT = rtt, rtt
	}
	c.srtt += (rtt - c.srtt) / 8
	c.minRTT = min(c.minRTT, rtt)
	c.firstSent = newest.sent
	marked := c.detect(func(p *packet) bool { return p.number+reordering <= c.highest })
	c.recovery(marked)
	c.sample(newest, acked, marked)
	c.do(simAck)
	if newest.number >= c.limitedTo { // a round
		c.limited, c.wasFull, c.limitedTo = c.wasFull, false, c.sent
	}
	if c.onAck != nil {
		c.onAck()
	}
}

// detect takes packets for lost, and removes from the flight what is not in it any more.
func (c *connection) detect(isLost func(*packet) bool) (marked []*packet) {
	var left []*packet
	for _, p := range c.flight {
		switch {
		case !p.isActive:
		case isLost(p):
			p.isLost = true
			marked = append(marked, p)
		default:
			left = append(left, p)
		}
	}
	c.flight = left
	c.lost += uint32(len(marked))
	return marked
}

// recovery begins and ends loss recovery.
func (c *connection) recovery(marked []*packet) {
	if c.recovering && c.highest >= c.recoverTo {
		c.do(simExitRecovery)
		c.recovering, c.timeout = false, false
	}
	if len(marked) > 0 && !c.recovering {
		c.do(simEnterRecovery)
		c.recovering, c.recoverTo = true, c.sent
		c.spurious, c.lostInRecovery = 0, 0
	}
	c.lostInRecovery += len(marked)
}

// late is the ACK of a packet that was taken for lost.
func (c *connection) late() {
	c.spurious++
	if c.spurious != c.lostInRecovery {
		return
	}
	c.undos++
	c.do(simUndo)
	c.recovering, c.timeout = false, false
}

// sample writes down the rate sample of an ACK.
func (c *connection) sample(p *packet, acked uint32, marked []*packet) {
	rs := &c.b.Rs
	interval := max(p.sent-p.first, c.now-p.deliveredAt)
	if interval < c.minRTT {
		interval = -1
	}
	rs.Interval, rs.Rtt = interval, c.now-p.sent
	rs.Delivered, rs.PriorDelivered = int32(c.delivered-p.delivered), p.delivered
	rs.NewlyAcked, rs.NewlyLost = acked, uint32(len(marked))
	rs.TxInFlight, rs.Lost, rs.IsAppLimited = p.inFlight, c.lost-p.lost, is(p.appLimited)
	if n := len(marked); n > 0 {
		first, last := marked[0], marked[n-1]
		c.b.Marked.Size, c.b.Marked.TxInFlight = uint32(n), last.inFlight
		c.b.Marked.Lost, c.b.Marked.IsAppLimited = c.lost-first.lost, uint32(is(first.appLimited))
	}
}

// expire is the retransmission timer.
func (c *connection) expire() {
	if len(c.flight) == 0 || c.now < c.lastDelivered+max(second, 3*c.srtt) {
		return
	}
	c.lastDelivered = c.now
	if !c.recovering {
		c.do(simEnterRecovery)
		c.recovering, c.spurious, c.lostInRecovery = true, 0, 0
	}
	c.timeout, c.recoverTo = true, c.sent
	c.lostInRecovery += len(c.detect(func(*packet) bool { return true }))
	c.cwnd = 1
}

// run goes on for a time, or until something holds. It tells whether it does.
func (c *connection) run(time int64, until func() bool) bool {
	const step = 100 // microseconds
	for end := c.now + time; c.now < end; c.now += step {
		c.receive()
		c.expire()
		c.send()
		if until != nil && until() {
			return true
		}
	}
	return false
}

// leave goes on until another state, or fails. A connection may pass through several
// with one ACK.
func (c *connection) leave(state uint8, within int64) {
	c.t.Helper()
	if !c.run(within, func() bool { return c.b.State != state }) {
		c.t.Fatalf("%s for %d s: %s", stateNames[state], within/second, c.describe())
	}
}

// reach goes on until a state, or fails.
func (c *connection) reach(state uint8, within int64) {
	c.t.Helper()
	if !c.run(within, func() bool { return c.b.State == state }) {
		c.t.Fatalf("no %s within %d s: %s", stateNames[state], within/second, c.describe())
	}
}

func (c *connection) describe() string {
	s := ""
	for _, t := range c.states {
		s += stateNames[t.state] + " "
	}
	return s
}

// bandwidth is an estimate in packets a second.
func bandwidth(bw uint64) float64 { return float64(bw) / (1 << 24) * second }

func (c *connection) maxBW() float64 { return bandwidth(max(c.b.MaxBw[0], c.b.MaxBw[1])) }

// near tells whether a value is within a share of another.
func near(have, want, share float64) bool { return have >= want*(1-share) && have <= want*(1+share) }
