// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/randomizedcoder/l2d/pkg/lab"
)

// ServicesCmd is the command that measures l2d's services. Its tags are kong's.
type ServicesCmd struct {
	Repetitions int    `help:"How many labs, one after the other." default:"3"`
	Rate        int    `help:"Leases a second that perfdhcp asks for: more than there can be." default:"4000"`
	Seconds     int    `help:"How long it asks." default:"5"`
	Config      string `help:"Configuration of the router; its services are left out." default:"examples/l2/l2d.yaml" type:"existingfile"`
	L2d         string `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// Run measures and prints the table to standard output, progress to standard error. It needs root.
func (c *ServicesCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Repetitions < 1 || c.Rate < 1 || c.Seconds < 1 {
		return errors.New("repetitions, rate and seconds are at least 1")
	}
	r := &Report{Environment: observe(ctx, Options{Command: "services", Repetitions: c.Repetitions})}
	for i := range c.Repetitions {
		f, err := c.measure(ctx)
		if err != nil {
			return r.saveFailed(c.JSON, err)
		}
		fmt.Fprintf(os.Stderr, "services, round %d of %d: first download after %v, %.0f leases/s\n", i+1, c.Repetitions, f.Download, f.Leases)
		r.Outcomes = append(r.Outcomes, serviceOutcome(f, i))
	}
	if err := r.save(c.JSON, nil); err != nil {
		return err
	}
	e := r.Environment
	fmt.Fprintf(os.Stdout, "Linux %s, %s, %d CPUs, commit %s; %d labs; medians, ± between the quartiles\n\n", e.Kernel, e.CPU, e.CPUs, e.Commit, c.Repetitions)
	return writeServices(os.Stdout, r)
}

// serviceOutcome is what a lab has found.
func serviceOutcome(f lab.ServiceFigures, round int) Outcome {
	return Outcome{Device: L2dName, Tool: "services", Round: round, Measures: []Measure{
		{Name: "l2ctl apply, until Kea, recursor and radvd are well", Unit: "s", Value: f.Applied.Seconds()},
		{Name: "the same, and a waiting host's first download", Unit: "s", Value: f.Download.Seconds()},
		{Name: "DHCP exchanges of four packets", Unit: "1/s", Value: f.Leases, Higher: true},
	}}
}

// measure makes a lab, and ends it.
func (c *ServicesCmd) measure(ctx context.Context) (f lab.ServiceFigures, err error) {
	control, err := os.Executable()
	if err != nil {
		return f, err
	}
	l, err := lab.Up(ctx, lab.Options{Serve: []string{control, "lab", "serve"}})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	d, err := lab.NewL2D(l, lab.Daemon(c.L2d), control, c.Config)
	if err != nil {
		return f, err
	}
	if err := d.Start(ctx); err != nil {
		return f, err
	}
	f, err = lab.MeasureServices(ctx, l, d, c.Rate, c.Seconds)
	return f, errors.Join(err, d.Stop(ctx))
}

// writeServices writes a row for each figure.
func writeServices(w io.Writer, r *Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.toolFigures() {
		values := r.found(L2dName, f)
		fmt.Fprintf(t, "%s\t%.4g ±%.0f %%\t%s\n", f.name, median(values), 100*spread(values), f.unit)
	}
	return t.Flush()
}
