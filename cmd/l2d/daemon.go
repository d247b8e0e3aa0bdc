// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/flow"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/names"
	"github.com/randomizedcoder/l2d/pkg/observe"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// daemon keeps a dataplane as its files say. It is the api.Service.
type daemon struct {
	started time.Time
	level   *slog.LevelVar
	path    string // of the configuration file

	// change is held while the dataplane is changed: one change at a time. It
	// guards live, and the NAT log that is written, and whether the dataplane has
	// been put in force once.
	change     sync.Mutex
	begun      bool
	live       live
	natLog     config.NAT
	stopNATLog context.CancelFunc // nil: none is written

	// mu guards the rest, for as long as it takes to copy it.
	mu        sync.RWMutex
	plan      *enforce.Plan // in force, or was before a detach
	dp        *loader.Dataplane
	applied   time.Time
	reloadErr error
	sync      api.Sync
	followed  []api.FollowedSet
	// stopEvents ends the reading of dp's log events.
	stopEvents context.CancelFunc
	// stopFlows ends that of its events of flows, which go to flows.
	stopFlows context.CancelFunc
	flows     flow.Hub
	talkers   observe.Talkers
	names     *names.Book
	host      hostState
	services  *service.Manager
	stations  hostapd.Hub // what happens to them

	// explaining is held by the one packet that is explained.
	explaining sync.Mutex
	drops      drops
	// monitors counts those who watch packets; ending ends for them when end is called.
	monitors atomic.Int32
	told     toldHub
	ending   context.Context
	end      context.CancelFunc
	// queues has something to take when qdiscs may have changed.
	queues chan struct{}
}

// newDaemon returns one that has to choose what to start with, for a configuration
// that has the directories and the socket.
func newDaemon(c *config.Config, level *slog.LevelVar) *daemon {
	d := &daemon{started: time.Now(), level: level, path: c.Path, queues: make(chan struct{}, 1)}
	d.flows.Changed = d.listenFlows
	d.names = d.newNames()
	d.talkers = observe.Talkers{Name: d.names.Of, Each: func(yield func(*flow.Flow)) error {
		return d.withFlows(func(t *flow.Table) error { return t.Each(d.ending, yield) })
	}}
	d.ending, d.end = context.WithCancel(context.Background())
	d.host.dataplane.d = d
	d.services = newServices(c)
	d.services.Dropped = d.dropped
	d.host.engine = reconcile.New(c.Host.StateDir, slog.Default(), append(hostkinds.Kinds(), &d.host.dataplane, d.services, d.services.Slices)...)
	d.host.engine.Undone, d.host.engine.Final = d.host.undone, d.host.final
	d.host.path, d.host.inForce = c.Path, d.noteInForce
	d.host.revisions = revisionsOf(c.Host.StateDir)
	if err := d.host.revisions.Clean(); err != nil {
		slog.Warn("what an earlier daemon has not written to its end is left", "err", err)
	}
	return d
}

// errDetached answers what needs a dataplane after a detach.
var errDetached = &api.Error{Status: http.StatusConflict, Message: "the dataplane is detached: l2ctl reload attaches it"}

// state returns the plan and the dataplane, nil after a detach.
func (d *daemon) state() (*enforce.Plan, *loader.Dataplane) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.plan, d.dp
}

// noteInForce notes a configuration that is in force, or is so again: how it is written, if it is nothing else for the
// dataplane, and the services that somebody else runs.
func (d *daemon) noteInForce(c *config.Config) {
	d.mu.Lock()
	if d.plan != nil && d.plan.Config.SameButHost(c) {
		own := *d.plan
		own.Config = c
		d.plan = &own
	}
	d.mu.Unlock()
	if err := d.services.Watch(c); err != nil {
		slog.Warn("services that somebody else runs are not known", "err", err)
	}
}

// setPlan chooses the plan to start with.
func (d *daemon) setPlan(p *enforce.Plan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan = p
}

// start puts the first plan in force: a fresh dataplane, or what an earlier
// daemon left running.
func (d *daemon) start(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	d.begun = true
	return d.host.dataplane.start(ctx)
}

// apply puts a plan in force. The caller holds change.
func (d *daemon) apply(ctx context.Context, p *enforce.Plan) error {
	if p.Config.Dataplane.Kernel() {
		return d.adopt(ctx, p, true)
	}
	if err := d.replace(ctx, p); err != nil {
		return err
	}
	if p.Config.Dataplane.Mirror {
		d.mirror(ctx)
	}
	d.followInterfaces(ctx)
	return nil
}

