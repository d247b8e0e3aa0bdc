// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// followInterfaces has the sets that follow interfaces hold what those have. What fails is logged, in the
// status, and tried again when addresses change. The caller holds change.
func (d *daemon) followInterfaces(ctx context.Context) {
	plan, dp := d.state()
	if dp == nil {
		return
	}
	sets, err := plan.Followed()
	if err != nil {
		slog.Error("sets do not follow their interfaces", "err", err)
		return
	}
	list := make([]api.FollowedSet, len(sets))
	for i := range sets {
		list[i] = d.followInterface(ctx, &sets[i], dp)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followed = list
}

// followInterface does so for one set.
func (d *daemon) followInterface(ctx context.Context, f *enforce.Followed, dp *loader.Dataplane) api.FollowedSet {
	s := api.FollowedSet{Set: f.Name(), Interface: f.Interface}
	come, gone, err := f.Follow(ctx, dp.Maps, d.inKernel(f.Set))
	name := api.SetName{Family: f.Family, Table: f.Table, Set: f.FollowedSet.Set}
	for _, e := range gone {
		d.tellSet("delete", name, e)
	}
	for _, e := range come {
		d.tellSet("add", name, e)
	}
	if len(come)+len(gone) > 0 {
		slog.Info("set follows its interface", "set", f.Name(), "interface", f.Interface, "added", come, "removed", gone)
	}
	if err == nil {
		s.Elements, err = f.Count(dp.Maps)
	}
	if err != nil {
		slog.Error("set does not follow its interface", "set", f.Name(), "interface", f.Interface, "err", err)
		s.Error = err.Error()
	}
	return s
}

// followsInterface refuses to change a set whose elements are those of an interface.
func followsInterface(p *enforce.Plan, name api.SetName) error {
	for i := range p.Config.Dataplane.Sets {
		f := &p.Config.Dataplane.Sets[i]
		if f.Family == name.Family && f.Table == name.Table && f.Set == name.Set {
			return api.BadInput(fmt.Errorf("set %s follows %s: give that an address, or take the set out of dataplane.sets", f.Name(), f.Interface))
		}
	}
	return nil
}
