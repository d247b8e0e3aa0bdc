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

// nudgeEvery is how often a generator is told to stop until it does.
const nudgeEvery = time.Millisecond

// flood generates packets on the given CPU, as fast as it goes, until ctx is
// done.
func (tr *traffic) flood(ctx context.Context, cpu int) <-chan error {
	started := make(chan int, 1)
	finished := make(chan struct{})
	done := tr.topology.gen.run(func() error {
		defer close(finished)
		started <- unix.Gettid()
		if err := pin(0, cpu); err != nil {
			return err
		}
		for ctx.Err() == nil {
			err := runLive(tr.objects.Generate, frameLen(tr.ipv6), math.MaxUint32)
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
	sent, err := tr.sent()
	if err != nil {
		return err
	}
	limit := sent + uint64(tr.flows)
	if err := errors.Join(tr.pace(rate), tr.stopAt(limit)); err != nil {
		return err
	}
	took := time.Duration(float64(tr.flows) / rate * float64(time.Second))
	ctx, stop := context.WithTimeout(ctx, 10*took+establishSlack)
	defer stop()
	done := tr.flood(ctx, cpu)
	for err == nil && sent < limit {
		if err = wait(ctx, establishPoll); err == nil {
			sent, err = tr.sent()
		}
	}
	stop()
	return errors.Join(err, <-done, tr.pace(0), tr.stopAt(0))
}
