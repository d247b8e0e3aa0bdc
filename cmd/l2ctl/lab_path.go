// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

type labPathCmd struct {
	Flows     []string      `arg:"" optional:"" name:"flow" help:"Connections: a congestion control, after a time as in cubic@5s, or over IPv6 as in bbr3/6 (default: bbr3)." placeholder:"CC[/6][@TIME]"`
	Rate      float64       `help:"Of the bottleneck, in Mbit/s." default:"50" placeholder:"N"`
	RTT       time.Duration `name:"rtt" help:"Of the empty path." default:"40ms" placeholder:"TIME"`
	Queue     float64       `help:"What waits at most, in BDPs." default:"1" placeholder:"N"`
	Loss      float64       `help:"Packets lost at random, in percent." placeholder:"N"`
	LossRun   float64       `help:"How many of them one after the other, on average." default:"1" placeholder:"N"`
	Mark      time.Duration `help:"Mark packets that have waited as long (CE); connections ask for ECN then." placeholder:"TIME"`
	Jitter    time.Duration `help:"Up to how much longer a packet takes." placeholder:"TIME"`
	Reorder   float64       `help:"Packets that are overtaken, in percent." placeholder:"N"`
	Aggregate time.Duration `help:"Have ACKs wait for multiples of this." placeholder:"TIME"`
	Duration  time.Duration `help:"How long to send." default:"20s" placeholder:"TIME"`
	Runs      int           `help:"How often, each with another seed." default:"1" placeholder:"N"`
	Seed      uint64        `help:"Seed of what is random." default:"1" placeholder:"N"`
	JSON      bool          `help:"Print a line of JSON for each run." name:"json"`
}

// Run is called by kong.
func (c *labPathCmd) Run(e *env) error {
	if err := needRoot(); err != nil {
		return err
	}
	flows, err := pathFlows(c.Flows)
	if err != nil {
		return api.BadInput(err)
	}
	spec := path.Spec{
		Rate: int64(c.Rate * 1e6), RTT: c.RTT, Jitter: c.Jitter, Loss: c.Loss / 100, LossRun: c.LossRun, Mark: c.Mark,
		Reorder: c.Reorder / 100, Aggregate: c.Aggregate,
	}
	spec.Limit = int(c.Queue * float64(spec.BDP()))
	if err := spec.Check(); err != nil {
		return api.BadInput(err)
	}
	if c.Duration < time.Second || c.Duration > time.Hour || c.Runs < 1 {
		return api.BadInput(fmt.Errorf("%d runs of %s: want 1 or more, of 1s to 1h", c.Runs, c.Duration))
	}
	var controls []string
	for _, f := range flows {
		controls = append(controls, f.CongestionControl)
	}
	done, err := enforce.LendCongestionControls(controls)
	if err != nil {
		return err
	}
	return errors.Join(c.measure(e, spec, flows), done())
}

// measure does the runs and prints each.
func (c *labPathCmd) measure(e *env, spec path.Spec, flows []path.Flow) error {
	ecn := "0"
	if spec.Mark > 0 {
		ecn = "1"
	}
	var all []path.Result
	for i := range c.Runs {
		r, err := path.Measure(e.ctx, spec, flows, c.Duration, c.Seed+uint64(i), ecn)
		switch {
		case err != nil:
			return err
		case c.JSON:
			err = json.NewEncoder(e.out).Encode(r)
		default:
			err = printPath(e.out, r)
		}
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if c.Runs == 1 || c.JSON {
		return nil
	}
	return printSpread(e.out, all)
}

// pathFlows reads flows as they are on the command line.
func pathFlows(args []string) ([]path.Flow, error) {
	if len(args) == 0 {
		args = []string{bbr3.Name}
	}
	var out []path.Flow
	for _, arg := range args {
		name, after, later := strings.Cut(arg, "@")
		f := path.Flow{}
		if f.CongestionControl, f.IPv6 = strings.CutSuffix(name, "/6"); f.CongestionControl == "" || strings.Contains(f.CongestionControl, "/") {
			return nil, fmt.Errorf("flow %q: want a congestion control, such as bbr3, cubic/6 or reno@5s", arg)
		}
		if later {
			var err error
			if f.After, err = time.ParseDuration(after); err != nil || f.After < 0 {
				return nil, fmt.Errorf("flow %q: %q: want when it begins, such as 5s", arg, after)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// printPath prints a run.
func printPath(w io.Writer, r path.Result) error {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
	percent := func(v float64) string { return fmt.Sprintf("%.2f %%", 100*v) }
	t := newTable(w)
	t.row("flow", "Mbit/s", "lost")
	for _, f := range r.Flows {
		t.row(f.CongestionControl, fmt.Sprintf("%.1f", f.Rate/1e6), percent(f.Loss))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "used %s, queue p50 %s p95 %s p99 %s, lost %s, marked %s", percent(r.Utilisation), ms(r.Delay.P50), ms(r.Delay.P95), ms(r.Delay.P99), percent(r.Loss), percent(r.Marked))
	if len(r.Flows) > 1 {
		converged := "never"
		if r.Convergence >= 0 {
			converged = "after " + r.Convergence.String()
		}
		fmt.Fprintf(w, ", fairness %.3f, fair %s", r.Jain, converged)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// printSpread prints what several runs have come to: the median, and the least and the most.
func printSpread(w io.Writer, all []path.Result) error {
	spread := func(of func(path.Result) float64) (string, string) {
		list := make([]float64, len(all))
		for i, r := range all {
			list[i] = of(r)
		}
		middle, least, most := medianOf(list)
		return fmt.Sprintf("%.1f", middle), fmt.Sprintf("%.1f to %.1f", least, most)
	}
	t := newTable(w)
	t.row(fmt.Sprintf("%d runs", len(all)), "median", "spread")
	row := func(what string, of func(path.Result) float64) {
		middle, around := spread(of)
		t.row(what, middle, around)
	}
	for i, f := range all[0].Flows {
		row(f.CongestionControl+" Mbit/s", func(r path.Result) float64 { return r.Flows[i].Rate / 1e6 })
	}
	row("queue p50 ms", func(r path.Result) float64 { return float64(r.Delay.P50) / float64(time.Millisecond) })
	row("queue p99 ms", func(r path.Result) float64 { return float64(r.Delay.P99) / float64(time.Millisecond) })
	row("lost %", func(r path.Result) float64 { return 100 * r.Loss })
	return t.Flush()
}
