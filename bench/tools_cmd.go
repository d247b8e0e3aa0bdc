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
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// ToolsCmd is the command that has other programs measure devices. Its tags are
// kong's.
type ToolsCmd struct {
	Devices     []string      `help:"Devices under test: ${enum}. Stacks send segments and checksums that a NIC has to finish: TC takes them." enum:"l2d-tc,forward,nftables" default:"l2d-tc,nftables,forward"`
	Tools       []string      `help:"Only these, by their name or their program (--list)." placeholder:"NAME"`
	Flows       []int         `help:"Connections that iperf makes at once. Rules that limit new connections hold many of them up." default:"1,10"`
	Congestion  []string      `help:"Congestion controls of senders, each of which iperf3 and iperf are measured with: bbr3, cubic, ... (default: the kernel's choice)." placeholder:"NAME"`
	List        bool          `help:"List the tools, and which of them can run here."`
	Repetitions int           `help:"Repetitions of each device, in turns." default:"3"`
	Duration    time.Duration `help:"Length of each repetition, at least 1s." default:"5s"`
	Ruleset     string        `help:"nftables ruleset of l2d and nftables." default:"examples/l2/firewall.nft" type:"existingfile"`
	L2d         string        `name:"l2d" help:"The daemon (default: beside this program, or in the path)." placeholder:"FILE"`
	Raw         string        `help:"Folder for what the tools print." default:"bench-raw" type:"path"`
	JSON        string        `name:"json" help:"File for the results, as JSON lines." type:"path" placeholder:"FILE"`
}

// Run measures and prints the table to standard output, progress to standard
// error. It needs root, and two CPUs to itself.
func (c *ToolsCmd) Run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, n := range c.Flows {
		if n < 1 || n > maxToolFlows {
			return fmt.Errorf("%d connections at once: want 1 to %d", n, maxToolFlows)
		}
	}
	tools, unknown := chosen(Tools(c.Flows), c.Tools)
	if len(unknown) > 0 {
		return fmt.Errorf("no tool %q: --list prints those that there are", unknown)
	}
	if c.List {
		return listTools(ctx, os.Stdout, tools)
	}
	if c.Duration < time.Second {
		return fmt.Errorf("a duration of %s: most tools count in seconds, so it is 1s at least", c.Duration)
	}
	tools, absent := available(tools)
	for _, why := range absent {
		fmt.Fprintln(os.Stderr, "left out: "+why)
	}
	if len(tools) == 0 {
		return errors.New("none of the tools is there")
	}
	tools = byEach(tools, c.Congestion)
	var devices []Device
	for _, name := range c.Devices {
		d, err := NewDevice(name, DeviceOptions{L2d: c.L2d, Ruleset: c.Ruleset})
		if err != nil {
			return err
		}
		devices = append(devices, d)
	}
	done, err := enforce.LendCongestionControls(c.Congestion)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	raw := filepath.Join(c.Raw, time.Now().UTC().Format("20060102-150405"))
	r, err := RunTools(ctx, devices, tools, raw, Options{
		Command: "tools", Repetitions: c.Repetitions, Warmup: warmup, Duration: c.Duration, GenCPU: 0, RouterCPU: 1,
	}, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return r.saveFailed(c.JSON, err)
	}
	if err := r.save(c.JSON, nil); err != nil {
		return err
	}
	return writeTools(os.Stdout, r, absent)
}

// available are the tools that can run, and why others cannot.
func available(tools []Tool) (list []Tool, absent []string) {
	for _, t := range tools {
		if why := t.missing(); why != "" {
			absent = append(absent, t.Name+": "+why)
			continue
		}
		list = append(list, t)
	}
	return list, absent
}

// listTools says what there is of each tool.
func listTools(ctx context.Context, w io.Writer, tools []Tool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range tools {
		state := tools[i].missing()
		if state == "" {
			state = tools[i].version(ctx)
		}
		fmt.Fprintf(t, "%s\t%s\n", tools[i].Name, state)
	}
	return t.Flush()
}

// writeTools writes a row for each figure: the median of each device, with its
// spread, and what it is of nftables', round by round.
func writeTools(w io.Writer, r *Report, absent []string) error {
	e := r.Environment
	fmt.Fprintf(w, "Linux %s, %s, %d CPUs, commit %s; one packet core, %d × %s each, in turns\n\n",
		e.Kernel, e.CPU, e.CPUs, e.Commit, e.Options.Repetitions, e.Options.Duration)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	devices := r.toolDevices()
	fmt.Fprintf(t, "tool\tfigure\tunit\t%s\t\n", strings.Join(devices, "\t"))
	for _, f := range r.toolFigures() {
		fmt.Fprintf(t, "%s\t%s\t%s\t", f.tool, f.name, f.unit)
		for _, d := range devices {
			values := r.found(d, f)
			fmt.Fprintf(t, "%.4g ±%.0f %%", median(values), 100*spread(values))
			if base := r.found(NFTablesName, f); d != NFTablesName && len(base) > 0 {
				fmt.Fprintf(t, ", %s", ratio(NFTablesName, values, base))
			}
			fmt.Fprint(t, "\t")
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n±: between the quartiles. Behind it: of nftables' in the same round, with its 95 %% interval, which needs four rounds.\n")
	for _, why := range absent {
		fmt.Fprintln(w, "left out: "+why)
	}
	return nil
}

// String is a figure for people.
func (m Measure) String() string { return fmt.Sprintf("%s %.4g %s", m.Name, m.Value, m.Unit) }
