// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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
	Further     []CPUPair     `json:"further_cpus,omitempty"` // for cases with more than one core
}

// CPUPair is a core of the router and the CPU that makes packets for it.
type CPUPair struct {
	Gen    int `json:"generator"`
	Router int `json:"router"`
}

// pairs are those of a case with so many cores. The kernel chooses the queue that a CPU
// sends to on a veth by the CPU's number: they must not meet in one.
func (o Options) pairs(cores int) ([]CPUPair, error) {
	all := append([]CPUPair{{o.GenCPU, o.RouterCPU}}, o.Further...)
	if len(all) < cores {
		return nil, fmt.Errorf("%d cores, and CPUs for %d", cores, len(all))
	}
	all = all[:cores]
	for _, cpu := range []func(CPUPair) int{func(p CPUPair) int { return p.Gen }, func(p CPUPair) int { return p.Router }} {
		taken := map[int]int{}
		for _, p := range all {
			if other, ok := taken[cpu(p)%cores]; ok {
				return nil, fmt.Errorf("CPUs %d and %d send to the same queue of %d: want others", other, cpu(p), cores)
			}
			taken[cpu(p)%cores] = cpu(p)
		}
	}
	return all, nil
}

// shared says whether a CPU has to make packets and to forward them, as where there are not
// enough for more than one core.
func (o Options) shared() bool {
	all := append([]CPUPair{{o.GenCPU, o.RouterCPU}}, o.Further...)
	return len(o.Further) > 0 && slices.ContainsFunc(all, func(p CPUPair) bool {
		return slices.ContainsFunc(all, func(q CPUPair) bool { return p.Gen == q.Router })
	})
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
		progress("set up " + c.Name())
		if v, ok := c.Device.(Versioned); ok {
			program, version := v.Version(ctx)
			r.Environment.Tools[program] = version
		}
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
		if d, ok := c.Device.(Describer); ok && c.Label == "" {
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
