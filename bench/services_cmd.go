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
	L2d         string `name:"l2d" help:"The l2d binary; l2ctl is beside it." default:"bin/l2d" type:"existingfile"`
}

// Run measures and prints the table to standard output, progress to standard error. It needs root.
func (c *ServicesCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Repetitions < 1 || c.Rate < 1 || c.Seconds < 1 {
		return errors.New("repetitions, rate and seconds are at least 1")
	}
	var list []lab.ServiceFigures
	for i := range c.Repetitions {
		f, err := c.measure(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "services, round %d of %d: first download after %v, %.0f leases/s\n", i+1, c.Repetitions, f.Download, f.Leases)
		list = append(list, f)
	}
	e := observe(ctx, Options{Command: "services", Repetitions: c.Repetitions})
	fmt.Fprintf(os.Stdout, "Linux %s, %s, %d CPUs, commit %s; %d labs; medians, ± between the quartiles\n\n", e.Kernel, e.CPU, e.CPUs, e.Commit, len(list))
	return writeServices(os.Stdout, list)
}

// measure makes a lab, and ends it.
func (c *ServicesCmd) measure(ctx context.Context) (f lab.ServiceFigures, err error) {
	control, err := filepath.Abs(filepath.Join(filepath.Dir(c.L2d), "l2ctl"))
	if err != nil {
		return f, err
	}
	l, err := lab.Up(ctx, lab.Options{Serve: []string{control, "lab", "serve"}})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	d, err := lab.NewL2D(l, c.L2d, control, c.Config)
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
func writeServices(w io.Writer, list []lab.ServiceFigures) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name, unit string
		value      func(lab.ServiceFigures) float64
	}{
		{"l2ctl apply, until Kea, recursor and radvd are well", "s", func(f lab.ServiceFigures) float64 { return f.Applied.Seconds() }},
		{"the same, and a waiting host's first download", "s", func(f lab.ServiceFigures) float64 { return f.Download.Seconds() }},
		{"DHCP exchanges of four packets", "1/s", func(f lab.ServiceFigures) float64 { return f.Leases }},
	} {
		var values []float64
		for _, f := range list {
			values = append(values, row.value(f))
		}
		fmt.Fprintf(t, "%s\t%.4g ±%.0f %%\t%s\n", row.name, median(values), 100*spread(values), row.unit)
	}
	return t.Flush()
}
