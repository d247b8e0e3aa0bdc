// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

const (
	// settle is how long the links have to be quiet before they are looked
	// at: a driver or networkd changes several things in a row.
	settle = 100 * time.Millisecond
	// settleAll is how long that goes on at most.
	settleAll = time.Second
	// retry is the wait after something failed.
	retry = time.Second
)

// followLinks keeps the dataplane on the interfaces of the configuration as they
// come, go, or change their index or address, until ctx ends.
func (d *daemon) followLinks(ctx context.Context) {
	var w linkWatch
	for ctx.Err() == nil {
		if err := w.run(ctx, d); err != nil && ctx.Err() == nil {
			slog.Warn("interfaces are not watched for a moment", "err", err)
			sleep(ctx, retry)
		}
	}
}

// prepare makes a plan like one before for the links of now. That the files are others
// by now is none of its business, until somebody applies them.
func prepare(ctx context.Context, before *enforce.Plan, links enforce.Links) (*enforce.Plan, error) {
	p, err := enforce.PrepareFor(ctx, before.Config, links)
	if !before.Config.Dataplane.Kernel() && (err != nil || p.Text != before.Text) {
		p, err = enforce.PrepareTextFor(ctx, before.Config, before.Text, links)
	}
	if err != nil {
		return nil, err
	}
	p.KeepRenamed(before.Loader.Interfaces)
	return p, nil
}

// linkWatch is what is known of the links between two looks at them.
type linkWatch struct {
	// done is the state of the links that the dataplane was made for, failed
	// that of links for which it could not be made.
	done, failed linkState
}

// linkState is what the dataplane depends on of the interfaces.
type linkState struct {
	// attached: index, address and kind of those of the configuration, and of
	// those that have been; and their shapers.
	attached string
	// names and indexes of all, which rules may name, and which others they
	// belong to.
	names string
}

// run follows one subscription. It ends with the first error, such as a receive
// buffer that overflowed: what was missed is found by looking again.
func (w *linkWatch) run(ctx context.Context, d *daemon) error {
	updates := make(chan netlink.LinkUpdate, 64)
	stop := make(chan struct{})
	defer close(stop)
	broken := make(chan error, 1)
	err := netlink.LinkSubscribeWithOptions(updates, stop, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case broken <- err:
			default:
			}
		},
	})
	if err != nil {
		return fmt.Errorf("subscribe to link changes: %w", err)
	}
	look := time.NewTimer(0)
	defer look.Stop()
	var since time.Time // of the first change that was not looked at
	changed := func() {
		if since.IsZero() {
			since = time.Now()
		}
		look.Reset(min(settle, settleAll-time.Since(since)))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return fmt.Errorf("link changes: %w", err)
		case _, ok := <-updates:
			if !ok {
				return errors.New("link changes: subscription ended")
			}
			changed()
		case <-d.queues:
			changed()
		case <-look.C:
			since = time.Time{}
			if !w.relink(ctx, d) {
				look.Reset(retry)
			}
		}
	}
}

// relink makes the dataplane anew if the links differ from those that it was made
// for. It returns false when that has to be tried again.
func (w *linkWatch) relink(ctx context.Context, d *daemon) bool {
	d.change.Lock()
	defer d.change.Unlock()
	plan, dp := d.state()
	list, err := netlink.LinkList()
	if err != nil {
		slog.Warn("interfaces cannot be listed", "err", err)
		return false
	}
	links := make(enforce.Links, len(list))
	for _, l := range list {
		links[l.Attrs().Name] = l.Attrs().Index
	}
	now := stateOf(plan, list)
	queues := false
	if dp != nil { // an interface that has gone has none
		queues, _ = dp.QueuesChanged(plan.Loader.Interfaces)
	}
	if dp == nil || !queues && (now == w.done || w.done == (linkState{}) && maps.Equal(plan.Links, links)) {
		w.done = now
		return true
	}
	if now != w.failed {
		slog.Debug("interfaces have changed", "attached", now.attached, "all", now.names)
	}
	next, err := prepare(ctx, plan, links)
	if err == nil {
		err = d.relinked(ctx, next, queues || now.attached != w.done.attached)
	} else if plan.Config.Dataplane.Kernel() {
		d.unsynced(err)
		err = d.relinkRefused(ctx, links)
	}
	if err != nil {
		if now != w.failed && ctx.Err() == nil {
			slog.Error("dataplane not adapted to the interfaces, trying again", "err", err)
		}
		w.failed = now
		return false
	}
	inForce, _ := d.state()
	warnRenamed(plan, inForce)
	w.done, w.failed = stateOf(inForce, list), linkState{}
	return true
}

// warnRenamed tells of interfaces that a configuration lists, and that have a name
// by now that it does not.
func warnRenamed(before, after *enforce.Plan) {
	listed := func(name string) bool {
		return slices.ContainsFunc(after.Config.Dataplane.Interfaces, func(c config.Interface) bool { return c.Name == name })
	}
	names := map[int]string{}
	for _, i := range before.Loader.Interfaces {
		names[i.Index] = i.Name
	}
	for _, i := range after.Loader.Interfaces {
		if was := names[i.Index]; listed(was) && !listed(i.Name) {
			slog.Warn("an interface was renamed to what the configuration does not know: it stays attached, rules mean it by its new name",
				"interface", i.Name, "was", was)
		}
	}
}

// relinked puts a plan for other links in force. Unless the interfaces that the
// dataplane is attached to have changed, that may be what is in force.
func (d *daemon) relinked(ctx context.Context, p *enforce.Plan, attached bool) error {
	before, _ := d.state()
	switch {
	case p.Config.Dataplane.Kernel():
		return d.adopt(ctx, p, attached)
	case attached || !sameLoader(before.Loader, p.Loader):
		return d.apply(ctx, p)
	}
	d.mu.Lock()
	d.plan = p
	d.mu.Unlock()
	return nil
}

// stateOf is what the dataplane of a plan depends on of the interfaces.
func stateOf(p *enforce.Plan, list []netlink.Link) linkState {
	attached := make(map[string]bool)
	for _, i := range p.Config.Dataplane.Interfaces {
		attached[i.Name] = true
	}
	indexes := make(map[int]bool)
	for _, i := range p.Loader.Interfaces {
		indexes[i.Index] = true
	}
	s := linkState{attached: enforce.ShaperState(list) + " "}
	for _, l := range list {
		a := l.Attrs()
		if attached[a.Name] || indexes[a.Index] {
			s.attached += fmt.Sprintf("%s=%d,%s,%s ", a.Name, a.Index, a.HardwareAddr, a.EncapType)
		}
		s.names += fmt.Sprintf("%s=%d,%d ", a.Name, a.Index, a.MasterIndex)
	}
	return s
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
