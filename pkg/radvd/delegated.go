// SPDX-License-Identifier: GPL-2.0-only

package radvd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// A prefix that the provider delegates can change without a word to those who have it: RFC 9096 has
// shorter lifetimes for it, and has the one before announced with a preferred lifetime of
// none, for as long as it is valid.
const (
	delegatedPreferred = 45 * time.Minute
	delegatedValid     = 90 * time.Minute
)

// global are the addresses that providers have, RFC 4291 and IANA's registry.
var global = netip.MustParsePrefix("2000::/3")

// delegated are the prefixes of the interface's global addresses that are not declared: a DHCPv6
// client has given it these of what was delegated. An interface that is not there has none.
func delegated(lan *config.LAN) ([]netip.Prefix, error) {
	link, err := netlink.LinkByName(lan.Interface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", lan.Interface, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("%s: addresses: %w", lan.Interface, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || !global.Contains(ip) || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED) != 0 {
			continue
		}
		p, err := ip.Prefix(64)
		if err == nil && !slices.Contains(out, p) && !slices.Contains(lan.Prefixes(6), p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return out, nil
}

// note remembers which prefixes are delegated now, and returns those that were, and whose
// clients are to let go of them.
func (d *Daemon) note(now []netip.Prefix) (stale []netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range now {
		d.delegated[p] = time.Now()
	}
	for p, last := range d.delegated {
		switch {
		case slices.Contains(now, p):
		case time.Since(last) > delegatedValid:
			delete(d.delegated, p)
		default:
			stale = append(stale, p)
		}
	}
	slices.SortFunc(stale, netip.Prefix.Compare)
	return stale
}
