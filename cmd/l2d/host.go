// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// driftInterval is how often the host is compared with what is declared.
const driftInterval = time.Minute

// hostState is the state of the host around the dataplane.
type hostState struct {
	engine *reconcile.Engine

	mu sync.Mutex
	// config has what is in force but for drift, and before what was so until then.
	// Either is nil if that is not known.
	config, before *config.Config
	resources      int
	drift          []reconcile.Change
	err            error
}

// set notes what is in force, or why what is declared is not.
func (h *hostState) set(c *config.Config, resources int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before, h.config, h.resources, h.err, h.drift = h.config, c, resources, err, nil
}

// undone notes that what was in force before is so again.
func (h *hostState) undone(id, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.config, h.before, h.drift = h.before, nil, nil
	h.err = fmt.Errorf("change %s is undone: %s", id, why)
}

// status is nil if nothing is declared.
func (h *hostState) status() *api.Host {
	pending := h.engine.Pending()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resources == 0 && pending == nil && h.err == nil {
		return nil
	}
	s := &api.Host{Resources: h.resources, Drift: h.drift, Pending: pending}
	if h.err != nil {
		s.Error = h.err.Error()
	}
	return s
}

// startHost brings the host into the declared state. The firewall does not wait for
// that: an error is logged, and in the status.
func (d *daemon) startHost(ctx context.Context) {
	c := d.plan.Config
	err := d.host.engine.Recover(ctx)
	if err != nil {
		slog.Error("an earlier change of the host is not undone", "err", err)
	}
	if err == nil && d.host.engine.Pending() == nil {
		var p *reconcile.Plan
		if p, _, err = d.applyHost(ctx, c, 0); err == nil {
			d.host.set(c, p.Resources, nil)
			return
		}
		slog.Error("the host is not as declared", "err", err)
	}
	d.host.set(nil, 0, err)
}

// applyHost brings the host into the state that a configuration declares.
func (d *daemon) applyHost(ctx context.Context, c *config.Config, confirm time.Duration) (*reconcile.Plan, *reconcile.Pending, error) {
	p, err := d.planHost(ctx, c)
	if err != nil {
		return nil, nil, api.BadInput(err)
	}
	gate, err := hostkinds.LinksGate()
	if err != nil {
		return nil, nil, err
	}
	pending, err := d.host.engine.Apply(ctx, p, reconcile.Options{Confirm: confirm, Gates: []reconcile.Gate{gate}})
	return p, pending, err
}

func (d *daemon) planHost(ctx context.Context, c *config.Config) (*reconcile.Plan, error) {
	// All that is wrong is told together.
	list, err := hostkinds.Resources(c)
	p, planErr := d.host.engine.Plan(ctx, list)
	if err = errors.Join(err, planErr); err != nil {
		return nil, err
	}
	return p, nil
}

// HostPlan implements api.Service.
func (d *daemon) HostPlan(ctx context.Context) (*reconcile.Plan, error) {
	plan, _ := d.state()
	c, err := config.Load(plan.Config.Path)
	if err != nil {
		return nil, api.BadInput(err)
	}
	p, err := d.planHost(ctx, c)
	return p, api.BadInput(err)
}

// HostApply implements api.Service.
func (d *daemon) HostApply(ctx context.Context, confirm time.Duration) (api.HostApplied, error) {
	plan, _ := d.state()
	c, err := config.Load(plan.Config.Path)
	if err == nil {
		err = fixed(plan.Config, c)
	}
	if err != nil {
		return api.HostApplied{}, api.BadInput(err)
	}
	p, pending, err := d.applyHost(ctx, c, confirm)
	if err != nil {
		slog.Error("change of the host refused or undone", "err", err)
		return api.HostApplied{}, hostError(err)
	}
	d.host.set(c, p.Resources, nil)
	return api.HostApplied{Plan: p, Pending: pending}, nil
}

// hostError marks what the caller is to do something about.
func hostError(err error) error {
	switch {
	case errors.Is(err, reconcile.ErrPending), errors.Is(err, reconcile.ErrNotRevertable):
		return &api.Error{Status: http.StatusConflict, Message: err.Error()}
	case errors.Is(err, reconcile.ErrNotPending):
		return &api.Error{Status: http.StatusNotFound, Message: err.Error()}
	}
	return err
}

// HostConfirm implements api.Service.
func (d *daemon) HostConfirm(_ context.Context, id string) error {
	return hostError(d.host.engine.Confirm(id))
}

// HostRollback implements api.Service.
func (d *daemon) HostRollback(ctx context.Context, id string) error {
	return hostError(d.host.engine.Rollback(ctx, id))
}

// followHost watches for drift until ctx ends.
func (d *daemon) followHost(ctx context.Context) {
	every(ctx, driftInterval, "the host is not compared with what is declared", func() error { return d.checkDrift(ctx) })
}

// checkDrift compares the host with what is declared, and says what is new.
func (d *daemon) checkDrift(ctx context.Context) error {
	d.host.mu.Lock()
	c, before := d.host.config, d.host.drift
	d.host.mu.Unlock()
	if c == nil {
		return nil
	}
	list, err := hostkinds.Resources(c)
	if err != nil {
		return err
	}
	drift, err := d.host.engine.Drift(ctx, list)
	if err != nil {
		return err
	}
	for _, now := range drift {
		same := func(b reconcile.Change) bool { return b.ID() == now.ID() }
		if !slices.ContainsFunc(before, same) {
			slog.Warn("the host is not as declared any more", "resource", now.ID(), "declared", now.To, "is", now.From)
		}
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if d.host.config == c { // and no other was applied in the meantime
		d.host.drift, d.host.resources = drift, len(list)
	}
	return nil
}
