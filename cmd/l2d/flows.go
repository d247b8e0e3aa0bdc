// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Flows implements api.Service.
func (d *daemon) Flows(ctx context.Context, f flow.Filter) (list []flow.Flow, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	err = d.withFlows(func(t *flow.Table) (err error) {
		list, err = t.List(ctx, f)
		return err
	})
	return list, err
}

// DeleteFlows implements api.Service.
func (d *daemon) DeleteFlows(_ context.Context, f flow.Filter) (n int, err error) {
	// A change of the tables' sizes copies the flows to new ones.
	d.change.Lock()
	defer d.change.Unlock()
	n, err = d.deleteFlows(f.Match, flow.EndDeleted)
	if err == nil {
		slog.Info("flows deleted", "flows", n)
	}
	return n, err
}

// deleteFlows ends the flows that a function selects, and reports each with the
// reason. The caller holds d.change.
func (d *daemon) deleteFlows(selects func(*flow.Flow) bool, reason string) (n int, err error) {
	err = d.withFlows(func(t *flow.Table) (err error) {
		t.Deleted = func(fl flow.Flow, at time.Time) {
			d.flows.Publish(flow.Event{Kind: flow.KindDestroy, Time: at, Reason: reason, Flow: &fl})
		}
		n, err = t.DeleteIf(selects)
		return err
	})
	return n, err
}

// withFlows calls do with the flow tables of the dataplane.
func (d *daemon) withFlows(do func(*flow.Table) error) error {
	_, dp := d.state()
	if dp == nil {
		return errDetached
	}
	confirmed, err := cloneMap(dp, "l2_flows")
	if err != nil {
		return err
	}
	defer confirmed.Close()
	halfOpen, err := cloneMap(dp, "l2_half_open")
	if err != nil {
		return err
	}
	defer halfOpen.Close()
	t, err := flow.NewTable(confirmed, halfOpen)
	if err != nil {
		return err
	}
	t.Interface = d.linkName
	return do(t)
}

// cloneMap returns a descriptor that stays valid when the dataplane is replaced.
func cloneMap(dp *loader.Dataplane, name string) (m *ebpf.Map, err error) {
	err = dp.Map(name, func(orig *ebpf.Map) (err error) {
		m, err = orig.Clone()
		return err
	})
	return m, err
}
