// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// settleAddress is how long addresses have to be quiet before they are looked
// at: an address that is taken away and given again within it ends no flow.
const settleAddress = 20 * time.Millisecond

// followAddresses has sets follow the addresses of interfaces, and ends masqueraded flows when the address that they have is gone,
// or the interface that they leave by is down, as nf_nat_masquerade does: their
// next packets begin flows that have an address of then. It goes on until ctx
// ends.
func (d *daemon) followAddresses(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.watchAddresses(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("addresses are not watched for a moment", "err", err)
			sleep(ctx, retry)
		}
	}
}

// watchAddresses follows one subscription; it ends with the first error. It looks
// when it begins, too: at what has changed while nobody watched.
func (d *daemon) watchAddresses(ctx context.Context) error {
	addrs, links := make(chan netlink.AddrUpdate, 64), make(chan netlink.LinkUpdate, 64)
	stop := make(chan struct{})
	defer close(stop)
	broken := make(chan error, 1)
	failed := func(err error) {
		select {
		case broken <- err:
		default:
		}
	}
	if err := errors.Join(
		netlink.AddrSubscribeWithOptions(addrs, stop, netlink.AddrSubscribeOptions{ErrorCallback: failed}),
		netlink.LinkSubscribeWithOptions(links, stop, netlink.LinkSubscribeOptions{ErrorCallback: failed}),
	); err != nil {
		return fmt.Errorf("subscribe to address changes: %w", err)
	}
	look := time.NewTimer(0)
	defer look.Stop()
	down := map[int]bool{} // since the last look
	gone := true           // an address may be
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return fmt.Errorf("address changes: %w", err)
		case u, ok := <-addrs:
			if !ok {
				return errors.New("address changes: subscription ended")
			}
			gone = gone || !u.NewAddr
			look.Reset(settleAddress)
		case u, ok := <-links:
			if !ok {
				return errors.New("link changes: subscription ended")
			}
			if u.IfInfomsg.Flags&unix.IFF_UP == 0 || u.Header.Type == unix.RTM_DELLINK {
				down[int(u.Index)], gone = true, true
			}
			look.Reset(settleAddress) // it may have the name that a set follows
		case <-look.C:
			d.readdressed(ctx)
			if !gone {
				continue
			}
			if err := d.endMasqueraded(down); err != nil {
				return err
			}
			clear(down)
			gone = false
		}
	}
}

// readdressed has sets follow what addresses are now.
func (d *daemon) readdressed(ctx context.Context) {
	d.change.Lock()
	defer d.change.Unlock()
	d.followInterfaces(ctx)
}

// endMasqueraded ends the masqueraded flows whose address no interface has, or
// whose interface went down.
func (d *daemon) endMasqueraded(down map[int]bool) error {
	d.change.Lock()
	defer d.change.Unlock()
	if _, dp := d.state(); dp == nil {
		return nil
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("addresses: %w", err)
	}
	have := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			have[addr.Unmap()] = true
		}
	}
	n, err := d.deleteFlows(func(f *flow.Flow) bool {
		return f.Masqueraded && (!have[f.Reply.Dst.Addr()] || down[f.OutIndex()])
	}, flow.EndAddress)
	if n > 0 {
		slog.Info("flows have ended with the address that they were masqueraded with", "flows", n)
	}
	return err
}
