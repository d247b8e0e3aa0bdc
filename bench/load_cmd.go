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
)

// LoadCmd is the command that measures how long rulesets take to be compiled and loaded, and
// their sets to be changed. Its tags are kong's.
type LoadCmd struct {
	Repetitions int    `help:"Repetitions of each ruleset." default:"10"`
	Ruleset     string `help:"The ruleset beside that of 10,000 rules." default:"examples/l2/firewall.nft" type:"path" placeholder:"FILE"`
	L2d         string `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root.
func (c *LoadCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "l2d-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := &loading{
		report: &Report{Environment: observe(ctx, Options{Command: "load", Repetitions: c.Repetitions})},
		dir:    dir, l2d: c.L2d,
	}
	if err := c.measure(ctx, l); err != nil {
		return l.report.saveFailed(c.JSON, err)
	}
	if err := l.report.save(c.JSON, nil); err != nil {
		return err
	}
	return writeLoads(os.Stdout, l.report)
}

func (c *LoadCmd) measure(ctx context.Context, l *loading) error {
	loads := map[string]ruleLoad{}
	for _, r := range ruleLoads() {
		loads[r.Name] = r
	}
	many := filepath.Join(l.dir, "10k.nft")
	if err := os.WriteFile(many, []byte(loads["10k"].ruleset()), 0o600); err != nil {
		return err
	}
	for _, r := range []struct{ name, file string }{
		{filepath.Base(c.Ruleset), c.Ruleset},
		{loads["10k"].What, many},
	} {
		for round := range c.Repetitions {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.Repetitions, r.name)
			if err := l.compileAndLoad(ctx, r.name, r.file, round); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	for _, s := range []struct{ load, element string }{
		{"set", "203.0.113.1"},
		{"intervals", "203.0.113.0/24"},
	} {
		fmt.Fprintf(os.Stderr, "change elements: %s\n", loads[s.load].What)
		if err := l.changeElements(ctx, loads[s.load], s.element, c.Repetitions); err != nil {
			return fmt.Errorf("%s: %w", loads[s.load].What, err)
		}
	}
	return nil
}

// writeLoads writes a row for each time, and one for each hook's code.
func writeLoads(w io.Writer, r *Report) error {
	e := r.Environment
	fmt.Fprintf(w, "Linux %s, %s, %d CPUs, commit %s; %d repetitions each\n\n", e.Kernel, e.CPU, e.CPUs, e.Commit, e.Options.Repetitions)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tfigure\tmedian\tspread\t")
	for _, f := range r.toolFigures() {
		values := r.found(L2dName, f)
		fmt.Fprintf(t, "%s\t%s\t%.4g %s\t%.1f %%\t\n", f.tool, f.name, median(values), f.unit, 100*spread(values))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s: %s: %g %s\n", f.Device, f.Name, f.Value, f.Unit)
	}
	return nil
}
