// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// DropsCmd is the command that measures how fast what a blocklist has is dropped. Its
// tags are kong's.
type DropsCmd struct {
	Blocked     int           `help:"Addresses that are blocked." default:"1000000"`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"5"`
	Duration    time.Duration `help:"Length of each repetition." default:"1s"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// blockingChain is where a ruleset drops what a set has.
type blockingChain struct{ label, table, chain string }

func (c blockingChain) ruleset(blocked []string) string {
	return fmt.Sprintf("table %s load {\n%s\nchain early {\n%s\nip saddr @s drop\n}\n}\n", c.table,
		set("s", fmt.Sprintf("type ipv4_addr; size %d;", 2*len(blocked)), blocked), c.chain)
}

// blockingChains are all of them, from the driver on.
var blockingChains = []blockingChain{
	{" ingress", "netdev", `type filter hook ingress device "` + IngressName + `" priority filter;`},
	{" raw", "inet", "type filter hook prerouting priority raw;"},
	{" forward", "inet", "type filter hook forward priority filter;"},
}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *DropsCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "l2d-drops-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cases, err := c.cases(dir)
	if err != nil {
		return err
	}
	r, err := Run(ctx, cases, Options{
		Command: "drops", Repetitions: c.Repetitions, Warmup: warmup, Duration: c.Duration, GenCPU: 0, RouterCPU: 1,
	}, func(s string) { fmt.Fprintln(os.Stderr, s) })
	return r.conclude(c.JSON, err, DropName)
}

func (c *DropsCmd) cases(dir string) ([]Case, error) {
	blocked := append(addresses(c.Blocked), GenAddr.Addr().String())
	devices := []Device{&Drop{Blocked: blocked}}
	for _, h := range blockingChains {
		file := filepath.Join(dir, strings.TrimSpace(h.label)+".nft")
		if err := os.WriteFile(file, []byte(h.ruleset(blocked)), 0o600); err != nil {
			return nil, err
		}
		devices = append(devices,
			&L2d{Binary: c.L2d, Ruleset: file, Label: h.label},
			&L2d{Binary: c.L2d, Ruleset: file, Label: h.label, TC: true},
			&NFTables{Ruleset: file, Label: h.label})
	}
	cases := make([]Case, 0, len(devices))
	for _, d := range devices {
		cases = append(cases, Case{Device: d, Flows: 1024, Dropped: true})
	}
	return cases, nil
}
