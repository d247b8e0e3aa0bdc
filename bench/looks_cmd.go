// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// LooksCmd is the command that measures what it costs to look at a busy router: what is
// left of its rate, and how long a scrape takes. Its tags are kong's.
type LooksCmd struct {
	Repetitions int           `help:"Repetitions of each way to look, in turns." default:"14"`
	Duration    time.Duration `help:"Length of each repetition." default:"2s"`
	Flows       int           `help:"UDP flows, a power of two." default:"262144"`
	Scrapes     int           `help:"Scrapes while nothing is forwarded." default:"50"`
	TC          bool          `help:"Without XDP." name:"tc"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// nobody is the way to look that the others are compared with.
const nobody = "nobody"

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *LooksCmd) Run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "l2d-looks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ruleset := filepath.Join(dir, "10k.nft")
	loads := ruleLoads()
	if err := os.WriteFile(ruleset, []byte(loads[len(loads)-1].ruleset()), 0o600); err != nil {
		return err
	}
	o := Options{Command: "looks", Repetitions: c.Repetitions, Warmup: warmup, Duration: c.Duration, GenCPU: 0, RouterCPU: 1}
	d := &L2d{Binary: c.L2d, Ruleset: ruleset, TC: c.TC, MaxFlows: c.Flows + c.Flows/8, Metrics: metricsPort}
	r := &Report{Environment: observe(ctx, o)}
	lane, err := newLane(ctx, Case{Device: d, Flows: c.Flows, Rate: flowRate}, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lane.close()) }()
	if err := keepTo(os.Getpid(), o.GenCPU); err != nil {
		return err
	}
	first := d.Name() + " " + nobody
	return r.conclude(c.JSON, c.measure(ctx, r, lane, d), first)
}

// measure has each way its turn, behind one when nobody looks.
func (c *LooksCmd) measure(ctx context.Context, r *Report, lane *lane, d *L2d) error {
	if err := keepTo(d.cmd.Process.Pid, lane.options.GenCPU); err != nil {
		return err
	}
	if err := lane.keepReceiver(); err != nil {
		return err
	}
	look := newLooker(lane.topology, d.client)
	for range c.Scrapes {
		if err := look.scrape(ctx); err != nil {
			return err
		}
	}
	r.addScrapes(d.Name(), look)
	for round := range c.Repetitions {
		for _, w := range append([]way{{name: nobody}}, ways...) {
			d.Label = " " + w.name
			stop := func() error { return nil }
			if w.look != nil {
				stop = look.during(ctx, w)
			}
			s, err := lane.measure(ctx)
			if err = errors.Join(err, stop()); err != nil {
				return err
			}
			s.Round = round
			r.Samples = append(r.Samples, s)
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, c.Repetitions, s)
		}
	}
	return nil
}

// addScrapes notes how long scrapes took. While packets are forwarded the generator takes the
// CPU that the daemon is on, which says nothing.
func (r *Report) addScrapes(device string, l *looker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.scrapes) == 0 {
		return
	}
	took := make([]float64, 0, len(l.scrapes))
	for _, d := range l.scrapes {
		took = append(took, milliseconds(d))
	}
	r.Figures = append(r.Figures,
		Figure{device, fmt.Sprintf("a scrape, median of %d", len(took)), math.Round(100*median(took)) / 100, "ms"},
		Figure{device, "the longest of these", slices.Max(took), "ms"},
		Figure{device, "size of a scrape", float64(l.size), "bytes"})
}
