// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// permanent are the addresses of a link without a lifetime, which are no others' to
// renew, and not of the link itself.
func permanent(l netlink.Link) ([]netlink.Addr, error) {
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	return slices.DeleteFunc(list, func(a netlink.Addr) bool {
		return a.Flags&unix.IFA_F_PERMANENT == 0 || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_MANAGETEMPADDR != 0
	}), nil
}

func addressText(list []netlink.Addr) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.IPNet.String()
	}
	return strings.Join(out, " ")
}

// inOrder brings addresses into the order that the kernel lists them in when they were
// added one by one: of IPv4 the first one of each network comes first, as it is the
// one that packets leave with. That of IPv6 says nothing.
func inOrder(addresses string) string {
	var first, second, v6 []string
	networks := map[netip.Prefix]bool{}
	for _, text := range strings.Fields(addresses) {
		switch p, err := netip.ParsePrefix(text); {
		case err != nil || p.Addr().Is6():
			v6 = append(v6, text)
		case networks[p.Masked()]:
			second = append(second, text)
		default:
			networks[p.Masked()] = true
			first = append(first, text)
		}
	}
	slices.Sort(v6)
	return strings.Join(slices.Concat(first, second, v6), " ")
}

// setAddresses has a link have these addresses and no others. An address that is not
// in its place is removed with all behind it, and added again.
func setAddresses(l netlink.Link, wanted string) error {
	have, err := permanent(l)
	if err != nil {
		return err
	}
	want := strings.Fields(inOrder(wanted))
	place := 0
	for _, a := range have {
		text := a.IPNet.String()
		if a.IP.To4() == nil && slices.Contains(want, text) {
			continue
		}
		if a.IP.To4() != nil && place < len(want) && want[place] == text {
			place++
			continue
		}
		// The kernel may have taken it along with the one before it.
		if err := netlink.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %s: %w", text, err)
		}
	}
	return addMissing(l, want)
}

func addMissing(l netlink.Link, want []string) error {
	have, err := permanent(l)
	if err != nil {
		return err
	}
	for _, text := range want {
		if slices.ContainsFunc(have, func(a netlink.Addr) bool { return a.IPNet.String() == text }) {
			continue
		}
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add %s: %w", text, err)
		}
	}
	return nil
}
