// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/internal/linediff"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
)

type planCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *planCmd) Run(e *env) error {
	done := e.during(doing("comparing and compiling"))
	p, err := e.client.HostPlan(e.ctx)
	done()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, p)
	}
	return p.Write(e.out)
}

type applyCmd struct {
	Confirm time.Duration `help:"Undo the change after this long, unless it is confirmed." placeholder:"TIME"`
	Runtime bool          `help:"Until the next reboot only, which starts with what was in force before."`
	Comment string        `help:"What is kept with the revision."`
	JSON    bool          `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *applyCmd) Run(e *env) error {
	return apply(e, api.HostOptions{Confirm: c.Confirm, Runtime: c.Runtime, Comment: c.Comment}, c.JSON)
}

func apply(e *env, o api.HostOptions, asJSON bool) error {
	done := e.during(e.applying)
	a, err := e.client.HostApply(e.ctx, o)
	done()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(e.out, a)
	}
	if err := a.Plan.Write(e.out); err != nil {
		return err
	}
	switch {
	case a.Pending != nil:
		_, err = fmt.Fprintf(e.out, "Applied, and undone at %s unless you run: l2ctl confirm %s\n", a.Pending.Deadline.Local().Format(time.TimeOnly), a.Pending.ID)
	case len(a.Plan.Changes) > 0:
		_, err = fmt.Fprintf(e.out, "Applied: revision %d.\n", a.Revision)
	}
	return err
}

type confirmCmd struct {
	ID string `arg:"" help:"The change, as apply has named it."`
	doneJSON
}

// Run implements the command.
func (c *confirmCmd) Run(e *env) error {
	if c.ID == "" {
		return api.BadInput(errors.New("confirm: no change is named: want it as apply has named it, and l2ctl status does"))
	}
	if err := e.client.HostConfirm(e.ctx, c.ID); err != nil {
		return err
	}
	return c.say(e, "Change %s is final.\n", c.ID)
}

type rollbackCmd struct {
	Revision *int          `arg:"" optional:"" help:"The revision to go back to; without, the change that waits for its confirmation is undone."`
	Confirm  time.Duration `help:"Undo that after this long, unless it is confirmed." placeholder:"TIME"`
	JSON     bool          `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *rollbackCmd) Run(e *env) error {
	if c.Revision != nil {
		if err := isRevision(*c.Revision); err != nil {
			return err
		}
		return apply(e, api.HostOptions{Confirm: c.Confirm, Revision: *c.Revision, Comment: fmt.Sprintf("back to revision %d", *c.Revision)}, c.JSON)
	}
	s, err := e.client.Status(e.ctx)
	if err != nil {
		return err
	}
	if s.Host == nil || s.Host.Pending == nil {
		return errors.New("no change waits for a confirmation: name the revision to go back to, of l2ctl revisions")
	}
	id := s.Host.Pending.ID
	done := e.during(e.applying)
	err = e.client.HostRollback(e.ctx, id)
	done()
	if err != nil {
		return err
	}
	return doneJSON{c.JSON}.say(e, "Change %s is undone.\n", id)
}

type revisionsCmd struct {
	Revision *int `arg:"" optional:"" help:"Show how this one differs from the one before."`
	JSON     bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *revisionsCmd) Run(e *env) error {
	if c.Revision != nil {
		return c.show(e, *c.Revision)
	}
	list, err := e.client.HostRevisions(e.ctx)
	if err != nil {
		return err
	}
	return printRevisions(e, list, c.JSON)
}

// isRevision refuses what is no number of a revision, where none at all means something else.
func isRevision(n int) error {
	if n < 1 {
		return api.BadInput(fmt.Errorf("revision \"%d\": want one of l2ctl revisions", n))
	}
	return nil
}

// show prints how one differs from the one before.
func (c *revisionsCmd) show(e *env, n int) error {
	if err := isRevision(n); err != nil {
		return err
	}
	r, err := e.client.HostRevision(e.ctx, n)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, r)
	}
	list, err := e.client.HostRevisions(e.ctx)
	if err != nil {
		return err
	}
	before := new(revision.Revision)
	if i := slices.IndexFunc(list, func(o revision.Summary) bool { return o.Number < r.Number && o.Fate != revision.Damaged }); i >= 0 {
		if before, err = e.client.HostRevision(e.ctx, list[i].Number); err != nil {
			return err
		}
	}
	_, err = fmt.Fprint(e.out, linediff.Of(before.Text, r.Text), linediff.Of(before.Ruleset, r.Ruleset))
	return err
}

func printRevisions(e *env, list []revision.Summary, asJSON bool) error {
	if asJSON {
		return printJSON(e.out, list)
	}
	t := newTable(e.out)
	t.row("REVISION", "TIME", "FATE", "COMMENT")
	for _, r := range list {
		t.row(r.Number, r.Time.Local().Format(time.DateTime), r.Outcome(), strings.Join(strings.Fields(r.Comment), " "))
	}
	return t.Flush()
}

// pendingLine is what the status says of a change that is not final.
func pendingLine(p *reconcile.Pending) string {
	switch p.Phase {
	case reconcile.Waiting:
		return fmt.Sprintf("change %s is undone in %s, unless it is confirmed: l2ctl confirm %s", p.ID, time.Until(p.Deadline).Round(time.Second), p.ID)
	case reconcile.Undoing:
		return fmt.Sprintf("change %s is being undone", p.ID)
	case reconcile.Stuck:
		return fmt.Sprintf("change %s could not be undone: %s; l2ctl rollback tries again, l2ctl confirm %s leaves it", p.ID, p.Error, p.ID)
	}
	return fmt.Sprintf("change %s is being made", p.ID)
}
