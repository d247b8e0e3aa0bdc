// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/explain"
)

// Explain implements api.Service.
func (d *daemon) Explain(ctx context.Context, r explain.Request) (*explain.Explanation, error) {
	// Each loads programs: one after the other.
	d.explaining.Lock()
	defer d.explaining.Unlock()
	plan, dp := d.state()
	if dp == nil {
		return nil, errDetached
	}
	if r.Ruleset != "" {
		c := *plan.Config
		c.Dataplane.Ruleset, c.Dataplane.Mirror = r.Ruleset, false
		var err error
		if plan, err = enforce.PrepareFor(ctx, &c, plan.Links); err != nil {
			return nil, api.BadInput(err)
		}
	}
	return explain.Run(explain.Target{Config: plan.Loader, Program: plan.Program, Running: dp, Name: plan.Links.Name}, r)
}
