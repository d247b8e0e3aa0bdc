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
	Command     string        `json:"-"` // of "l2ctl bench", for the environment
	Repetitions int           `json:"repetitions"`
	Warmup      time.Duration `json:"warmup_ns"`   // before each repetition
	Duration    time.Duration `json:"duration_ns"` // of each repetition
	GenCPU      int           `json:"generator_cpu"`
	RouterCPU   int           `json:"router_cpu"`
	Further     []CPUPair     `json:"further_cpus,omitempty"` // for cases with more than one core
	NICs        *NICs         `json:"nics,omitempty"`         // none: interfaces in memory
}

// CPUPair is a core of the router and the CPU that makes packets for it.
type CPUPair struct {
	Gen    int `json:"generator"`
	Router int `json:"router"`
}

// parsePair reads GENERATOR:ROUTER, of a machine with so many CPUs.
func parsePair(s string, cpus int) (p CPUPair, err error) {
	if n, err := fmt.Sscanf(s, "%d:%d", &p.Gen, &p.Router); n != 2 || s != fmt.Sprintf("%d:%d", p.Gen, p.Router) {
		return p, fmt.Errorf("CPUs %q: want GENERATOR:ROUTER, two numbers: %v", s, err)
	}
	if max(p.Gen, p.Router) >= cpus || min(p.Gen, p.Router) < 0 {
		return p, fmt.Errorf("CPUs %q: there are 0 to %d", s, cpus-1)
	}
	return p, nil
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

// patienceOf is the time of a setting up that is told before.
const patienceOf = 30 * time.Second

// setUp says what is done next, and how long that takes if it is long.
func setUp(c Case) string {
	if took := c.begins(); took > patienceOf {
		return fmt.Sprintf("set up %s: its %d flows begin in %s, %.0f a second", c.Name(), c.Flows, took.Round(time.Second), c.rate())
	}
	return "set up " + c.Name()
}

// Run sets all cases up and measures them in turns. Progress is told of each
// step. With an error, the report has what was measured before.
func Run(ctx context.Context, cases []Case, o Options, progress func(string)) (r *Report, err error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("needs two CPUs, one for the router")
	}
	r = &Report{Environment: observe(ctx, o)}
	if o.NICs != nil {
		return r, r.runByTurns(ctx, cases, o, progress)
	}
	var lanes []*lane
	defer func() {
		for _, l := range lanes {
			err = errors.Join(err, l.close())
		}
	}()
	for _, c := range cases {
		l, err := r.setUp(ctx, c, o, progress)
		if err != nil {
			return r, err
		}
		lanes = append(lanes, l)
	}
	for i := range o.Repetitions {
		for _, l := range lanes {
			if err := r.turn(ctx, l, i, progress); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// runByTurns sets each case up for each of its turns: there is but one set of NICs.
func (r *Report) runByTurns(ctx context.Context, cases []Case, o Options, progress func(string)) error {
	for i := range o.Repetitions {
		for _, c := range cases {
			l, err := r.setUp(ctx, c, o, progress)
			if err != nil {
				return err
			}
			if err := errors.Join(r.turn(ctx, l, i, progress), l.close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// setUp prepares a case, and notes what it has to tell of itself when that is the first time.
func (r *Report) setUp(ctx context.Context, c Case, o Options, progress func(string)) (*lane, error) {
	progress(setUp(c))
	if v, ok := c.Device.(Versioned); ok {
		program, version := v.Version(ctx)
		r.Environment.Tools[program] = version
	}
	l, err := newLane(ctx, c, o)
	if err != nil {
		return nil, err
	}
	if err := r.describe(ctx, l); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (r *Report) describe(ctx context.Context, l *lane) error {
	if len(r.Environment.Offloads) == 0 {
		if err := r.Environment.observeOffloads(l.topology); err != nil {
			return err
		}
	}
	d, ok := l.Device.(Describer)
	if !ok || l.Label != "" || len(r.of(l.Name())) > 0 {
		return nil
	}
	figures, err := d.Describe(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Device.Name(), err)
	}
	r.Figures = append(r.Figures, figures...)
	return nil
}

// turn measures a case once.
func (r *Report) turn(ctx context.Context, l *lane, round int, progress func(string)) error {
	s, err := l.measure(ctx)
	if err != nil {
		return err
	}
	s.Round = round
	r.Samples = append(r.Samples, s)
	progress(fmt.Sprintf("round %d of %d: %s", round+1, l.options.Repetitions, s))
	return nil
}
