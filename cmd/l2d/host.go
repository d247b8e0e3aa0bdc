// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
	"github.com/randomizedcoder/l2d/pkg/service"
)

const (
	// driftInterval is how often the host is compared with what is declared, if the
	// kernel tells of no change.
	driftInterval = time.Minute
	// driftSettle is the wait before it is compared after a change, and so how often
	// that is at most.
	driftSettle = time.Second
)

// hostState is the state of the host, with the dataplane in it.
type hostState struct {
	engine    *reconcile.Engine
	revisions *revision.Store
	dataplane dataplaneKind
	path      string // of the configuration file
	// inForce is told what is in force, or is so again; nil is nobody to tell.
	inForce func(*config.Config)

	// one is held while a configuration is applied.
	one sync.Mutex

	mu sync.Mutex
	// config has what is in force but for drift; nil if that is not known.
	config    *config.Config
	resources int
	drift     []reconcile.Change
	err       error
	unknown   error  // what is not compared with what is declared, and why
	notice    string // why the files are not in force
	undoneID  string // of the change that was undone last
	applies   map[string]uint64
}

// count notes what became of a configuration: one of api.ApplyResults.
func (h *hostState) count(result string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.applies == nil {
		h.applies = map[string]uint64{}
	}
	h.applies[result]++
}

// countApply counts it by the error.
func (h *hostState) countApply(err error) {
	var said *api.Error
	switch {
	case err == nil:
		h.count(api.ApplyDone)
	case api.IsBadInput(err), errors.As(err, &said):
		h.count(api.ApplyRefused)
	default:
		h.count(api.ApplyFailed)
	}
}

// set notes what is in force, or why what is declared is not.
func (h *hostState) set(c *config.Config, resources int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(c, resources, err)
}

// put is set for who holds mu.
func (h *hostState) put(c *config.Config, resources int, err error) {
	h.config, h.resources, h.err, h.unknown, h.drift = c, resources, err, nil, nil
	if h.inForce != nil && c != nil {
		h.inForce(c)
	}
}

// applied notes what is in force after a change, unless that has been undone already:
// it was to be confirmed soon.
func (h *hostState) applied(a *api.HostApplied, c *config.Config, notice string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.Pending != nil && a.Pending.ID == h.undoneID {
		h.settle(a.Pending.ID, revision.Undone)
		return
	}
	h.put(c, a.Plan.Resources, nil)
	h.notice = notice
}

