// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is a network interface that a ruleset can name.
type Link struct {
	Name  string
	Index int
}

// createLinks creates a stand-in for each link in the calling thread's network
// namespace. The loopback interface is there already, as number 1.
func createLinks(links []Link) error {
	if len(links) == 0 {
		return nil
	}
	h, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	for _, l := range links {
		if l.Name == "lo" && l.Index == 1 {
			continue
		}
		if err := createLink(h, l); err != nil {
			return fmt.Errorf("create a stand-in for interface %q with index %d: %w", l.Name, l.Index, err)
		}
	}
	return nil
}

// createLink creates a dummy interface, or what comes next to it where the kernel has none.
// A bridge is the last choice: when the namespace goes, the kernel waits for each of them,
// 16 ms of a lock that all of its network configuration takes.
func createLink(h *netlink.Handle, l Link) (err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = l.Name, l.Index
	for _, link := range []netlink.Link{&netlink.Dummy{LinkAttrs: attrs}, &netlink.Ifb{LinkAttrs: attrs}, &netlink.Bridge{LinkAttrs: attrs}} {
		if err = h.LinkAdd(link); !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return err
}
