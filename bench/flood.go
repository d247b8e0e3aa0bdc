// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How a flood is measured: packets of ever new flows, which a rule drops, come in by
// the interface that a client's TCP flow comes in by.
const (
	floodFlow   = 100e6 / 8              // bytes a second that the flow sends
	floodAlone  = 0.9                    // of that, at least, arrives without a flood
	floodKeeps  = 0.95                   // of its rate without a flood
	floodTries  = 5                      // to have the flow undisturbed
	floodLowest = 10_000                 // packets a second that the search begins with
	floodSteps  = 7                      // of the search, each half as wide as the one before
	floodSettle = 300 * time.Millisecond // before each step
	floodCount  = 500 * time.Millisecond // each time that a step is counted
	floodCounts = 3                      // times, of which the middle one counts: a loss that TCP takes its time over is no rule
	floodDial   = 10 * time.Second       // for the flow to begin
	floodPort   = 5201
)

// floodRules let the flow pass and drop what the generator makes.
var floodRules = ruleLoad{rules: fmt.Sprintf(`ct state established accept
		udp dport %d-%d drop
`, targetPort, targetPort+freshFlows/MaxFlows-1)}

// flood is a lane with a TCP flow from the generator's namespace to the receiver's.
type flood struct{ *lane }

// floodStep is what a rate of the generator comes to.
type floodStep struct {
	flow    float64 // bytes a second that the flow's receiver has got
	dropped float64 // packets a second that the router took and dropped
	made    float64 // packets a second that the generator made
}

// undisturbed says whether a step without a flood can be compared with: a flow that had
// a bad start would keep its rate in any flood.
func (s floodStep) undisturbed() error {
	if s.flow < floodAlone*floodFlow {
		return fmt.Errorf("without a flood, %.3g bytes a second of the TCP flow arrive: want %.0f %% of %.3g, or there is nothing to compare with",
			s.flow, 100*floodAlone, floodFlow)
	}
	return nil
}

// floodTool is what outcomes of floods go by.
const floodTool = "flood"

// measureFlood finds how many packets a second the device drops while the flow keeps
// its rate.
func measureFlood(ctx context.Context, d Device, round int, o Options, progress func(string)) (out Outcome, err error) {
	m, err := newFlood(ctx, d, o)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	best, err := m.search(ctx, progress)
	if err != nil {
		return out, fmt.Errorf("%s: %w", d.Name(), err)
	}
	return Outcome{
		Device: d.Name(), Tool: floodTool, Round: round,
		Measures: []Measure{{Name: "dropped while a TCP flow keeps 95 %", Unit: "packets/s", Value: math.Round(best), Higher: true}},
	}, nil
}

func newFlood(ctx context.Context, d Device, o Options) (*flood, error) {
	l, err := newLane(ctx, Case{Device: d, Flows: freshFlows, Fresh: true}, o)
	if err != nil {
		return nil, err
	}
	m := &flood{lane: l}
	if err := m.topology.gen.do(m.prepareFlow); err != nil {
		return nil, errors.Join(fmt.Errorf("way of the flow: %w", err), m.close())
	}
	if err := m.topology.wholeChecksums(); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// prepareFlow makes the flow's way. A packet that is sent is one that the router
// counts, coming in and leaving.
func (m *flood) prepareFlow() error {
	link, err := netlink.LinkByIndex(m.topology.Gen.Index)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetGSOMaxSegs(link, 1); err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{
		Dst: ipNet(SinkAddr.Masked()), Gw: IngressAddr.Addr().AsSlice(), LinkIndex: m.topology.Gen.Index,
	})
}

// alone is the flow without a flood. Who else has the machine may disturb that: it is tried
// some times.
func (m *flood) alone(ctx context.Context) (s floodStep, err error) {
	for range floodTries {
		if s, err = m.step(ctx, -1); err != nil {
			return s, err
		}
		if err = s.undisturbed(); err == nil {
			return s, nil
		}
	}
	return s, err
}

// search narrows the rate down between one that is harmless and the generator's
// fastest.
func (m *flood) search(ctx context.Context, progress func(string)) (best float64, err error) {
	alone, err := m.alone(ctx)
	if err != nil {
		return 0, err
	}
	try := func(rate float64) (floodStep, bool, error) {
		s, err := m.step(ctx, rate)
		kept := s.flow >= floodKeeps*alone.flow
		if kept {
			best = max(best, s.dropped)
		}
		progress(fmt.Sprintf("%s: %.3f Mpps made, %.3f dropped, the flow keeps %.0f %%",
			m.Device.Name(), s.made/1e6, s.dropped/1e6, 100*s.flow/alone.flow))
		return s, kept, err
	}
	s, kept, err := try(0)
	low, high := float64(floodLowest), s.made
	for i := 0; i < floodSteps && !kept && err == nil && low < high; i++ {
		rate := math.Sqrt(low * high)
		var ok bool
		if _, ok, err = try(rate); ok {
			low = rate
		} else {
			high = rate
		}
	}
	return best, err
}

