// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
)

// MicroCmd is the command that measures the programs by themselves. Its tags are
// kong's.
type MicroCmd struct {
	Paths       []string `help:"Only paths whose names have one of these." placeholder:"TEXT"`
	Repetitions int      `help:"Repetitions of each path, in turns." default:"10"`
	Runs        int      `help:"Packets of each repetition." default:"1000"`
	L2d         string   `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string   `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root.
func (c *MicroCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	paths, err := c.paths()
	if err != nil {
		return err
	}
	// A path's flow in each turn is another one, if it is to be fresh.
	if c.Repetitions < 1 || c.Runs < 1 || c.Runs > MaxFlows/c.Repetitions {
		return fmt.Errorf("%d repetitions of %d packets: want at least one, and at most %d in all", c.Repetitions, c.Runs, MaxFlows)
	}
	r, err := microRun(ctx, paths, c.L2d, Options{Command: "micro", Repetitions: c.Repetitions, GenCPU: 0, RouterCPU: 1}, c.Runs,
		func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return r.saveFailed(c.JSON, err)
	}
	if err := r.save(c.JSON, nil); err != nil {
		return err
	}
	return writeMicro(os.Stdout, r)
}

// paths are those that are asked for.
func (c *MicroCmd) paths() ([]microPath, error) {
	all := microPaths()
	if len(c.Paths) == 0 {
		return all, nil
	}
	var out []microPath
	for _, p := range all {
		for _, text := range c.Paths {
			if strings.Contains(p.name, text) {
				out = append(out, p)
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no path of %q", c.Paths)
	}
	return out, nil
}

// writeMicro writes the results for people.
func writeMicro(w io.Writer, r *Report) error {
	e := r.Environment
	fmt.Fprintf(w, "Linux %s, %s, BPF JIT %s, commit %s\n", e.Kernel, e.CPU, e.JIT, e.Commit)
	fmt.Fprintf(w, "one packet a test run, with a look at the clock, %d repetitions in turns\n\n", e.Options.Repetitions)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "path\tns, median, 95 %\tspread\t")
	for _, s := range r.microSeries() {
		fmt.Fprintf(t, "%s\t%s\t%.1f %%\t\n", s.name, medianInterval(s.values).text("%.0f"), 100*spread(s.values))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.microSeries() {
		if len(s.doubts) > 0 {
			fmt.Fprintf(w, "inconclusive: %s: %s\n", s.name, strings.Join(s.doubts, ", "))
		}
	}
	return nil
}
