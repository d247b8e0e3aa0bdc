// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Links are the interfaces of the calling thread's network namespace: indexes
// by name.
type Links map[string]int

// ReadLinks lists the interfaces.
func ReadLinks() (Links, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	links := make(Links, len(list))
	for _, l := range list {
		links[l.Attrs().Name] = l.Attrs().Index
	}
	return links, nil
}

// routedLinks are the interfaces whose packets meet the kernel's tables of IP: all
// but the loopback device, and those that hand their packets to another.
func routedLinks() ([]netlink.Link, error) {
	list, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	vrf := make(map[int]bool)
	for _, l := range list {
		vrf[l.Attrs().Index] = l.Type() == "vrf"
	}
	return slices.DeleteFunc(list, func(l netlink.Link) bool {
		a := l.Attrs()
		return a.Flags&net.FlagLoopback != 0 || vrf[a.Index] || a.MasterIndex != 0 && !vrf[a.MasterIndex]
	}), nil
}

// Names returns the names in order.
func (l Links) Names() []string {
	names := make([]string, 0, len(l))
	for name := range l {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// nft returns the links that a ruleset is read with.
func (l Links) nft() []nft.Link {
	links := make([]nft.Link, 0, len(l))
	for _, name := range l.Names() {
		links = append(links, nft.Link{Name: name, Index: l[name]})
	}
	return links
}

// Name returns the name of the interface with an index; "" for 0, and the number
// itself when there is none.
func (l Links) Name(index int) string {
	if index == 0 {
		return ""
	}
	for name, i := range l {
		if i == index {
			return name
		}
	}
	return strconv.Itoa(index)
}
