// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/lab"
)

// LabCmd is "l2ctl lab": a router and its surroundings as network namespaces.
type LabCmd struct {
	Up    labUpCmd    `cmd:"" help:"Build a lab, start the router in it and leave it running."`
	Run   labRunCmd   `cmd:"" help:"Build a lab, check the router in it with real traffic, and remove it."`
	Down  labDownCmd  `cmd:"" help:"Remove labs."`
	Diff  labDiffCmd  `cmd:"" help:"Send the same packets through nftables and l2d with a ruleset, and compare what they do."`
	Path  labPathCmd  `cmd:"" help:"Send over an emulated path with congestion controls, and measure rates, queues, loss and fairness."`
	Paths labPathsCmd `cmd:"" help:"Print what many runs of \"lab path --json\" have come to, as a table in Markdown."`
	// The lab starts its servers with it.
	Serve labServeCmd `cmd:"" hidden:"" help:"Run one of the lab's servers."`
}

// labRouter says what routes in a lab.
type labRouter struct {
	ID        string `help:"Name of the lab, up to 16 lower-case letters and digits (default: a random one)." placeholder:"NAME"`
	Dataplane string `help:"What enforces the ruleset: ${enum}." enum:"l2d,nftables" default:"l2d"`
	Examples  string `help:"Directory of the example configurations." default:"examples" type:"existingdir" placeholder:"DIR"`
	L2d       string `name:"l2d" help:"The daemon (default: beside l2ctl, or in the path)." placeholder:"FILE"`
	Verbose   bool   `short:"v" help:"Log what the lab does."`
}

func (o labRouter) config(example string) string {
	return filepath.Join(o.Examples, example, "l2d.yaml")
}
func (o labRouter) ruleset(example string) string {
	return filepath.Join(o.Examples, example, "firewall.nft")
}

// up builds a lab and starts its router. When it fails nothing is left.
func (o labRouter) up(ctx context.Context, id, example string) (*lab.Lab, lab.Dataplane, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	opt := lab.Options{ID: id, Serve: []string{self, "lab", "serve"}}
	if o.Verbose {
		opt.Log = slog.Default()
	}
	l, err := lab.Up(ctx, opt)
	if err != nil {
		return nil, nil, err
	}
	dp, err := o.dataplane(l, self, example)
	if err == nil {
		err = dp.Start(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.Down())
	}
	return l, dp, nil
}

func (o labRouter) dataplane(l *lab.Lab, self, example string) (lab.Dataplane, error) {
	if o.Dataplane == "nftables" {
		return lab.NewNftables(l, o.ruleset(example)), nil
	}
	return lab.NewL2D(l, lab.Daemon(o.L2d), self, o.config(example))
}

type labUpCmd struct {
	labRouter
	JSON bool `help:"Print JSON." name:"json"`
}

// Run is called by kong.
func (c *labUpCmd) Run(e *env) error {
	if err := needRoot(); err != nil {
		return err
	}
	ctx, stop := hangup(e.ctx)
	defer stop()
	l, dp, err := c.up(ctx, c.ID, "l2")
	if err != nil {
		return err
	}
	if c.JSON {
		return errors.Join(printJSON(e.out, map[string]string{"id": l.ID(), "dataplane": c.Dataplane}), l.Release())
	}
	fmt.Fprintf(e.out, "Lab %s is up, %s routes in it.\n%s", l.ID(), c.Dataplane, l.Enter(dp, os.Args[0]))
	return l.Release()
}

type labDownCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Labs to remove (default: all that no running command uses)."`
	JSON  bool     `help:"Print which were removed as JSON." name:"json"`
}

// Run is called by kong.
func (c *labDownCmd) Run(e *env) error {
	if err := needRoot(); err != nil {
		return err
	}
	names := c.Names
	if len(names) == 0 {
		labs, err := lab.List()
		if err != nil {
			return err
		}
		for _, l := range labs {
			if l.Owned {
				fmt.Fprintf(os.Stderr, "Lab %s is in use; \"l2ctl lab down %s\" removes it all the same.\n", l.ID, l.ID)
				continue
			}
			names = append(names, l.ID)
		}
	}
	var errs []error
	removed := []string{}
	for _, name := range names {
		err := lab.Remove(name)
		if err == nil {
			removed = append(removed, name)
		}
		if err == nil && !c.JSON {
			fmt.Fprintf(e.out, "Lab %s is removed.\n", name)
		}
		errs = append(errs, err)
	}
	if c.JSON {
		errs = append(errs, printJSON(e.out, removed))
	}
	return errors.Join(errs...)
}

type labServeCmd struct {
	Server    string   `arg:"" help:"One of the lab's servers."`
	Addresses []string `arg:"" help:"ADDRESS:PORT."`
}

// Run is called by kong.
func (c *labServeCmd) Run(e *env) error {
	var addrs []netip.AddrPort
	for _, a := range c.Addresses {
		addr, err := netip.ParseAddrPort(a)
		if err != nil {
			return err
		}
		addrs = append(addrs, addr)
	}
	return lab.Serve(e.ctx, c.Server, addrs)
}

// hangup ends a context when the terminal goes, too: a lab must not stay then.
func hangup(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, unix.SIGHUP)
}

func needRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	who := "this user"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	return fmt.Errorf("a lab needs root: %s may not make network namespaces", who)
}

// wantsColour tells whether w is a terminal that wants colours.
func wantsColour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && !strings.EqualFold(os.Getenv("TERM"), "dumb") && isTerminal(w)
}

// isTerminal tells whether somebody sees what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
