// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// watchGroups are those of rtnetlink that tell of what resources are: links, qdiscs,
// addresses, and the sysctls below net.ipv4.conf and net.ipv6.conf that have an event.
var watchGroups = []uint32{
	unix.RTNLGRP_LINK, unix.RTNLGRP_TC, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
}

// receiver is a subscription of events.
type receiver interface {
	// Receive waits for events. After Close it fails.
	Receive() error
	Close() error
}

// Watch calls changed whenever the kernel tells that something has changed that may
// be a resource, or that it has not told all. It returns when ctx ends, or a
// subscription fails. What the kernel does not tell of, such as most sysctls, is not
// seen.
func Watch(ctx context.Context, changed func()) error {
	links, err := watchLinks()
	if err != nil {
		return err
	}
	nics, err := ethnl.Watch()
	if err != nil {
		return errors.Join(err, links.Close())
	}
	failed := make(chan error, 2)
	for _, r := range []receiver{links, nics} {
		go func() { failed <- receive(r, changed) }()
	}
	running := 2
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	err = errors.Join(err, links.Close(), nics.Close())
	for range running {
		<-failed // as it is closed
	}
	return err
}

// receive takes events until it fails.
func receive(r receiver, changed func()) error {
	for {
		// More than the socket could hold is no failure: it is a change, too.
		if err := r.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("changes of the host: %w", err)
		}
		changed()
	}
}

// routeEvents is an rtnetlink socket.
type routeEvents struct{ *netlink.Conn }

// Receive implements [receiver].
func (r routeEvents) Receive() error {
	_, err := r.Conn.Receive()
	return err
}

func watchLinks() (receiver, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	for _, group := range watchGroups {
		if err := conn.JoinGroup(group); err != nil {
			return nil, errors.Join(fmt.Errorf("rtnetlink: group %d: %w", group, err), conn.Close())
		}
	}
	return routeEvents{conn}, nil
}
