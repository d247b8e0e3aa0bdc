// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// lane is a device with a topology and traffic of its own.
type lane struct {
	device   Device
	topology *Topology
	traffic  *traffic
	options  Options
	thread   int // of the router's NAPI
}

// newLane sets the device up and establishes its flows.
func newLane(ctx context.Context, d Device, o Options) (*lane, error) {
	l := &lane{device: d, options: o}
	if err := l.setup(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.Name(), err), l.close())
	}
	return l, nil
}

func (l *lane) setup(ctx context.Context) (err error) {
	if l.topology, err = NewTopology(); err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	t := l.topology
	if l.traffic, err = newTraffic(t, l.options.Flows); err != nil {
		return err
	}
	if err := l.device.Setup(ctx, t); err != nil {
		return err
	}
	l.thread, err = threadNAPI(t.dut, IngressName, t.Ingress.Index, l.options.RouterCPU)
	if err != nil {
		return err
	}
	if l.device.Stateful() {
		if err := l.traffic.establish(ctx, l.options.GenCPU); err != nil {
			return fmt.Errorf("establish flows: %w", err)
		}
	}
	return nil
}

func (l *lane) close() error {
	var errs []error
	if l.topology != nil {
		errs = append(errs, l.device.Teardown())
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
	if r.busy, err = threadTime(l.thread); err != nil {
		return r, err
	}
	// Count and clock belong together: not if this thread had to wait in
	// between for the generator to give way.
	for range 20 {
		start := time.Now()
		if r.received, err = l.traffic.received(); err != nil {
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
	if _, err := l.traffic.takeSamples(); err != nil {
		return Sample{}, err
	}
	flood := l.traffic.flood(flooding, l.options.GenCPU)
	var before, after reading
	err := wait(ctx, l.options.Warmup)
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
		return Sample{}, fmt.Errorf("%s: %w", l.device.Name(), err)
	}
	err = l.checkSamples()
	if v, ok := l.device.(Verifier); ok && err == nil {
		err = v.Verify(ctx)
	}
	if err != nil {
		return Sample{}, fmt.Errorf("%s: %w", l.device.Name(), err)
	}
	return newSample(l.device.Name(), before, after), nil
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
		if err := s.check(l.topology.Sink.MAC, l.device.Promise()); err != nil {
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
