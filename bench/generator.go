// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// include/uapi/linux/bpf.h
const (
	progTestRun    = 10     // BPF_PROG_TEST_RUN
	testLiveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
)

// testRun is the part of union bpf_attr that the command takes.
type testRun struct {
	program, result                 uint32
	dataSize, dataOutSize           uint32
	data, dataOut                   uint64
	repeat, nanoseconds             uint32
	contextSize, contextOutSize     uint32
	context, contextOut             uint64
	flags, cpu, batchSize, reserved uint32
}

// runLive runs an XDP program on frames of a length, made by the kernel, which then go
// where its verdict says. A signal ends it with EINTR.
//
// [ebpf.Program.Run] cannot be stopped, and more than one run in a
// measurement does not do: each changes the kernel's XDP dispatcher twice and
// waits for RCU, many milliseconds without a packet. A run of one frame does
// not.
func runLive(p *ebpf.Program, length int, frames uint32) error {
	data := make([]byte, length)
	attr := testRun{
		program:  uint32(p.FD()),
		dataSize: uint32(len(data)),
		data:     uint64(uintptr(unsafe.Pointer(&data[0]))),
		repeat:   frames,
		flags:    testLiveFrames,
		// The most there is. Pages come back in a ring of this size; what
		// does not fit costs the packet core a trip to the page allocator.
		batchSize: 256,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, progTestRun,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}

// generator makes packets on one CPU at a time.
type generator struct {
	generatorObjects
	topology *Topology
	length   int // of the frames that it begins with
}

// generatorObjects are those of the traffic programs that a generator has for itself.
type generatorObjects struct {
	Generate *ebpf.Program  `ebpf:"generate"`
	Draws    *ebpf.Map      `ebpf:"draws"`
	Sent     *ebpf.Variable `ebpf:"sent"`
	Limit    *ebpf.Variable `ebpf:"limit"`
	Gap      *ebpf.Variable `ebpf:"gap"`
}

// newMakers are the generators that a case is measured with, one for each core. Where that
// is the one that establishes flows, it has it.
func newMakers(t *Topology, c Case, establisher *generator) (makers []*generator, err error) {
	if c.cores() == 1 && c.Mix.String() == "" {
		return []*generator{establisher}, nil
	}
	for i := range c.cores() {
		g, err := newMaker(t, c, i)
		if err != nil {
			for _, m := range makers {
				err = errors.Join(err, m.close())
			}
			return nil, fmt.Errorf("generator %d: %w", i, err)
		}
		makers = append(makers, g)
	}
	return makers, nil
}

// newMaker is the generator for one of the cores, which has its share of the flows.
func newMaker(t *Topology, c Case, core int) (*generator, error) {
	spec, err := trafficSpec(t, c)
	if err != nil {
		return nil, err
	}
	var lengths [maxCycle]uint16
	frames := c.Mix.frames(c.IPv6)
	for i, n := range frames {
		lengths[i] = uint16(n)
	}
	stride, first, drawMask := uint32(c.cores()), uint32(core), uint32(0)
	var draws []uint32
	if c.Mix.Zipf != 0 {
		draws = c.Mix.draw(c.Flows / c.cores())
		for i := range draws {
			draws[i] = draws[i]*stride + first
		}
		stride, first, drawMask = 1, 0, uint32(len(draws)-1)
		spec.Maps[trafficMapDraws].MaxEntries = uint32(len(draws))
	}
	for name, value := range map[string]any{
		trafficVarStride: stride, trafficVarFirstFlow: first,
		trafficVarLengths: lengths, trafficVarN_lengths: uint32(len(frames)), trafficVarDrawMask: drawMask,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	g := &generator{topology: t, length: c.Mix.longest(c.IPv6)}
	if err := spec.LoadAndAssign(&g.generatorObjects, nil); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if len(draws) > 0 {
		keys := make([]uint32, len(draws))
		for i := range keys {
			keys[i] = uint32(i)
		}
		if _, err := g.Draws.BatchUpdate(keys, draws, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("fill in draws: %w", err), g.close())
		}
	}
	return g, nil
}

func (g *generator) close() error { return errors.Join(g.Generate.Close(), g.Draws.Close()) }

// assign sets a variable of the program.
func assign[T any](v *ebpf.Variable, what string, value T) error {
	if err := v.Set(value); err != nil {
		return fmt.Errorf("set the generator's %s: %w", what, err)
	}
	return nil
}

// pace has it make so many packets a second; 0: as many as it can.
func (g *generator) pace(rate float64) error {
	var gap uint64
	if rate > 0 {
		gap = uint64(float64(time.Second) / rate)
	}
	return assign(g.Gap, "pace", gap)
}

// stopAt has it make no packet after so many; 0: no limit.
func (g *generator) stopAt(packets uint64) error { return assign(g.Limit, "limit", packets) }

// sent is how many packets it has made, and flows passed over.
func (g *generator) sent() (n uint64, err error) {
	if err := g.Sent.Get(&n); err != nil {
		return 0, fmt.Errorf("read the generator's counter: %w", err)
	}
	return n, nil
}

// restart has the generators begin with flow 0.
func (tr *traffic) restart() error {
	for _, g := range tr.makers {
		if err := assign(g.Sent, "counter", uint64(0)); err != nil {
			return err
		}
	}
	return nil
}

// sent is how many packets the generators have made.
func (tr *traffic) sent() (all uint64, err error) {
	for _, g := range tr.makers {
		n, err := g.sent()
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// pace has the generators make so many packets a second together; 0: as many as they can.
func (tr *traffic) pace(rate float64) error {
	for _, g := range tr.makers {
		if err := g.pace(rate / float64(len(tr.makers))); err != nil {
			return err
		}
	}
	return nil
}

// nudgeEvery is how often a generator is told to stop until it does.
const nudgeEvery = time.Millisecond

// flood has a generator on each of some CPUs make packets until ctx is done.
func (tr *traffic) flood(ctx context.Context, cpus ...int) <-chan error {
	var running []<-chan error
	for i, g := range tr.makers {
		running = append(running, g.run(ctx, cpus[i]))
	}
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, r := range running {
			errs = append(errs, <-r)
		}
		done <- errors.Join(errs...)
	}()
	return done
}

// run generates packets on the given CPU, as fast as it goes, until ctx is
// done.
func (g *generator) run(ctx context.Context, cpu int) <-chan error {
	started := make(chan int, 1)
	finished := make(chan struct{})
	done := g.topology.gen.run(func() error {
		defer close(finished)
		started <- unix.Gettid()
		if err := pin(0, cpu); err != nil {
			return err
		}
		for ctx.Err() == nil {
			err := runLive(g.Generate, g.length, math.MaxUint32)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("generate packets: %w", err)
			}
		}
		return nil
	})
	go func() {
		tid := <-started
		<-ctx.Done()
		for {
			select {
			case <-finished:
				return
			case <-time.After(nudgeEvery):
				// The runtime uses this signal and expects it
				// at any time; all it does is end the run.
				_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			}
		}
	}()
	return done
}

// floodBegins is how long the kernel may take to begin a run.
const floodBegins = 10 * time.Second

// begun waits for the first packet after so many.
func (tr *traffic) begun(ctx context.Context, after uint64) error {
	ctx, stop := context.WithTimeout(ctx, floodBegins)
	defer stop()
	for {
		sent, err := tr.sent()
		if err != nil || sent > after {
			return err
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("the generator does not begin: %w", err)
		}
	}
}

// How fast flows are established, a second.
const (
	// establishRate respects L2's ruleset, which lets 500 flows a second begin.
	establishRate = 400
	// establishSlack is how long it may take besides: others may have the CPU.
	establishSlack = 30 * time.Second
	establishPoll  = 5 * time.Millisecond
)

// trickle generates one packet of each flow, so many a second.
func (tr *traffic) trickle(ctx context.Context, cpu int, rate float64) error {
	g := tr.establisher
	sent, err := g.sent()
	if err != nil {
		return err
	}
	limit := sent + uint64(tr.flows)
	if err := errors.Join(g.pace(rate), g.stopAt(limit)); err != nil {
		return err
	}
	took := time.Duration(float64(tr.flows) / rate * float64(time.Second))
	ctx, stop := context.WithTimeout(ctx, 10*took+establishSlack)
	defer stop()
	done := g.run(ctx, cpu)
	for err == nil && sent < limit {
		if err = wait(ctx, establishPoll); err == nil {
			sent, err = g.sent()
		}
	}
	stop()
	return errors.Join(err, <-done, g.pace(0), g.stopAt(0))
}
