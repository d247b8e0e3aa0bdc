// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/daemons"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/explain"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// newServices returns the manager of the services.
func newServices(c *config.Config) *service.Manager {
	if err := hostapd.RemoveSockets(service.DirsOf(c)); err != nil {
		slog.Warn("sockets of an earlier daemon are left", "err", err)
	}
	return service.New(daemons.All(), service.DirsOf(c), c.Host.StateDir, slog.Default())
}

// How long what is known of a packet holds under the same rules, as sets have other elements later: of one that passes,
// as each look takes a tenth of a second of the CPU, and of one that is dropped, as somebody may mend that.
const (
	passFresh = 10 * time.Minute
	dropFresh = time.Minute
)

// drops remembers what the rules of a plan drop of what services need, as to find that out loads programs.
type drops struct {
	mu   sync.Mutex
	plan *enforce.Plan
	at   map[string]time.Time
	why  map[string]string
}

// dropped is the manager's [service.Manager.Dropped].
func (d *daemon) dropped(ctx context.Context, packet string) (string, error) {
	plan, dp := d.state()
	if dp == nil {
		return "", nil
	}
	k := &d.drops
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plan != plan {
		k.plan, k.at, k.why = plan, map[string]time.Time{}, map[string]string{}
	}
	fresh := passFresh
	if k.why[packet] != "" {
		fresh = dropFresh
	}
	if at, ok := k.at[packet]; ok && time.Since(at) < fresh {
		return k.why[packet], nil
	}
	e, err := d.Explain(ctx, explain.Request{Packet: packet})
	if err != nil {
		return "", err
	}
	k.at[packet], k.why[packet] = time.Now(), e.Blame(plan.Config.Dataplane.Ruleset)
	return k.why[packet], nil
}

// startServices brings the services into the declared state, each by itself: what is wrong with
// one is no reason not to start the others. It is called when the firewall is in force.
func (d *daemon) startServices(ctx context.Context) {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	p, _ := d.state()
	if err := d.services.Watch(p.Config); err != nil {
		slog.Error("services that somebody else runs are not known", "err", err)
	}
	if d.host.engine.Pending() != nil {
		d.services.Resume(ctx)
		return
	}
	list, err := d.services.Declare(p.Config)
	if err != nil {
		slog.Error("services are not as declared", "err", err)
		return
	}
	for i := range list {
		plan, err := d.host.engine.Plan(ctx, list[i:i+1])
		if err == nil {
			_, err = d.host.engine.Apply(ctx, plan, reconcile.Options{})
		}
		if err != nil {
			slog.Error("a service is not as declared", "service", list[i].Name, "err", err)
		}
	}
}

// Services implements api.Service.
func (d *daemon) Services(ctx context.Context) ([]service.Status, error) {
	return d.services.Statuses(ctx), nil
}

// RestartService implements api.Service.
func (d *daemon) RestartService(ctx context.Context, name string) error {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	return d.services.Restart(ctx, name)
}

// ServiceLogs implements api.Service.
func (d *daemon) ServiceLogs(ctx context.Context, name string, lines int) ([]string, error) {
	return d.services.Logs(ctx, name, lines)
}

// ServiceConfig implements api.Service.
func (d *daemon) ServiceConfig(ctx context.Context, name string) (service.Shown, error) {
	return d.services.Show(ctx, name)
}

// AskLLM implements api.Service.
func (d *daemon) AskLLM(ctx context.Context, instance, question string, tokens int) (llama.Answer, error) {
	list := d.services.UnitsOf(llama.Name)
	for _, u := range list {
		if instance == "" || u.Name == llama.UnitName(instance) {
			return llama.Ask(ctx, u, question, tokens)
		}
	}
	if len(list) == 0 {
		return llama.Answer{}, api.BadInput(errors.New("services.llama has no instance that runs"))
	}
	return llama.Answer{}, fmt.Errorf("services.llama has no instance %s that runs: %w", instance, fs.ErrNotExist)
}
