// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

const (
	// settle is how long the links have to be quiet before they are looked
	// at: a driver or networkd changes several things in a row.
	settle = 100 * time.Millisecond
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

// linkWatch is what is known of the links between two looks at them.
type linkWatch struct {
	// done is the fingerprint of the links that the dataplane was made for,
	// failed that of links for which it could not be made.
	done, failed string
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
			look.Reset(settle)
		case <-look.C:
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
	now := fingerprint(plan.Config, list)
	if dp == nil || now == w.done || w.done == "" && sameLinks(plan, links) {
		w.done = now
		return true
	}
	if now != w.failed {
		slog.Info("interfaces have changed", "links", now)
	}
	next, err := enforce.PrepareFor(ctx, plan.Config, links)
	if err == nil {
		err = d.apply(ctx, next)
	}
	if err != nil {
		if now != w.failed && ctx.Err() == nil {
			slog.Error("dataplane not adapted to the interfaces, trying again", "err", err)
		}
		w.failed = now
		return false
	}
	w.done, w.failed = now, ""
	return true
}

// sameLinks tells whether a plan was made for these indexes.
func sameLinks(p *enforce.Plan, links enforce.Links) bool {
	for _, i := range p.Config.Dataplane.Interfaces {
		if p.Links[i.Name] != links[i.Name] {
			return false
		}
	}
	return true
}

// fingerprint is what the dataplane depends on of the interfaces: whether those
// of the configuration exist, their index, address and kind.
func fingerprint(c *config.Config, list []netlink.Link) string {
	wanted := make(map[string]bool, len(c.Dataplane.Interfaces))
	for _, i := range c.Dataplane.Interfaces {
		wanted[i.Name] = true
	}
	var parts []string
	for _, l := range list {
		if a := l.Attrs(); wanted[a.Name] {
			parts = append(parts, fmt.Sprintf("%s=%d,%s,%s", a.Name, a.Index, a.HardwareAddr, a.EncapType))
		}
	}
	return strings.Join(append(parts, ""), " ")
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
