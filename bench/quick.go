// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// warmup fills caches and rings before each repetition.
const warmup = 300 * time.Millisecond

// QuickCmd is the command that compares all devices in less than two minutes.
// Its tags are kong's.
type QuickCmd struct {
	Devices     []string      `help:"Devices under test: ${enum}." enum:"redirect,l2d,l2d-tc,forward,nftables,l2d-ipv6,nftables-ipv6" default:"redirect,l2d,l2d-tc,forward,nftables,l2d-ipv6,nftables-ipv6"`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"2s"`
	Flows       int           `help:"UDP flows, a power of two." default:"1024"`
	Ruleset     string        `help:"nftables ruleset of l2d and nftables." default:"examples/l2/firewall.nft" type:"existingfile"`
	L2d         string        `name:"l2d" help:"The l2d binary." default:"bin/l2d"`
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

	cases := make([]Case, 0, len(c.Devices))
	for _, name := range c.Devices {
		base, ipv6 := strings.CutSuffix(name, ipv6Label)
		label := ""
		if ipv6 {
			label = ipv6Label
		}
		d, err := c.device(base, label)
		if err != nil {
			return err
		}
		cases = append(cases, Case{Device: d, Flows: c.Flows, IPv6: ipv6})
	}
	r, err := Run(ctx, cases, Options{
		Command:     "quick",
		Repetitions: c.Repetitions,
		Warmup:      warmup,
		Duration:    c.Duration,
		GenCPU:      0,
		RouterCPU:   1,
	}, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return r.saveFailed(c.JSON, err)
	}
	summaries := r.Summarize(references...)
	if err := r.save(c.JSON, summaries); err != nil {
		return err
	}
	return WriteTable(os.Stdout, r, summaries, references...)
}

func (c *QuickCmd) device(name, label string) (Device, error) {
	switch name {
	case RedirectName:
		return &Redirect{}, nil
	case L2dName:
		return &L2d{Binary: c.L2d, Ruleset: c.Ruleset, Label: label}, nil
	case L2dTCName:
		return &L2d{Binary: c.L2d, Ruleset: c.Ruleset, TC: true}, nil
	case "forward":
		return Forward{}, nil
	case NFTablesName:
		return &NFTables{Ruleset: c.Ruleset, Label: label}, nil
	}
	return nil, fmt.Errorf("no device %q", name)
}
