// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/randomizedcoder/l2d/internal/located"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/daemons"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/policy"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

type checkCmd struct {
	Config  string `help:"Configuration file (${config})." type:"path" placeholder:"FILE" xor:"what"`
	Ruleset string `help:"Check this nftables file alone." type:"path" placeholder:"FILE" xor:"what"`
	Strict  bool   `help:"Take warnings as errors."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// checkResult is the outcome of a check.
type checkResult struct {
	OK      bool   `json:"ok"`
	Config  string `json:"config,omitempty"`
	Ruleset string `json:"ruleset,omitempty"`
	// Rules counts rules and the policies of base chains.
	Rules   int      `json:"rules"`
	Waiting []string `json:"waiting,omitempty"`
	// TCOnly are rules because of which XDP leaves all packets to TC.
	TCOnly []string `json:"tc_only,omitempty"`
	// Notes say what of the files has no effect.
	Notes    []string          `json:"notes,omitempty"`
	Hooks    []policy.HookInfo `json:"hooks,omitempty"`
	Programs []loader.Program  `json:"programs,omitempty"`
	Warnings []checkMessage    `json:"warnings"`
	Errors   []checkMessage    `json:"errors"`
}

// checkMessage is one error or warning. Line and Column are 0 when not known.
type checkMessage struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"` // whole, with the place
}

// Error implements error.
func (m *checkMessage) Error() string { return m.Message }

// Place implements [located.Error].
func (m *checkMessage) Place() (file string, line, column int) { return m.File, m.Line, m.Column }

// Run implements the command.
func (c *checkCmd) Run(e *env) error {
	if c.Config == "" && c.Ruleset == "" {
		c.Config = config.DefaultPath
	}
	res := checkResult{Warnings: []checkMessage{}, Errors: []checkMessage{}}
	done := e.during(doing("reading and compiling the ruleset, and having the kernel verify it"))
	err := c.check(e, &res)
	done()
	if err == nil && c.Strict {
		err = res.takeWarnings()
	}
	res.OK = err == nil
	if c.JSON {
		if err != nil {
			res.Errors = messages(err)
			err = &saidError{api.BadInput(err)}
		}
		return errors.Join(err, printJSON(e.out, res))
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(e.out, "warning: %s\n", w.Message)
	}
	if err != nil {
		return api.BadInput(err)
	}
	return printCheck(e, &res)
}

// takeWarnings makes the warnings errors.
func (r *checkResult) takeWarnings() error {
	var errs []error
	for _, w := range r.Warnings {
		errs = append(errs, &w)
	}
	r.Warnings = []checkMessage{}
	return errors.Join(errs...)
}

// check goes as far as it can; nothing it does can be seen from outside.
func (c *checkCmd) check(e *env, res *checkResult) error {
	var plan *enforce.Plan
	var err error
	if c.Ruleset != "" {
		res.Ruleset = c.Ruleset
		if err := enforce.CheckHost(); err != nil {
			return err
		}
		plan, err = enforce.PrepareRuleset(e.ctx, c.Ruleset)
	} else {
		res.Config = c.Config
		_, err = config.Load(c.Config, func(cfg *config.Config) (err error) {
			res.Ruleset = cfg.Dataplane.Ruleset
			if err := enforce.CheckHost(); err != nil {
				return err
			}
			plan, err = enforce.Prepare(e.ctx, cfg)
			return errors.Join(err, res.checkHost(e.ctx, cfg))
		})
	}
	if err != nil {
		return err
	}
	res.Rules, res.Waiting = len(plan.Program.Rules), plan.Waiting
	for _, w := range plan.Program.Lint() {
		if c.Ruleset != "" && w.Kind == policy.UnknownInterface {
			continue // the ruleset may be for another host
		}
		res.Warnings = append(res.Warnings, warning(res.Ruleset, w))
	}
	res.Hooks = plan.Program.Hooks()
	res.TCOnly, res.Notes = plan.Program.TCOnlyTexts(), append(res.Notes, plan.Program.Notes...)
	res.Programs, err = loader.Check(plan.Loader)
	return err
}

// checkHost says what of the host's declared state is not possible here, left out, or unwise.
func (r *checkResult) checkHost(ctx context.Context, cfg *config.Config) error {
	list, err := host.Resources(cfg)
	plan, err2 := reconcile.New(cfg.Host.StateDir, slog.Default(), host.Kinds()...).Plan(ctx, list)
	if plan != nil {
		for _, n := range plan.Notes {
			r.Notes = append(r.Notes, "left out: "+n)
		}
		for _, w := range plan.Warnings {
			r.Warnings = append(r.Warnings, checkMessage{Message: w})
		}
	}
	_, err3 := service.Units(cfg, daemons.All(), service.DirsOf(cfg))
	return errors.Join(err, err2, err3)
}

func printCheck(e *env, res *checkResult) error {
	if res.Config != "" {
		fmt.Fprintf(e.out, "%s: good\n", res.Config)
	}
	fmt.Fprintf(e.out, "%s: good, %d rules and policies\n", res.Ruleset, res.Rules)
	for _, name := range res.Waiting {
		fmt.Fprintf(e.out, "interface %s does not exist yet: it will be attached when it does\n", name)
	}
	for _, t := range res.TCOnly {
		fmt.Fprintf(e.out, "XDP leaves all packets to TC: %s\n", t)
	}
	for _, n := range res.Notes {
		fmt.Fprintf(e.out, "note: %s\n", n)
	}
	t := newTable(e.out)
	t.row("HOOK", "KINDS", "INSTRUCTIONS", "WITHOUT KINDS")
	for _, h := range res.Hooks {
		t.row(h.Name, h.Kinds, h.Instructions, h.General)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	t = newTable(e.out)
	t.row("PROGRAM", "VERIFIED INSTRUCTIONS", "NATIVE BYTES", "LOAD TIME")
	for _, p := range res.Programs {
		t.row(p.Name, p.VerifiedInstructions, p.JITedBytes, p.LoadTime.Round(time.Millisecond))
	}
	return t.Flush()
}

// messages takes joined errors apart.
func messages(err error) (out []checkMessage) {
	for _, err := range located.Split(err) {
		m := checkMessage{Message: err.Error()}
		m.File, m.Line, m.Column = located.Of(err)
		out = append(out, m)
	}
	return out
}

// warning places a warning of the compiler in the ruleset file.
func warning(file string, w policy.Warning) checkMessage {
	m := checkMessage{File: file, Line: w.Rule.Line, Message: fmt.Sprintf("%s: %v", file, w)}
	if w.Rule.Line > 0 {
		m.Message = fmt.Sprintf("%s:%d: %v", file, w.Rule.Line, w)
	}
	return m
}
