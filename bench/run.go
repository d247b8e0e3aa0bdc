// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Options of a run.
type Options struct {
	Flows       int // a power of two
	Repetitions int
	Warmup      time.Duration // before each repetition
	Duration    time.Duration // of each repetition

	GenCPU    int
	RouterCPU int
	// SinkCPU is where the receiver's NAPI has a thread, or -1: it runs as
	// softirq on the packet core, where the router hands it the packets.
	SinkCPU int
}

// Run sets all devices up and measures them in turns. Progress is told of each
// step.
func Run(ctx context.Context, devices []Device, o Options, progress func(string)) (r *Report, err error) {
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.close())
		}
	}()
	r = &Report{Options: o}
	for _, d := range devices {
		progress("set up " + d.Name())
		l, err := newLane(ctx, d, o)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, l)
	}
	for i := range o.Repetitions {
		for _, l := range lanes {
			s, err := l.measure(ctx)
			if err != nil {
				return nil, err
			}
			s.Round = i
			r.Samples = append(r.Samples, s)
			progress(fmt.Sprintf("round %d of %d: %s", i+1, o.Repetitions, s))
		}
	}
	return r, nil
}