// step has the flow begin, then the generator make so many packets a second, or as
// many as it can if rate is 0, or none if it is negative.
func (m *flood) step(ctx context.Context, rate float64) (s floodStep, err error) {
	if err := m.prepare(ctx); err != nil {
		return s, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	got, flow, err := m.begin(ctx)
	if err != nil {
		return s, err
	}
	flooding := make(<-chan error)
	if rate >= 0 {
		if err := m.traffic.pace(rate); err != nil {
			return s, err
		}
		flooding = m.traffic.flood(ctx, m.options.GenCPU)
		err = m.traffic.begun(ctx, 0)
	}
	if err == nil {
		s, err = m.count(ctx, got)
	}
	stop()
	if rate >= 0 {
		err = errors.Join(err, <-flooding)
	}
	return s, errors.Join(err, <-flow)
}

// count is what happens in the middle of the times that are counted.
func (m *flood) count(ctx context.Context, got *atomic.Uint64) (s floodStep, err error) {
	if err := wait(ctx, floodSettle); err != nil {
		return s, err
	}
	var all []floodStep
	for range floodCounts {
		if s, err = m.countOnce(ctx, got); err != nil {
			return s, err
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b floodStep) int { return cmp.Compare(a.flow, b.flow) })
	return all[len(all)/2], nil
}

func (m *flood) countOnce(ctx context.Context, got *atomic.Uint64) (s floodStep, err error) {
	before, err := m.look(got)
	if err == nil {
		err = wait(ctx, floodCount)
	}
	if err != nil {
		return s, err
	}
	after, err := m.look(got)
	if err != nil {
		return s, err
	}
	if after.replies != 0 {
		return s, fmt.Errorf("%d packets of the flood have been forwarded", after.replies)
	}
	seconds := after.at.Sub(before.at).Seconds()
	return floodStep{
		flow:    float64(after.got-before.got) / after.gotAt.Sub(before.gotAt).Seconds(),
		made:    float64(after.sent-before.sent) / seconds,
		dropped: max(0, float64(after.accepted-before.accepted)-float64(after.passed-before.passed)) / seconds,
	}, nil
}

// floodReading is the state of the counters at one time.
type floodReading struct {
	reading
	got     uint64    // bytes, by the flow's receiver
	gotAt   time.Time // when that was
	passed  uint64    // packets that have left the router there
	replies uint64    // to packets of the flood: there are none
}

// look reads all at once: where the generator is, a thread like others waits for
// longer than a step may be wrong by.
func (m *flood) look(got *atomic.Uint64) (r floodReading, err error) {
	err = <-m.topology.dut.run(func() error {
		if err := m.hurry(); err != nil {
			return err
		}
		r.got, r.gotAt = got.Load(), time.Now()
		link, err := netlink.LinkByIndex(m.topology.Egress.Index)
		if err != nil {
			return err
		}
		r.passed = link.Attrs().Statistics.TxPackets
		if link, err = netlink.LinkByIndex(m.topology.Ingress.Index); err != nil {
			return err
		}
		r.accepted, r.at = link.Attrs().Statistics.RxPackets, time.Now()
		if r.sent, err = m.traffic.sent(); err != nil {
			return err
		}
		r.replies, err = m.traffic.replies()
		return err
	})
	return r, err
}

// hurry has the calling thread beside the generator go before it.
func (m *flood) hurry() error {
	return errors.Join(pin(0, m.options.GenCPU), preferAlways(0))
}

// begin has the flow send, and counts what its receiver gets, until ctx is done. The
// channel has the error that it has ended with.
func (m *flood) begin(ctx context.Context) (got *atomic.Uint64, done <-chan error, err error) {
	var listener net.Listener
	to := netip.AddrPortFrom(SinkAddr.Addr(), floodPort)
	err = m.topology.sink.do(func() error {
		listener, err = net.Listen("tcp4", to.String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	var sender net.Conn
	err = m.topology.gen.do(func() error {
		sender, err = net.DialTimeout("tcp4", to.String(), floodDial)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	receiver, err := listener.Accept()
	if err != nil {
		return nil, nil, errors.Join(err, sender.Close())
	}
	if err := setPace(sender.(*net.TCPConn), floodFlow); err != nil {
		return nil, nil, errors.Join(err, sender.Close(), receiver.Close())
	}
	got = new(atomic.Uint64)
	ended := make(chan error, 1)
	sent := m.topology.gen.run(func() error { return m.pump(ctx, sender, unix.Write, nil) })
	received := m.topology.sink.run(func() error { return m.pump(ctx, receiver, unix.Read, got) })
	go func() {
		err := errors.Join(<-sent, <-received)
		if ctx.Err() != nil {
			err = nil // what is shut down ends with an error
		}
		ended <- err
	}()
	return got, ended, nil
}

// pump calls move with a buffer and the connection's file until that ends, or ctx does,
// and counts the bytes. The file blocks: what tells of connections that do not is a thread that
// waits for the generator.
func (m *flood) pump(ctx context.Context, c net.Conn, move func(int, []byte) (int, error), count *atomic.Uint64) error {
	if err := m.hurry(); err != nil {
		return errors.Join(err, c.Close())
	}
	file, err := c.(*net.TCPConn).File()
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	defer file.Close()
	fd := int(file.Fd()) // it blocks from now on
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // or it has ended
	})()
	buffer := make([]byte, 16<<10)
	for {
		n, err := move(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return nil
		case count != nil:
			count.Add(uint64(n))
		}
	}
}

// setPace has the kernel send at most so many bytes a second.
func setPace(c *net.TCPConn, rate int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate)
	})
	return errors.Join(err, failed)
}
