// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// lane is a case with a topology and traffic of its own.
type lane struct {
	Case
	topology *Topology
	traffic  *traffic
	options  Options
	pairs    []CPUPair
	threads  []int // of the router's NAPI
}

// newLane sets the device up and establishes its flows.
func newLane(ctx context.Context, c Case, o Options) (*lane, error) {
	l := &lane{Case: c, options: o}
	if err := l.setup(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Name(), err), l.close())
	}
	return l, nil
}

func (l *lane) setup(ctx context.Context) (err error) {
	if l.pairs, err = l.options.pairs(l.cores()); err != nil {
		return err
	}
	if l.topology, err = newTopology(l.cores(), l.options.NICs); err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	t := l.topology
	if l.traffic, err = newTraffic(t, l.Case); err != nil {
		return err
	}
	if l.IPv6 {
		if err := t.InRouter(t.addIPv6); err != nil {
			return fmt.Errorf("router: %w", err)
		}
	}
	if err := l.Device.Setup(ctx, t); err != nil {
		return err
	}
	if err := l.threadNAPI(IngressName, t.Ingress.Index); err != nil {
		return err
	}
	switch {
	case l.Fresh:
		// What is sent back is the router's work, too.
		if err := l.threadNAPI(EgressName, t.Egress.Index); err != nil {
			return err
		}
		return l.traffic.reflect()
	case l.Device.Stateful() && !l.Dropped:
		if err := l.establish(ctx, l.rate()); err != nil {
			return fmt.Errorf("establish flows: %w", err)
		}
	}
	return nil
}

// establish has flows begin, so many a second, and lasts until they are what they
// stay: UDP's are a stream after streamAfter.
func (l *lane) establish(ctx context.Context, rate float64) error {
	t := l.traffic
	if err := t.establish(ctx, l.options.GenCPU, rate); err != nil {
		return err
	}
	if err := wait(ctx, streamAfter); err != nil {
		return err
	}
	if err := t.forgetReplies(); err != nil {
		return err
	}
	return t.establish(ctx, l.options.GenCPU, max(rate, flowRate))
}

// threadNAPI has a thread on each packet core do what a NIC of the router gives it
// to do, by the queue that the core's generator sends to.
func (l *lane) threadNAPI(name string, ifindex int) error {
	cpus := make([]int, len(l.pairs))
	for _, p := range l.pairs {
		cpus[p.Gen%len(cpus)] = p.Router
	}
	tids, err := threadNAPI(l.topology.dut, name, ifindex, cpus...)
	l.threads = append(l.threads, tids...)
	return err
}

func (l *lane) close() error {
	var errs []error
	if l.topology != nil {
		errs = append(errs, l.Device.Teardown())
	}
	if l.traffic != nil {
		errs = append(errs, l.traffic.close())
	}
	if l.topology != nil {
		errs = append(errs, l.topology.Close())
	}
	return errors.Join(errs...)
}

// reading is the state of all counters at one time.
type reading struct {
	at                       time.Time
	sent, accepted, received uint64
	busy                     time.Duration
}

func (l *lane) read() (r reading, err error) {
	err = l.topology.dut.do(func() error {
		link, err := netlink.LinkByIndex(l.topology.Ingress.Index)
		if err != nil {
			return fmt.Errorf("%s: %w", IngressName, err)
		}
		r.accepted = link.Attrs().Statistics.RxPackets
		return nil
	})
	if err != nil {
		return r, err
	}
	if r.sent, err = l.traffic.sent(); err != nil {
		return r, err
	}
	for _, tid := range l.threads {
		busy, err := threadTime(tid)
		if err != nil {
			return r, err
		}
		r.busy += busy
	}
	arrived := l.traffic.received
	if l.Fresh {
		arrived = l.traffic.replies
	}
	// Count and clock belong together: not if this thread had to wait in
	// between for the generator to give way.
	for range 20 {
		start := time.Now()
		if r.received, err = arrived(); err != nil {
			return r, err
		}
		r.at = time.Now()
		if r.at.Sub(start) < 200*time.Microsecond {
			break
		}
	}
	return r, nil
}

// measure floods the device and counts for a while.
func (l *lane) measure(ctx context.Context) (Sample, error) {
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.prepare(ctx); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", l.Name(), err)
	}
	sent, err := l.traffic.sent()
	if err != nil {
		return Sample{}, err
	}
	var cpus []int
	for _, p := range l.pairs {
		cpus = append(cpus, p.Gen)
	}
	flood := l.traffic.flood(flooding, cpus...)
	var before, after reading
	if err = l.traffic.begun(ctx, sent); err == nil {
		err = wait(ctx, l.options.Warmup)
	}
	if err == nil {
		before, err = l.read()
	}
	if err == nil {
		err = wait(ctx, l.options.Duration)
	}
	if err == nil {
		after, err = l.read()
	}
	stop()
	if err := errors.Join(err, <-flood); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", l.Name(), err)
	}
	switch {
	case l.Fresh:
		err = l.checkFresh(after)
	case l.Dropped:
		err = checkDropped(after)
	default:
		err = l.checkSamples()
	}
	if v, ok := l.Device.(Verifier); ok {
		err = errors.Join(err, v.Verify(ctx, l.Case))
	}
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", l.Name(), err)
	}
	return newSample(l.Case, before, after), nil
}

// prepare forgets what was before.
func (l *lane) prepare(ctx context.Context) error {
	if l.Fresh {
		if err := l.Device.(Forgetter).Forget(ctx); err != nil {
			return fmt.Errorf("forget flows: %w", err)
		}
		if err := l.traffic.restart(); err != nil {
			return err
		}
	} else if _, err := l.traffic.takeSamples(); err != nil {
		return err
	}
	if v, ok := l.Device.(Verifier); ok {
		return v.Watch(ctx)
	}
	return nil
}

// checkFresh makes sure that no packet was of a flow that there was already.
func (l *lane) checkFresh(after reading) error {
	if after.sent > uint64(l.Flows) {
		return fmt.Errorf("%d packets of %d flows: not all were new", after.sent, l.Flows)
	}
	return nil
}

// checkDropped makes sure that no packet has arrived, ever.
func checkDropped(after reading) error {
	if after.received != 0 {
		return fmt.Errorf("%d packets have arrived: all were to be dropped", after.received)
	}
	return nil
}

// checkSamples looks at what has come out at the far end.
func (l *lane) checkSamples() error {
	samples, err := l.traffic.takeSamples()
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return errors.New("no packet at the receiver")
	}
	var wrong []error
	for _, s := range samples {
		if err := s.check(l.topology.Sink.MAC, l.Device.Promise(), l.Mix); err != nil {
			wrong = append(wrong, fmt.Errorf("%w\n% x", err, []byte(s)))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d packets sampled at the receiver are wrong: %w",
			len(wrong), len(samples), wrong[0])
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
