// SPDX-License-Identifier: GPL-2.0-only

package radvd

import (
	"context"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// Expect implements [service.Expectant]: a daemon that finds no address to send by is silent for the 16 seconds to its
// second advertisement (MAX_INITIAL_RTR_ADVERT_INTERVAL, RFC 4861), whatever its interface gets meanwhile.
func (*Daemon) Expect(ctx context.Context, u *service.Unit) {
	for tentative(u.Params[interfaceParam]) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tentative tells whether an interface has a link-local address that the kernel still looks for others with, RFC 4862. On
// one without a carrier it does not.
func tentative(name string) bool {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
		return false // it announces when there is one
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&(unix.IFA_F_OPTIMISTIC|unix.IFA_F_DADFAILED) == 0 {
			return true
		}
	}
	return false
}
