// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// linkPatience is how long a link may take to come back: negotiation on 10GBASE-T
// takes some seconds.
const linkPatience = 15 * time.Second

// LinksGate is the health gate of links: those that carry now must carry again after a
// change. Links that are gone by then are not its business, and neither are radios: they carry while
// the access point is on air, which is its own health.
func LinksGate() (reconcile.Gate, error) {
	before, err := carrying()
	if err != nil {
		return reconcile.Gate{}, err
	}
	return reconcile.Gate{Name: "links", Check: func(ctx context.Context) error { return waitLinks(ctx, before, linkPatience) }}, nil
}

// carrying are the links by index that are up and have a carrier.
func carrying() (map[int]bool, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := map[int]bool{}
	for _, l := range links {
		if _, err := os.Stat(filepath.Join("/sys/class/net", l.Attrs().Name, "phy80211")); err == nil {
			continue
		}
		out[l.Attrs().Index] = l.Attrs().RawFlags&(unix.IFF_UP|unix.IFF_RUNNING) == unix.IFF_UP|unix.IFF_RUNNING
	}
	return out, nil
}

// linkNameList is the names of all links but lo.
func linkNameList() ([]string, error) {
	links, err := netlink.LinkList()
	var names []string
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback == 0 {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, err
}

func waitLinks(ctx context.Context, before map[int]bool, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		now, err := carrying()
		if err != nil {
			return err
		}
		var down []string
		for index, was := range before {
			if is, there := now[index]; was && there && !is {
				down = append(down, linkName(index))
			}
		}
		if len(down) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("without a carrier since the change: %s", strings.Join(down, ", "))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func linkName(index int) string {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("link %d", index)
	}
	return l.Attrs().Name
}
