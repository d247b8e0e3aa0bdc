// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/daemons"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// newServices returns the manager of the services.
func newServices(c *config.Config) *service.Manager {
	dirs := service.Dirs{Run: filepath.Join(c.Control.RunDir(), "services")}
	return service.New(daemons.All(), dirs, c.Host.StateDir, slog.Default())
}

// startServices brings the services into the declared state, each by itself: what is wrong with
// one is no reason not to start the others. It is called when the firewall is in force.
func (d *daemon) startServices(ctx context.Context) {
	d.host.one.Lock()
	defer d.host.one.Unlock()
	if d.host.engine.Pending() != nil {
		d.services.Resume(ctx)
		return
	}
	p, _ := d.state()
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
