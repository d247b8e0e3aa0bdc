// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"text/tabwriter"
	"time"
)

// CoresCmd is the command that compares two packet cores with one. Its tags are kong's.
type CoresCmd struct {
	Devices     []string      `help:"Devices under test." default:"redirect,l2d,l2d-tc,nftables"`
	Cores       int           `help:"How many cores are compared with one, a power of two." default:"2"`
	Pairs       []string      `help:"CPUs that make packets and cores that forward them, as GENERATOR:ROUTER, the first of which is the single core's. The first CPUs for generators and the next for the router, if the machine has as many; otherwise both share each CPU." placeholder:"CPU:CPU"`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"1500ms"`
	Flows       int           `help:"UDP flows, a power of two, shared out evenly." default:"1024"`
	Ruleset     string        `help:"nftables ruleset of l2d and nftables." default:"examples/l2/firewall.nft" type:"existingfile"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and the CPUs to itself.
func (c *CoresCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pairs, err := c.pairs(runtime.NumCPU())
	if err != nil {
		return err
	}
	quick := QuickCmd{Devices: c.Devices, Flows: c.Flows, FlowRate: establishRate, Ruleset: c.Ruleset, L2d: c.L2d}
	single, err := quick.cases(ctx, func(why string) { fmt.Fprintln(os.Stderr, "left out: "+why) })
	if err != nil {
		return err
	}
	var cases []Case
	for _, one := range single {
		// A device is one router: each case has its own.
		more := one
		if more.Device, err = NewDevice(one.Device.Name(), DeviceOptions{L2d: c.L2d, Ruleset: c.Ruleset}); err != nil {
			return err
		}
		more.Cores, more.Label = c.Cores, one.Label+coresLabel(c.Cores)
		cases = append(cases, one, more)
	}
	o := Options{
		Command: "cores", Repetitions: c.Repetitions, Warmup: warmup, Duration: c.Duration,
		GenCPU: pairs[0].Gen, RouterCPU: pairs[0].Router, Further: pairs[1:],
	}
	r, err := Run(ctx, cases, o, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err := r.conclude(c.JSON, err); err != nil {
		return err
	}
	return c.writeScaling(os.Stdout, r, single)
}

func coresLabel(n int) string { return fmt.Sprintf(" %d cores", n) }

// pairs are those of the command line, or what a machine with so many CPUs has.
func (c *CoresCmd) pairs(cpus int) (pairs []CPUPair, err error) {
	if c.Cores < 2 || c.Cores&(c.Cores-1) != 0 {
		return nil, fmt.Errorf("%d cores: want a power of two, two or more", c.Cores)
	}
	for _, s := range c.Pairs {
		p, err := parsePair(s, cpus)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	for i := 0; len(c.Pairs) == 0 && i < c.Cores; i++ {
		p := CPUPair{Gen: i, Router: c.Cores + i}
		if cpus < 2*c.Cores {
			p.Router = i
		}
		pairs = append(pairs, p)
	}
	if len(c.Pairs) == 0 && cpus < c.Cores {
		return nil, fmt.Errorf("%d cores of %d CPUs", c.Cores, cpus)
	}
	_, err = Options{GenCPU: pairs[0].Gen, RouterCPU: pairs[0].Router, Further: pairs[1:]}.pairs(c.Cores)
	return pairs, err
}

// writeScaling writes how many times what one core forwards all of them do.
func (c *CoresCmd) writeScaling(w io.Writer, r *Report, single []Case) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	for _, one := range single {
		i := ratio("", r.rates(one.Name()+coresLabel(c.Cores)), r.rates(one.Name()))
		fmt.Fprintf(t, "%s\t%d cores forward %s times what one does\n", one.Name(), c.Cores, i.times(float64(c.Cores)))
	}
	if r.Environment.Options.shared() {
		fmt.Fprintln(t, "Each CPU makes its packets, too, and is the router's for a part of the time: cores that are always busy may take more from each other.")
	}
	return t.Flush()
}
