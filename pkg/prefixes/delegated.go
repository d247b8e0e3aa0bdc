// SPDX-License-Identifier: GPL-2.0-only

package prefixes

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// global are the addresses that providers have, RFC 4291 and IANA's registry.
var global = netip.MustParsePrefix("2000::/3")

// Delegated are the networks of the LAN's global addresses that are not declared: a DHCPv6
// client has given it these of what was delegated. An interface that is not there has none.
func Delegated(lan *config.LAN) ([]netip.Prefix, error) {
	addrs, err := of(lan.Interface, netlink.FAMILY_V6, unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range addrs {
		p := netip.PrefixFrom(a.Addr(), 64).Masked()
		if global.Contains(a.Addr()) && !slices.Contains(out, p) && !slices.Contains(lan.Prefixes(6), p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// Provided returns what the provider has delegated that a network is part of: the shortest prefix that holds it, and
// that nothing is sent to but its parts (RFC 7084, WPD-5). Whoever asks for the delegation makes that route. ok is
// false if there is none.
func Provided(network netip.Prefix) (p netip.Prefix, ok bool, err error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return p, false, fmt.Errorf("routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || r.Type != unix.RTN_UNREACHABLE && r.Type != unix.RTN_BLACKHOLE && r.Type != unix.RTN_PROHIBIT {
			continue
		}
		addr, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		dst := netip.PrefixFrom(addr, bits)
		if bits >= network.Bits() || !dst.Contains(network.Addr()) || !global.Contains(addr) || ok && bits >= p.Bits() {
			continue
		}
		p, ok = dst, true
	}
	return p, ok, nil
}

// Used are the networks of all global addresses that this host has, of a prefix of the provider's.
func Used(provided netip.Prefix) (out []netip.Prefix, err error) {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || !provided.Contains(ip) {
			continue
		}
		if p := netip.PrefixFrom(ip, 64).Masked(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// Rest is what is left of a prefix without the parts of a length, in bits, that hold one of some networks: the
// fewest prefixes that have all of it.
func Rest(whole netip.Prefix, used []netip.Prefix, length int) []netip.Prefix {
	holds := func(p netip.Prefix) bool { return slices.ContainsFunc(used, p.Overlaps) }
	switch {
	case !holds(whole):
		return []netip.Prefix{whole}
	case whole.Bits() >= length:
		return nil
	}
	low, high := halves(whole)
	return append(Rest(low, used, length), Rest(high, used, length)...)
}

// halves are the two that a prefix has.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Addr().As16()
	low = netip.PrefixFrom(p.Addr(), p.Bits()+1)
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return low, netip.PrefixFrom(netip.AddrFrom16(b), p.Bits()+1)
}
