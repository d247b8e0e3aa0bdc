// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// FlowEvents implements api.Service.
func (d *daemon) FlowEvents(_ context.Context, f flow.Filter, kinds flow.Kind) (*flow.Listener, error) {
	if _, dp := d.state(); dp == nil {
		return nil, errDetached
	}
	return d.flows.Listen(f, kinds)
}

// listenFlows has the dataplane report what somebody listens to, and nothing
// else.
func (d *daemon) listenFlows(all, translated flow.Kind) {
	_, dp := d.state()
	if dp == nil {
		return
	}
	m, err := cloneMap(dp, "l2_flow_listen")
	if err == nil {
		err = flow.Listen(m, all, translated)
		m.Close()
	}
	if err != nil {
		slog.Error("the dataplane does not report what happens to flows", "err", err)
	}
}

// followFlows gives the dataplane's events of flows to those who listen, until
// ctx ends.
func (d *daemon) followFlows(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.readFlows(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("events of flows are missed for a moment", "err", err)
		}
		sleep(ctx, retry)
	}
}

// readFlows follows one dataplane, until it is detached.
func (d *daemon) readFlows(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	dp := d.dp
	d.stopFlows = cancel
	d.mu.Unlock()
	if dp == nil {
		return nil
	}
	events, err := cloneMap(dp, "l2_flow_events")
	if err != nil {
		return err
	}
	defer events.Close()
	listen, err := cloneMap(dp, "l2_flow_listen")
	if err != nil {
		return err
	}
	defer listen.Close()
	r, err := flow.NewEventReader(events, listen)
	if err != nil {
		return err
	}
	r.Interface = d.linkName
	defer context.AfterFunc(ctx, func() { r.Close() })()
	defer r.Close()
	// An earlier daemon may have left it to report to nobody.
	d.flows.Refresh()
	for {
		e, err := r.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		d.flows.Publish(e)
	}
}

// linkName is the name of the interface with an index.
func (d *daemon) linkName(index int) string {
	plan, _ := d.state()
	return plan.Links.Name(index)
}
