// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"
)

// RulesCmd is the command that measures what rules cost. Its tags are kong's.
type RulesCmd struct {
	Loads       []string      `help:"Only these: rules, set, intervals, blocklist, vmap, 10k." placeholder:"NAME"`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"1s"`
	Flows       int           `help:"UDP flows, a power of two." default:"1024"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// ruleDevices are what the loads are measured on.
var ruleDevices = []string{L2dName, L2dTCName, NFTablesName}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *RulesCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "l2d-rules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	loads, err := c.loads()
	if err != nil {
		return err
	}
	var cases []Case
	for _, l := range loads {
		file := filepath.Join(dir, l.Name+".nft")
		if err := os.WriteFile(file, []byte(l.ruleset()), 0o600); err != nil {
			return err
		}
		label := " " + l.Name
		for _, d := range []Device{
			&L2d{Binary: c.L2d, Ruleset: file, Label: label},
			&L2d{Binary: c.L2d, Ruleset: file, Label: label, TC: true},
			&NFTables{Ruleset: file, Label: label},
		} {
			cases = append(cases, Case{Device: d, Flows: c.Flows})
		}
	}
	r, err := Run(ctx, cases, Options{
		Command: "rules", Repetitions: c.Repetitions, Warmup: warmup, Duration: c.Duration, GenCPU: 0, RouterCPU: 1,
	}, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err := r.conclude(c.JSON, err); err != nil {
		return err
	}
	return writeCosts(os.Stdout, r, loads)
}

// loads returns those that are asked for, behind the one that they are compared
// with.
func (c *RulesCmd) loads() ([]ruleLoad, error) {
	all := ruleLoads()
	if len(c.Loads) == 0 {
		return all, nil
	}
	out := all[:1]
	for _, name := range c.Loads {
		found := false
		for _, l := range all[1:] {
			if l.Name == name {
				out, found = append(out[:len(out):len(out)], l), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no load %q", name)
		}
	}
	return out, nil
}

// writeCosts writes what each load costs each device: time that a packet takes
// longer than without it.
func writeCosts(w io.Writer, r *Report, loads []ruleLoad) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nns, 95 %\t")
	for _, d := range ruleDevices {
		fmt.Fprintf(t, "%s\t", d)
	}
	fmt.Fprintln(t)
	for _, l := range loads[1:] {
		fmt.Fprintf(t, "%s\t", l.What)
		for _, d := range ruleDevices {
			fmt.Fprintf(t, "%s\t", r.cost(d, l).text("%.1f"))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// cost compares a load with no load, round by round.
func (r *Report) cost(device string, l ruleLoad) Interval {
	ns := func(name string) []float64 {
		var out []float64
		for _, s := range r.Samples {
			if s.Device == name && s.Rate() > 0 {
				out = append(out, 1e9/s.Rate())
			}
		}
		return out
	}
	with, without := ns(device+" "+l.Name), ns(device+" "+baseLoad)
	var each []float64
	for i := range min(len(with), len(without)) {
		each = append(each, (with[i]-without[i])/float64(l.Times))
	}
	return medianInterval(each)
}