// undone notes that what was in force before is so again.
func (h *hostState) undone(id, why string) {
	h.count(api.ApplyUndone)
	h.settle(id, revision.Undone)
	c, err := h.latestConfig()
	if err != nil {
		slog.Error("what is in force after a change was undone is not known", "err", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(c, h.resources, fmt.Errorf("change %s is undone: %s", id, why))
	h.undoneID = id
	h.notice = fmt.Sprintf("what was before change %s is in force, not the files: %s", id, why)
}

// latest is the latest revision that is in force; nil if there is none.
func (h *hostState) latest() (*revision.Summary, error) {
	list, err := h.revisions.List()
	return latest(list), err
}

// latestConfig is its configuration.
func (h *hostState) latestConfig() (*config.Config, error) {
	last, err := h.latest()
	if err != nil || last == nil {
		return nil, err
	}
	r, err := h.revisions.Get(last.Number)
	if err != nil {
		return nil, err
	}
	return config.Parse(h.path, []byte(r.Text))
}

// final notes that a change is.
func (h *hostState) final(id string) {
	h.settle(id, revision.Applied)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notice = strings.Replace(h.notice, whyWaits, "it was confirmed", 1)
}

// settle notes what became of the revision that was a change.
func (h *hostState) settle(id string, fate revision.Fate) {
	if err := h.revisions.Settle(id, fate); err != nil {
		slog.Error("the fate of a revision is not noted", "change", id, "fate", string(fate), "err", err)
	}
}

// isLatest is the revision that a plan is of, if that is the latest in force; else nil.
func (h *hostState) isLatest(p *enforce.Plan) (*revision.Summary, error) {
	last, err := h.latest()
	if err != nil || last == nil {
		return nil, err
	}
	is, err := h.revisions.Is(last.Number, p.Config.Text, p.Text)
	if !is {
		return nil, err
	}
	return last, nil
}

// note keeps what is about to be applied as a revision, and returns its number.
func (h *hostState) note(p *enforce.Plan, o api.HostOptions) (int, error) {
	boot, err := reconcile.BootID()
	if err != nil {
		return 0, err
	}
	r, err := h.revisions.Add(revision.Revision{
		Summary: revision.Summary{Comment: o.Comment, Fate: revision.Pending, Runtime: o.Runtime, Boot: boot, Back: o.Revision},
		Text:    p.Config.Text, Ruleset: p.Text,
	})
	if err != nil {
		return 0, fmt.Errorf("what is applied cannot be kept as a revision: %w", err)
	}
	return r.Number, nil
}

// begins notes which change it is that puts a revision in force: a daemon that ends before it is confirmed is followed by one
// that goes on with it.
func (h *hostState) begins(n int, plan *reconcile.Plan, id string) error {
	return h.revisions.Change(n, func(r *revision.Revision) { r.Before, r.Change = beforeOf(plan), id })
}

// noted notes what became of it, and what was before the plan of its changes.
func (h *hostState) noted(n int, plan *reconcile.Plan, fate revision.Fate) {
	if err := h.revisions.Change(n, func(r *revision.Revision) { r.Before, r.Fate = beforeOf(plan), fate }); err != nil {
		slog.Error("the fate of a revision is not noted", "revision", n, "err", err)
	}
}

// beforeOf is what a plan finds of the host. The dataplane and the services are declared as a
// whole by each configuration.
func beforeOf(p *reconcile.Plan) []reconcile.Before {
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(p.Before(), func(b reconcile.Before) bool {
		return b.Kind == dataplaneName || b.Kind == service.KindName || b.Kind == service.SliceKind
	})
}

func (h *hostState) status() *api.Host {
	pending := h.engine.Pending()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &api.Host{Resources: h.resources, Drift: h.drift, Pending: pending, Progress: h.engine.Progress(), Notice: h.notice, Applies: maps.Clone(h.applies)}
	if err := cmp.Or(h.err, h.unknown); err != nil {
		s.Error = err.Error()
	}
	return s
}

// startHost brings the host into the declared state. The firewall does not wait for
// that: an error is logged, and in the status.
func (d *daemon) startHost(ctx context.Context) {
	p, _ := d.state()
	list, err := hostkinds.Resources(p.Config)
	if pending := d.host.engine.Pending(); pending != nil {
		var waits *config.Config // else it is open what is in force
		if pending.Phase == reconcile.Waiting {
			waits = p.Config
		}
		d.host.set(waits, len(list), nil)
		return
	}
	var plan *reconcile.Plan
	if r, err := d.host.isLatest(p); err == nil && r == nil && d.host.notice == "" {
		n, err := d.host.note(p, api.HostOptions{Comment: "when the daemon started"})
		if err != nil {
			slog.Error("the start goes on without", "err", err)
		} else {
			// What fails is tried again with the next start.
			defer func() { d.host.noted(n, plan, revision.Applied) }()
		}
	}
	if err == nil {
		plan, err = d.host.engine.Plan(ctx, list)
	}
	if err == nil {
		_, err = d.applyHost(ctx, plan, 0, nil)
	}
	if err != nil {
		slog.Error("the host is not as declared", "err", err)
		d.host.set(nil, 0, err)
		return
	}
	d.host.set(p.Config, len(list), nil)
}

// applyHost makes the changes of a plan. If begins is given, it is told the change's identifier before.
func (d *daemon) applyHost(ctx context.Context, p *reconcile.Plan, confirm time.Duration, begins func(id string) error) (*reconcile.Pending, error) {
	gate, err := hostkinds.LinksGate()
	if err != nil {
		return nil, err
	}
	return d.host.engine.Apply(ctx, p, reconcile.Options{Confirm: confirm, Gates: []reconcile.Gate{gate}, Begins: begins})
}

// planHost is the changes that all that a configuration declares takes, with the dataplane
// that was prepared of it, if it was. What was before later changes is what is wanted where it
// says nothing else. All that is wrong with it is in one error.
func (d *daemon) planHost(ctx context.Context, c *config.Config, p *enforce.Plan, since []reconcile.Before) (*reconcile.Plan, error) {
	list, err := hostkinds.Resources(c)
	list = d.host.engine.Back(ctx, list, since)
	if p != nil {
		list = append(list, d.host.dataplane.resource(p))
	}
	services, errServices := d.services.Declare(c)
	plan, errPlan := d.host.engine.Plan(ctx, append(list, services...))
	return plan, errors.Join(err, errServices, errPlan)
}

// HostPlan implements api.Service.
func (d *daemon) HostPlan(ctx context.Context) (*reconcile.Plan, error) {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	_, plan, err := d.planDeclared(ctx, 0)
	return plan, api.BadInput(err)
}

// HostApply implements api.Service.
func (d *daemon) HostApply(ctx context.Context, o api.HostOptions) (api.HostApplied, error) {
	a, err := d.applyConfig(ctx, o)
	if err != nil {
		slog.Error("change refused or undone", "err", err)
	}
	return a, err
}

func (d *daemon) applyConfig(ctx context.Context, o api.HostOptions) (_ api.HostApplied, err error) {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	defer func() { d.host.countApply(err) }()
	if p := d.host.engine.Pending(); p != nil {
		return api.HostApplied{}, hostError(p.Refuses())
	}
	p, plan, err := d.planDeclared(ctx, o.Revision)
	if err != nil {
		return api.HostApplied{}, api.BadInput(err)
	}
	same, err := d.host.isLatest(p)
	if err != nil {
		return api.HostApplied{}, err
	}
	a := api.HostApplied{Plan: plan}
	if same != nil && same.Runtime == o.Runtime {
		a.Revision = same.Number
		a.Pending, err = d.applyHost(ctx, plan, o.Confirm, nil)
	} else {
		if a.Revision, err = d.host.note(p, o); err != nil {
			return api.HostApplied{}, err
		}
		a.Pending, err = d.applyHost(ctx, plan, o.Confirm, func(id string) error { return d.host.begins(a.Revision, plan, id) })
		switch {
		case err != nil:
			d.host.noted(a.Revision, plan, revision.Undone)
		case len(plan.Changes) == 0:
			d.host.noted(a.Revision, plan, revision.Applied)
		} // else it is open, or final by [hostState.final]
	}
	if err != nil {
		return api.HostApplied{}, hostError(err)
	}
	notice := ""
	if o.Revision != 0 {
		notice = fmt.Sprintf("revision %d is in force, not the files: it was asked for", o.Revision)
	}
	d.host.applied(&a, p.Config, notice)
	return a, nil
}

// planDeclared is the plans of the files, or of a revision of them. All that is wrong is in one
// error, in the order of the files.
func (d *daemon) planDeclared(ctx context.Context, n int) (p *enforce.Plan, plan *reconcile.Plan, err error) {
	running, _ := d.state()
	prepare := enforce.Prepare
	var since []reconcile.Before
	judge := func(c *config.Config) error {
		errFixed := fixed(running.Config, c)
		var errRuleset, errHost error
		p, errRuleset = prepare(ctx, c)
		plan, errHost = d.planHost(ctx, c, p, since)
		return errors.Join(errFixed, errRuleset, errHost)
	}
	if n == 0 {
		_, err = config.Load(d.path, judge)
		return p, plan, err
	}
	r, err := d.HostRevision(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	since, damaged, err := d.host.revisions.Since(n)
	if err != nil {
		return nil, nil, err
	}
	prepare = func(ctx context.Context, c *config.Config) (*enforce.Plan, error) {
		return enforce.PrepareText(ctx, c, r.Ruleset)
	}
	_, err = config.Parse(d.path, []byte(r.Text), judge)
	for _, later := range damaged {
		if plan != nil {
			plan.Warnings = append(plan.Warnings, fmt.Sprintf("revision %d is damaged: what it changed, and revision %d says nothing of, stays as it is", later, n))
		}
	}
	return p, plan, err
}

// HostRevisions implements api.Service.
func (d *daemon) HostRevisions(context.Context) ([]revision.Summary, error) {
	return d.host.revisions.List()
}

// HostRevision implements api.Service.
func (d *daemon) HostRevision(_ context.Context, n int) (*revision.Revision, error) {
	r, err := d.host.revisions.Get(n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("revision %d is not kept: want one of l2ctl revisions", n)}
	}
	if errors.Is(err, revision.ErrDamaged) {
		return nil, &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("%v: want another one of l2ctl revisions", err)}
	}
	return r, err
}

// hostError marks what the caller is to do something about.
func hostError(err error) error {
	switch {
	case errors.Is(err, reconcile.ErrPending), errors.Is(err, reconcile.ErrStuck), errors.Is(err, reconcile.ErrNotRevertable):
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

// followHost watches for drift until ctx ends: it looks when the kernel tells of a
// change, and from time to time.
func (d *daemon) followHost(ctx context.Context) {
	changed := make(chan struct{}, 1)
	go watchHost(ctx, func() {
		for _, looks := range []chan<- struct{}{changed, d.queues} {
			select {
			case looks <- struct{}{}:
			default: // it is going to look anyway
			}
		}
	})
	poll := time.NewTicker(driftInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case <-changed:
			sleep(ctx, driftSettle) // others change several things in a row
		}
		if err := d.checkDrift(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("the host is not compared with what is declared", "err", err)
		}
	}
}

// watchHost has the kernel tell of changes until ctx ends.
func watchHost(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		if err := hostkinds.Watch(ctx, changed); err != nil && ctx.Err() == nil {
			slog.Warn("changes of the host are not watched for a moment", "err", err)
			sleep(ctx, driftInterval)
		}
	}
}

// declared are the resources of a configuration but for the dataplane; none if it is not known.
func (d *daemon) declared(c *config.Config) ([]reconcile.Resource, error) {
	if c == nil {
		return nil, nil
	}
	list, err := hostkinds.Resources(c)
	services, errServices := d.services.Declare(c)
	return append(list, services...), errors.Join(err, errServices)
}

// checkDrift compares the host with what is declared, and says what is new. It waits for a
// change that is being made: half of it is no drift.
func (d *daemon) checkDrift(ctx context.Context) error {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	var c *config.Config
	var before []reconcile.Change
	resources := 0
	drift, err := d.host.engine.Drift(ctx, func() ([]reconcile.Resource, error) {
		d.host.mu.Lock()
		c, before = d.host.config, d.host.drift
		d.host.mu.Unlock()
		list, err := d.declared(c)
		resources = len(list)
		return list, err
	})
	if ctx.Err() != nil || c == nil {
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
	if d.host.config != c { // another was applied in the meantime
		return nil
	}
	if err != nil && fmt.Sprint(err) != fmt.Sprint(d.host.unknown) {
		slog.Warn("not all of the host is compared with what is declared", "err", err)
	}
	d.host.drift, d.host.resources, d.host.unknown = drift, resources, err
	return nil
}
