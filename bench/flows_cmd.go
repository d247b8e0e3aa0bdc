// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// FlowsCmd is the command that measures how fast flows begin, and what many of
// them cost. Its tags are kong's.
type FlowsCmd struct {
	Repetitions int           `help:"Repetitions of each device, in turns; 0: nothing but floods." default:"5"`
	Floods      int           `help:"Times that each device is flooded, in turns; 0: never." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"250ms"`
	Flows       []int         `help:"Numbers of established flows, powers of two." default:"1024,131072,1048576"`
	Zipf        float64       `help:"Exponent of the zipf distribution that the most flows are also drawn from; 0: none." default:"1.1"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

const (
	// freshWarmup is short: flows that begin in it are many already.
	freshWarmup = 50 * time.Millisecond
	// flowRate: the ruleset has no limit, but a core has.
	flowRate = 100_000
	// conntrackMax is nf_conntrack_max of hosts with enough memory. A network
	// namespace cannot change it.
	conntrackMax = 262144
)

// Behind the names of devices that are measured with new flows, and with drawn ones.
const (
	freshLabel = " new"
	zipfLabel  = " zipf"
)

func flowsLabel(n int) string { return fmt.Sprintf(" %d", n) }

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *FlowsCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "l2d-flows-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := (Mix{Zipf: c.Zipf}).check(); err != nil {
		return err
	}
	ruleset := filepath.Join(dir, "masquerade.nft")
	if err := os.WriteFile(ruleset, []byte(ruleLoad{}.ruleset()), 0o600); err != nil {
		return err
	}
	o := Options{
		Command: "flows", Repetitions: c.Repetitions, Warmup: freshWarmup, Duration: c.Duration, GenCPU: 0, RouterCPU: 1,
	}
	progress := func(s string) { fmt.Fprintln(os.Stderr, s) }
	// Before the tables with many flows: the kernel takes a while to give them back.
	floods, err := c.flood(ctx, dir, o, progress)
	if err != nil {
		return err
	}
	var cases []Case
	if c.Repetitions > 0 {
		cases = c.cases(ruleset)
	}
	r, err := Run(ctx, cases, o, progress)
	if r != nil {
		r.Outcomes = floods
	}
	if err := r.conclude(c.JSON, err); err != nil {
		return err
	}
	return errors.Join(c.writeRatios(os.Stdout, r), writeFloods(os.Stdout, r))
}

func (c *FlowsCmd) cases(ruleset string) (cases []Case) {
	add := func(label string, flows int, fresh bool, m Mix) {
		limit := roomFor(flows)
		if fresh {
			limit = conntrackMax
		}
		for _, tc := range []bool{false, true} {
			d := &L2d{Binary: c.L2d, Ruleset: ruleset, Label: label, TC: tc, MaxFlows: limit}
			cases = append(cases, Case{Device: d, Flows: flows, Fresh: fresh, Rate: flowRate, Mix: m})
		}
		if fresh || flows <= conntrackMax {
			d := &NFTables{Ruleset: ruleset, Label: label}
			cases = append(cases, Case{Device: d, Flows: flows, Fresh: fresh, Rate: flowRate, Mix: m})
		}
	}
	add(freshLabel, freshFlows, true, Mix{})
	for _, n := range c.Flows {
		add(flowsLabel(n), n, false, Mix{})
	}
	if n := c.drawn(); n > 0 {
		add(flowsLabel(n)+zipfLabel, n, false, Mix{Zipf: c.Zipf})
	}
	return cases
}

// drawn is how many flows are drawn from a zipf distribution; 0: none.
func (c *FlowsCmd) drawn() int {
	if c.Zipf == 0 || len(c.Flows) == 0 {
		return 0
	}
	return slices.Max(c.Flows)
}

// flood measures how much of a flood devices drop.
func (c *FlowsCmd) flood(ctx context.Context, dir string, o Options, progress func(string)) (all []Outcome, err error) {
	ruleset := filepath.Join(dir, "flood.nft")
	if err := os.WriteFile(ruleset, []byte(floodRules.ruleset()), 0o600); err != nil {
		return nil, err
	}
	for round := range c.Floods {
		progress(fmt.Sprintf("flood %d of %d", round+1, c.Floods))
		for _, d := range []Device{
			&L2d{Binary: c.L2d, Ruleset: ruleset},
			&L2d{Binary: c.L2d, Ruleset: ruleset, TC: true},
			&NFTables{Ruleset: ruleset},
		} {
			out, err := measureFlood(ctx, d, round, o, progress)
			if err != nil {
				return nil, err
			}
			all = append(all, out)
		}
	}
	return all, nil
}

// writeFloods writes the median of each device, and what it is of nftables', round by
// round; and which of them differ too much from round to round to say anything.
func writeFloods(w io.Writer, r *Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	for _, f := range r.toolFigures() {
		base := r.found(NFTablesName, f)
		for _, d := range r.toolDevices() {
			values := r.found(d, f)
			fmt.Fprintf(t, "%s, %s\t%s\t%.0f %s\t±%.0f %%\t%s\tof %s\n",
				f.tool, f.name, d, median(values), f.unit, 100*spread(values), ratio(NFTablesName, values, base), NFTablesName)
		}
	}
	for _, s := range r.toolSeries() {
		for _, why := range s.doubts {
			fmt.Fprintf(t, "inconclusive: %s: %s\n", s.name, why)
		}
	}
	return t.Flush()
}

// writeRatios writes how many times as many flows begin as with nftables, and
// what is left of the speed with few flows when there are many.
func (c *FlowsCmd) writeRatios(w io.Writer, r *Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	row := func(what, device, to string) {
		if rates := r.rates(device); len(rates) > 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\tof %s\n", what, device, ratio(to, rates, r.rates(to)), to)
		}
	}
	for _, d := range []string{L2dName, L2dTCName} {
		row("flows that begin", d+freshLabel, NFTablesName+freshLabel)
	}
	for _, n := range c.Flows[min(1, len(c.Flows)):] {
		for _, d := range ruleDevices {
			row(fmt.Sprintf("%d flows", n), d+flowsLabel(n), d+flowsLabel(c.Flows[0]))
		}
	}
	if n := c.drawn(); n > 0 {
		for _, d := range ruleDevices {
			row(fmt.Sprintf("%d flows, zipf %g", n, c.Zipf), d+flowsLabel(n)+zipfLabel, d+flowsLabel(c.Flows[0]))
		}
	}
	return t.Flush()
}
