// SPDX-License-Identifier: GPL-2.0-only

// Package prefixes knows which networks an interface is in: those that come and go with its addresses.
package prefixes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Of returns the addresses of an interface, each with the length of its network's prefix, in ascending order. family
// is 4 or 6. Link-local ones are left out, and those that are not in use yet. An interface that is not there has none.
func Of(name string, family int) ([]netip.Prefix, error) {
	nl := netlink.FAMILY_V4
	if family == 6 {
		nl = netlink.FAMILY_V6
	}
	return of(name, nl, unix.IFA_F_TENTATIVE)
}

// LinkLocals returns an interface, and the IPv6 addresses that it has on its own link, in ascending order: at least one.
func LinkLocals(name string) (link *net.Interface, out []netip.Addr, err error) {
	link, err = net.InterfaceByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: no such interface", name)
	}
	addrs, err := link.Addrs()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: addresses: %w", name, err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() != nil || !n.IP.IsLinkLocalUnicast() {
			continue
		}
		if ip, ok := netip.AddrFromSlice(n.IP); ok {
			out = append(out, ip)
		}
	}
	if out == nil {
		return nil, nil, fmt.Errorf("%s has no link-local address", name)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return link, out, nil
}

// of returns the addresses without those that have one of some flags.
func of(name string, family, without int) ([]netip.Prefix, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	addrs, err := netlink.AddrList(link, family)
	if err != nil {
		return nil, fmt.Errorf("%s: addresses: %w", name, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if ip = ip.Unmap(); !ok || ip.IsLinkLocalUnicast() || a.Flags&without != 0 {
			continue
		}
		bits, _ := a.Mask.Size()
		if p := netip.PrefixFrom(ip, bits); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// Networks are those of addresses, each once, without those that are part of another one.
func Networks(addrs []netip.Prefix) (out []netip.Prefix) {
	var all []netip.Prefix
	for _, a := range addrs {
		all = append(all, a.Masked())
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range all {
		if !slices.ContainsFunc(out, func(o netip.Prefix) bool { return o.Overlaps(p) }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out
}
