// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

type planCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *planCmd) Run(e *env) error {
	p, err := e.client.HostPlan(e.ctx)
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
	JSON    bool          `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *applyCmd) Run(e *env) error {
	a, err := e.client.HostApply(e.ctx, c.Confirm)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	if err := a.Plan.Write(e.out); err != nil {
		return err
	}
	switch {
	case a.Pending != nil:
		_, err = fmt.Fprintf(e.out, "Applied, and undone at %s unless you run: l2ctl confirm %s\n", a.Pending.Deadline.Local().Format(time.TimeOnly), a.Pending.ID)
	case len(a.Plan.Changes) > 0:
		_, err = fmt.Fprintln(e.out, "Applied.")
	}
	return err
}

type confirmCmd struct {
	ID string `arg:"" help:"The change, as apply has named it."`
}

// Run implements the command.
func (c *confirmCmd) Run(e *env) error {
	if err := e.client.HostConfirm(e.ctx, c.ID); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.out, "Change %s is final.\n", c.ID)
	return err
}

type rollbackCmd struct {
	ID string `arg:"" optional:"" help:"The change; without, the one that is pending."`
}

// Run implements the command.
func (c *rollbackCmd) Run(e *env) error {
	id := c.ID
	if id == "" {
		s, err := e.client.Status(e.ctx)
		if err != nil {
			return err
		}
		if s.Host == nil || s.Host.Pending == nil {
			return errors.New("no change waits for a confirmation")
		}
		id = s.Host.Pending.ID
	}
	if err := e.client.HostRollback(e.ctx, id); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.out, "Change %s is undone.\n", id)
	return err
}

// pendingLine is what the status says of a change that is not final.
func pendingLine(p *reconcile.Pending) string {
	switch p.Phase {
	case reconcile.Waiting:
		return fmt.Sprintf("change %s is undone in %s, unless it is confirmed: l2ctl confirm %s", p.ID, time.Until(p.Deadline).Round(time.Second), p.ID)
	case reconcile.Stuck:
		return fmt.Sprintf("change %s could not be undone: %s; l2ctl rollback tries again, l2ctl confirm %s leaves it", p.ID, p.Error, p.ID)
	}
	return fmt.Sprintf("change %s is being made", p.ID)
}
