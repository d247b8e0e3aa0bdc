// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// Most mistakes about a range are made at its ends. Traffic has the numbers and
// addresses that the ruleset names, the ends of its ranges, and what is next to
// them.

var (
	addressText = regexp.MustCompile(`(?:\d+\.\d+\.\d+\.\d+|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(?:/\d+)?`)
	numberText  = regexp.MustCompile(`\b(?:0x[0-9a-f]{1,4}|\d{1,5})\b`)
)

// numbersOf are the numbers of a ruleset that can be ports, and those beside
// them. They serve as lengths and TTLs, too.
func numbersOf(ruleset string) []uint16 {
	list := slices.Clone(commonPorts)
	for _, m := range numberText.FindAllString(addressText.ReplaceAllString(ruleset, ""), -1) {
		n, err := strconv.ParseUint(m, 0, 16)
		if err != nil || n == 0 {
			continue
		}
		for d := -1; d <= 1; d++ {
			if p := uint16(int(n) + d); p != 0 && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// alike tells whether no rule is about one port and not about the other.
func (t *trial) alike(a, b uint16) bool {
	return a == b || !slices.ContainsFunc(t.numbers, func(n uint16) bool { return cmp.Compare(a, n) != cmp.Compare(b, n) })
}

// prefixesOf are the addresses and prefixes of a ruleset.
func prefixesOf(ruleset string) []netip.Prefix {
	var list []netip.Prefix
	for _, m := range addressText.FindAllString(ruleset, -1) {
		if p, err := netip.ParsePrefix(m); err == nil {
			list = append(list, p)
		} else if a, err := netip.ParseAddr(m); err == nil {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return list
}

// addressesOf are the ends of the addresses and prefixes of a ruleset, and those
// next to them.
func addressesOf(ruleset string) []netip.Addr {
	var list []netip.Addr
	for _, p := range prefixesOf(ruleset) {
		first, last := p.Masked().Addr(), lastOf(p)
		for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
			if a.IsValid() && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(a); bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(a)
	return last
}

// nearHosts sorts the addresses of a ruleset to the ports that they are behind,
// and has the routers know those that are next to them, and those that they
// become where NAT gives them another prefix.
func (r *Rig) nearHosts(ruleset string) ([][2][]netip.Addr, error) {
	near := make([][2][]netip.Addr, len(r.ports))
	for _, a := range addressesOf(ruleset) {
		i := r.portOf(a)
		if i < 0 {
			continue
		}
		if err := r.addNeighbour(i, a); err != nil {
			return nil, err
		}
		near[i][version(a)] = append(near[i][version(a)], a)
	}
	if !strings.Contains(ruleset, "prefix to") {
		return near, nil
	}
	for _, to := range prefixesOf(ruleset) {
		for a := range r.hostsOf(version(to.Addr()), near) {
			a = withPrefix(to, a)
			i := r.portOf(a)
			if i < 0 {
				continue
			}
			if err := r.addNeighbour(i, a); err != nil {
				return nil, err
			}
		}
	}
	return near, nil
}

// hostsOf yields the addresses of a family that packets come from and go to.
func (r *Rig) hostsOf(v int, near [][2][]netip.Addr) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for i, p := range r.ports {
			for _, a := range slices.Concat(p.hosts[v], near[i][v], []netip.Addr{p.addrs[v].Addr()}) {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// withPrefix is an address with its host's part, and the network of p.
func withPrefix(p netip.Prefix, a netip.Addr) netip.Addr {
	from, to := a.AsSlice(), p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(to); bit++ {
		mask := byte(0x80) >> (bit % 8)
		to[bit/8] = to[bit/8]&^mask | from[bit/8]&mask
	}
	out, _ := netip.AddrFromSlice(to)
	return out
}

// portOf is where a host with an address can be; negative: nowhere.
func (r *Rig) portOf(a netip.Addr) int {
	private6 := netip.MustParsePrefix("fc00::/7")
	unicast6 := netip.MustParsePrefix("2000::/3")
	if a.Is4() && (a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.As4() == [4]byte{255, 255, 255, 255}) || a.Is6() && !private6.Contains(a) && !unicast6.Contains(a) {
		return -1 // see Differences
	}
	wan := -1
	for i, p := range r.ports {
		for _, own := range p.addrs {
			if own.Addr() == a || own.Contains(a) && (own.Masked().Addr() == a || a.Is4() && lastOf(own) == a) {
				return -1
			}
		}
		if p.onLink(a) {
			return i
		}
		if p.wan {
			wan = i
		}
	}
	return wan
}

// meet has the routers know whom packets leave as, before they are answered.
func (r *Rig) meet(saw seen) error {
	for _, f := range saw.frames {
		p, ok := parse(f.frame[etherHeader:])
		if !ok || r.portOf(p.src) != f.port {
			continue
		}
		if err := r.addNeighbour(f.port, p.src); err != nil {
			return err
		}
	}
	return nil
}

// addNeighbour has the routers know a host, if it is next to them.
func (r *Rig) addNeighbour(port int, a netip.Addr) error {
	if p := r.ports[port]; !p.onLink(a) || slices.Contains(p.hosts[version(a)], a) || r.added[a] {
		return nil
	}
	r.added[a] = true
	for _, router := range r.routers {
		err := router.self.do(func() error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: router.index[port], State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: hostMAC(port)})
		})
		if err != nil {
			return fmt.Errorf("neighbour %s: %w", a, err)
		}
	}
	return nil
}

// host returns one behind a port: often near an address of the ruleset.
func (t *trial) host(port, v int) netip.Addr {
	if near := t.near[port][v]; len(near) > 0 && t.IntN(3) == 0 {
		return choose(t, near)
	}
	return choose(t, t.ports[port].hosts[v])
}