// replace has the dataplane run a plan.
func (d *daemon) replace(ctx context.Context, p *enforce.Plan) error {
	begin := time.Now()
	_, dp := d.state()
	var err error
	if dp == nil {
		dp, err = loader.Apply(p.Loader)
	} else {
		err = dp.Replace(p.Loader)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.plan, d.dp, d.applied = p, dp, time.Now()
	d.mu.Unlock()
	d.level.Set(logLevel(p.Config.Log.Level))
	d.setNATLog(p.Config.NAT)
	logReplaced(p, dp, time.Since(begin))
	d.tidy(ctx, p)
	// Compiling and loading take several times the memory that the daemon has use
	// for until the next change: back to the system, beside the work.
	go debug.FreeOSMemory()
	return nil
}

// logReplaced says what a replacement took: what is not of it, the ruleset's reading
// and compiling, had been done before.
func logReplaced(p *enforce.Plan, dp *loader.Dataplane, took time.Duration) {
	phases, programs := dp.Phases()
	var kept []string
	for _, r := range programs {
		if r.Kept {
			kept = append(kept, r.Name)
		}
	}
	slog.Info("dataplane in force", "ruleset", p.Config.Dataplane.Ruleset, "rules", len(p.Program.Rules),
		"interfaces", len(p.Loader.Interfaces), "waiting", p.Waiting, "programs kept", kept,
		"prepared", p.Took.Round(time.Millisecond), "took", took.Round(time.Millisecond))
	var parts []any
	for _, ph := range phases {
		parts = append(parts, ph.Name, ph.Took.Round(time.Microsecond))
	}
	slog.Debug("dataplane replaced", parts...)
}

// tidy takes out of nftables what was there for another state or configuration
// than the one in force. The dataplane enforces all of it: errors do no harm.
func (d *daemon) tidy(ctx context.Context, p *enforce.Plan) {
	c := p.Config
	runDir := c.Control.RunDir()
	if err := p.KeepText(); err != nil {
		slog.Warn("the ruleset in force is not noted for a detach without a daemon", "err", err)
	}
	if !c.Dataplane.Mirror {
		if err := enforce.DropMirrors(ctx); err != nil {
			slog.Warn("the mirror of an earlier configuration is still there", "err", err)
		}
	}
	if c.Dataplane.Kernel() {
		if err := enforce.KeepFallback(runDir); err != nil {
			slog.Warn("tables that a detach loaded would be taken for others later", "err", err)
		}
		return
	}
	// What nftables did in the meantime is done here again.
	dropped, err := enforce.DropFallback(ctx, runDir)
	if err != nil {
		slog.Error("both nftables and the dataplane enforce the ruleset", "err", err)
	} else if dropped != nil {
		slog.Info("ruleset removed from nftables", "tables", dropped)
	}
	woken, err := enforce.Wake(ctx, runDir)
	if err != nil {
		slog.Error("tables that an earlier configuration had adopted still sleep", "err", err)
	} else if woken != nil {
		slog.Warn("tables that an earlier configuration had adopted are awake, and enforced beside the ruleset file", "tables", woken)
	}
}

// Reload implements api.Service. The error, of whoever asked, is logged once.
func (d *daemon) Reload(ctx context.Context) (api.Reloaded, error) {
	begin := time.Now()
	changed, err := d.reload(ctx)
	d.mu.Lock()
	d.reloadErr = err
	d.mu.Unlock()
	if err != nil {
		slog.Error("reload refused, the configuration before it goes on", "err", err)
		return api.Reloaded{}, err
	}
	plan, _ := d.state()
	return api.Reloaded{Changed: changed, Rules: len(plan.Program.Rules), Took: time.Since(begin)}, nil
}

// reload attaches the dataplane if it is detached, and applies the files.
func (d *daemon) reload(ctx context.Context) (changed bool, err error) {
	if _, dp := d.state(); dp == nil {
		changed = true
		err := d.judge(ctx)
		if err == nil {
			err = d.attach(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	a, err := d.applyConfig(ctx, api.HostOptions{Comment: "reload"})
	return changed || a.Plan != nil && slices.ContainsFunc(a.Plan.Changes, func(c reconcile.Change) bool { return c.Kind == dataplaneName }), err
}

// judge says all that is wrong with the files, and what keeps them from being applied.
func (d *daemon) judge(ctx context.Context) error {
	if p := d.host.engine.Pending(); p != nil {
		return hostError(p.Refuses())
	}
	_, err := d.HostPlan(ctx)
	return err
}

// attach puts the files in force after a detach.
func (d *daemon) attach(ctx context.Context) error {
	d.change.Lock()
	defer d.change.Unlock()
	plan, err := d.prepareFile(ctx)
	if err != nil {
		return api.BadInput(err)
	}
	return d.apply(ctx, plan)
}

// fixed refuses changes that take a restart.
func fixed(running, cfg *config.Config) error {
	var errs []error
	for _, k := range []struct{ key, was, is string }{
		{"dataplane.ruleset", source(running), source(cfg)},
		{"dataplane.mirror", fmt.Sprint(running.Dataplane.Mirror), fmt.Sprint(cfg.Dataplane.Mirror)},
		{"dataplane.pin_path", running.Dataplane.PinPath, cfg.Dataplane.PinPath},
		{"host.state_dir", running.Host.StateDir, cfg.Host.StateDir},
		{"control.socket", running.Control.Socket, cfg.Control.Socket},
		{"control.listen", running.Control.Listen, cfg.Control.Listen},
		{"control.token", secretText(running.Control.Token), secretText(cfg.Control.Token)},
		{"metrics.listen", running.Metrics.Listen, cfg.Metrics.Listen},
		{"metrics.rules", fmt.Sprint(running.Metrics.Rules), fmt.Sprint(cfg.Metrics.Rules)},
		{"log.format", running.Log.Format, cfg.Log.Format},
	} {
		if k.was != k.is && cfg.Sound(k.key) {
			errs = append(errs, fmt.Errorf("%s: %s: %q: cannot change while l2d runs: want %q, or a restart", cfg.Path, k.key, k.is, k.was))
		}
	}
	return errors.Join(errs...)
}

// source is where a ruleset comes from: from one to the other takes a restart.
func source(c *config.Config) string {
	if c.Dataplane.Kernel() {
		return config.KernelRuleset
	}
	return "a file"
}

// sameLoader tells whether two plans come to the same dataplane.
func sameLoader(a, b loader.Config) bool {
	if a.Policy.Hash() != b.Policy.Hash() {
		return false
	}
	a.Policy, b.Policy = nil, nil
	a.Carry, b.Carry = nil, nil
	a.CarryAll, b.CarryAll = nil, nil
	a.Keep, b.Keep = false, false
	a.Restore, b.Restore = nil, nil
	a.Counted, b.Counted = nil, nil
	return reflect.DeepEqual(a, b)
}

// Detach implements api.Service.
func (d *daemon) Detach(ctx context.Context, fallback bool) (api.Detached, error) {
	d.change.Lock()
	defer d.change.Unlock()
	plan, dp := d.state()
	if dp == nil {
		return api.Detached{}, errDetached
	}
	if !fallback {
		if err := enforce.DropMirrors(ctx); err != nil {
			return api.Detached{}, fmt.Errorf("the dataplane stays attached: %w", err)
		}
	} else {
		if err := enforce.Fallback(ctx, plan.Config, plan.Program, dp.Maps); err != nil {
			return api.Detached{}, fmt.Errorf("the dataplane stays attached: %w", err)
		}
	}
	d.mu.Lock()
	d.dp = nil
	if d.stopEvents != nil {
		d.stopEvents()
	}
	if d.stopFlows != nil {
		d.stopFlows()
	}
	d.mu.Unlock()
	err := errors.Join(dp.Close(), loader.Detach(plan.Config.Dataplane.PinPath))
	if err != nil {
		return api.Detached{}, err
	}
	slog.Warn("dataplane detached", "nftables", fallback)
	return api.Detached{Fallback: fallback}, nil
}

// close lets go of the dataplane, which stays attached.
func (d *daemon) close() {
	if _, dp := d.state(); dp != nil {
		if err := dp.Close(); err != nil {
			slog.Warn("dataplane not closed", "err", err)
		}
	}
}

// healthy tells whether the daemon still can do its work: it can take its locks
// and read the kernel's maps.
func (d *daemon) healthy() bool {
	done := make(chan error, 1)
	go func() {
		_, err := d.Status(context.Background())
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			slog.Error("dataplane cannot be read", "err", err)
		}
		return err == nil
	case <-time.After(time.Second):
		slog.Error("dataplane cannot be read in time")
		return false
	}
}

// Status implements api.Service.
func (d *daemon) Status(context.Context) (api.Status, error) {
	d.mu.RLock()
	plan, dp, applied, reloadErr, sync, followed := d.plan, d.dp, d.applied, d.reloadErr, d.sync, d.followed
	d.mu.RUnlock()
	s := api.Status{
		Host:    d.host.status(),
		Version: version, PID: os.Getpid(), Started: d.started,
		Config: plan.Config.Path, Ruleset: plan.Config.Dataplane.Ruleset,
		Applied: applied, Attached: dp != nil, Waiting: plan.Waiting, Rules: len(plan.Program.Rules),
		TCOnly: plan.Program.TCOnlyTexts(), CPUs: plan.Config.Dataplane.CPUs,
	}
	if b, err := hostkinds.BBR3(); err == nil && b.Registered {
		s.BBR3 = &b
	}
	if reloadErr != nil {
		s.ReloadError = reloadErr.Error()
	}
	if dp == nil {
		return s, nil
	}
	if enforce.Follows(plan.Config) {
		s.Sync = &sync
	}
	s.Followed = followed
	var err error
	s.Dataplane, err = dp.Status()
	return s, err
}
