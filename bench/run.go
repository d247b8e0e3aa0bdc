// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Options of a run.
type Options struct {
	Flows       int           `json:"flows"` // a power of two
	Repetitions int           `json:"repetitions"`
	Warmup      time.Duration `json:"warmup_ns"`   // before each repetition
	Duration    time.Duration `json:"duration_ns"` // of each repetition
	GenCPU      int           `json:"generator_cpu"`
	RouterCPU   int           `json:"router_cpu"`
}

// Run sets all devices up and measures them in turns. Progress is told of each
// step.
func Run(ctx context.Context, devices []Device, o Options, progress func(string)) (r *Report, err error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("needs two CPUs, one for the router")
	}
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.close())
		}
	}()
	r = &Report{Environment: observe(ctx, o)}
	for _, d := range devices {
		progress("set up " + d.Name())
		l, err := newLane(ctx, d, o)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, l)
		if d, ok := d.(Describer); ok {
			figures, err := d.Describe(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.device.Name(), err)
			}
			r.Figures = append(r.Figures, figures...)
		}
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
