// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// warmup fills caches and rings before each repetition.
const warmup = 300 * time.Millisecond

// QuickCmd is the command that compares all devices in less than two minutes.
// Its tags are kong's.
type QuickCmd struct {
	Devices     []string      `help:"Devices under test. With -ipv6 behind its name a device is measured with IPv6; with + and a queue discipline, such as l2d-tc+fq_codel, it sends by that." default:"redirect,xdp-forward,l2d,l2d-tc,forward,nftables,flowtable,l2d-ipv6,nftables-ipv6"`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"1500ms"`
	Flows       int           `help:"UDP flows, a power of two up to 4194304." default:"1024"`
	FlowRate    float64       `help:"Flows that begin a second, before anything is measured. More need a ruleset that lets them: L2's has a limit of 500." default:"400"`
	Frames      []string      `help:"Lengths of frames on the wire, a cycle of up to 16, or imix: 7 of 64, 4 of 594 and 1 of 1518 bytes. The shortest if there are none." placeholder:"BYTES"`
	Zipf        float64       `help:"Draw each packet's flow from a zipf distribution with this exponent, more than 1. Otherwise flows come in turn." placeholder:"EXPONENT"`
	NICs        []string      `name:"nics" help:"Four idle NICs of this machine instead of interfaces in memory: the generator's, the one of the router that it is cabled to, the other one of the router, and the receiver's. They are in namespaces for the run, with one queue, and given back." placeholder:"NAME"`
	CPUs        string        `name:"cpus" help:"The generator's CPU and the router's, as GENERATOR:ROUTER." default:"0:1"`
	Ruleset     string        `help:"nftables ruleset of l2d and nftables." default:"examples/l2/firewall.nft" type:"existingfile"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// ipv6Label is behind the names of devices that are measured with IPv6.
const ipv6Label = "-ipv6"

// references are the devices that the others are compared with.
var references = []string{RedirectName, NFTablesName}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *QuickCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	nics, err := parseNICs(c.NICs)
	if err != nil {
		return err
	}
	pair, err := parsePair(c.CPUs, runtime.NumCPU())
	if err != nil {
		return err
	}
	cases, err := c.cases(ctx, func(why string) { fmt.Fprintln(os.Stderr, "left out: "+why) })
	if err != nil {
		return err
	}
	r, err := Run(ctx, cases, Options{
		Command:     "quick",
		Repetitions: c.Repetitions,
		Warmup:      warmup,
		Duration:    c.Duration,
		GenCPU:      pair.Gen,
		RouterCPU:   pair.Router,
		NICs:        nics,
	}, func(s string) { fmt.Fprintln(os.Stderr, s) })
	return r.conclude(c.JSON, err, references...)
}

// cases are those of the command line that this machine can have; leftOut is told of
// each other one.
func (c *QuickCmd) cases(ctx context.Context, leftOut func(string)) ([]Case, error) {
	lengths, err := parseLengths(c.Frames)
	if err != nil {
		return nil, err
	}
	mix := Mix{Lengths: lengths, Zipf: c.Zipf}
	if err := mix.check(); err != nil {
		return nil, err
	}
	if c.FlowRate <= 0 || c.FlowRate > flowRate {
		return nil, fmt.Errorf("%g flows that begin a second: want more than 0 and at most %d", c.FlowRate, flowRate)
	}
	if c.Flows > MaxFlows {
		return nil, fmt.Errorf("%d flows: want at most %d", c.Flows, MaxFlows)
	}
	cases := make([]Case, 0, len(c.Devices))
	for _, name := range c.Devices {
		one := Case{Flows: c.Flows, Mix: mix, Rate: c.FlowRate}
		if name, one.IPv6 = strings.CutSuffix(name, ipv6Label); one.IPv6 {
			one.Label = ipv6Label
		}
		if one.Device, err = NewDevice(name, DeviceOptions{L2d: c.L2d, Ruleset: c.Ruleset, Flows: c.Flows}); err != nil {
			return nil, err
		}
		if n, ok := one.Device.(Needer); ok {
			if err := n.Missing(ctx); err != nil {
				leftOut(fmt.Sprintf("%s: %v", one.Name(), err))
				continue
			}
		}
		cases = append(cases, one)
	}
	if len(cases) == 0 {
		return nil, errors.New("none of the devices can be had here")
	}
	return cases, nil
}
