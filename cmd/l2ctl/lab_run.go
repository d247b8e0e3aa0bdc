// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/lab"
)

type labRunCmd struct {
	labRouter
	Keep bool   `help:"Leave the lab running."`
	JSON bool   `name:"json" help:"Print the results as JSON."`
	Only string `help:"Run only the checks whose name fits this regular expression." placeholder:"PATTERN"`
	Live int    `help:"Seconds of live counters after the checks." default:"4" placeholder:"SECONDS"`
}

// labReport is what --json prints.
type labReport struct {
	Dataplane string       `json:"dataplane"`
	Pass      bool         `json:"pass"`
	Results   []lab.Result `json:"results"`
}

// Run is called by kong. Its error makes the exit code.
func (c *labRunCmd) Run(e *env) (err error) {
	if err := needRoot(); err != nil {
		return err
	}
	checks, limits, err := c.checks()
	if err != nil {
		return err
	}
	ctx, stop := hangup(e.ctx)
	defer stop()
	out := e.out
	if c.JSON {
		out = io.Discard
	}
	fmt.Fprintf(out, "Building a lab; %s enforces %s.\n\n", c.Dataplane, c.ruleset("l2"))
	l, dp, err := c.up(ctx, c.ID, "l2")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil || !c.Keep {
			err = errors.Join(err, l.Down())
		}
	}()

	table := lab.NewTable(out, !c.JSON && wantsColour(e.out))
	results := lab.Run(ctx, l, dp, checks, table.Add)
	more, err := c.runLimits(ctx, limits, table.Add)
	if err != nil {
		return err
	}
	results = append(results, more...)
	pass := table.End() && ctx.Err() == nil
	if c.JSON {
		if err := printJSON(e.out, labReport{c.Dataplane, pass, results}); err != nil {
			return err
		}
	} else if ctx.Err() == nil && c.Live > 0 {
		fmt.Fprintf(out, "\nLive counters, with 200 flows, a download and strangers on the WAN:\n\n")
		if err := lab.Live(ctx, l, dp, out, c.Live); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; the lab is removed")
	case c.Keep:
		fmt.Fprintf(out, "\nLab %s stays up.\n%s", l.ID(), l.Enter(dp, os.Args[0]))
		err = l.Release()
	}
	if !pass {
		// A lab that was to stay has been released: its Down does nothing any more.
		return errors.Join(errors.New("not everything holds"), err)
	}
	return err
}

// checks returns the checks for L2's ruleset and those for the limits.
func (c *labRunCmd) checks() (l2, limits []lab.Check, err error) {
	pattern, err := regexp.Compile(c.Only)
	if err != nil {
		return nil, nil, api.BadInput(fmt.Errorf("--only: %w", err))
	}
	other := func(k lab.Check) bool { return !pattern.MatchString(k.Name) }
	l2 = lab.L2Checks(c.ruleset("l2"))
	if c.Dataplane == "l2d" {
		l2 = append(l2, lab.L2DChecks()...)
	}
	l2 = slices.DeleteFunc(l2, other)
	limits = slices.DeleteFunc(lab.HardenedChecks(), other)
	if len(l2)+len(limits) == 0 {
		return nil, nil, api.BadInput(fmt.Errorf("--only: no check has a name that fits %q", c.Only))
	}
	return l2, limits, nil
}

// runLimits checks the second ruleset in a lab of its own.
func (c *labRunCmd) runLimits(ctx context.Context, checks []lab.Check, report func(lab.Result)) (results []lab.Result, err error) {
	if ctx.Err() != nil || len(checks) == 0 {
		return nil, nil
	}
	l, dp, err := c.up(ctx, "", "hardened")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.config("hardened"), err)
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	return lab.Run(ctx, l, dp, checks, report), nil
}
