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
	Command     string        `json:"-"` // of l2bench, for the environment
	Repetitions int           `json:"repetitions"`
	Warmup      time.Duration `json:"warmup_ns"`   // before each repetition
	Duration    time.Duration `json:"duration_ns"` // of each repetition
	GenCPU      int           `json:"generator_cpu"`
	RouterCPU   int           `json:"router_cpu"`
}

// Run sets all cases up and measures them in turns. Progress is told of each
// step. With an error, the report has what was measured before.
func Run(ctx context.Context, cases []Case, o Options, progress func(string)) (r *Report, err error) {
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
	for _, c := range cases {
		progress("set up " + c.Device.Name())
		l, err := newLane(ctx, c, o)
		if err != nil {
			return r, err
		}
		lanes = append(lanes, l)
		if len(lanes) == 1 {
			if err := r.Environment.observeOffloads(l.topology); err != nil {
				return r, err
			}
		}
		if d, ok := c.Device.(Describer); ok {
			figures, err := d.Describe(ctx)
			if err != nil {
				return r, fmt.Errorf("%s: %w", c.Device.Name(), err)
			}
			r.Figures = append(r.Figures, figures...)
		}
	}
	for i := range o.Repetitions {
		for _, l := range lanes {
			s, err := l.measure(ctx)
			if err != nil {
				return r, err
			}
			s.Round = i
			r.Samples = append(r.Samples, s)
			progress(fmt.Sprintf("round %d of %d: %s", i+1, o.Repetitions, s))
		}
	}
	return r, nil
}
