// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"slices"
)

// Network is what several services have to know: it is said once.
type Network struct {
	// LAN is nil if the file has none.
	LAN *LAN `json:"lan,omitempty"`
}

// LAN is the network that services are for.
type LAN struct {
	Interface string `json:"interface"`
	// Addresses are the router's there, each with the length of the network's prefix. If
	// the file does not give them here they are those of host.links.
	Addresses []netip.Prefix `json:"addresses"`
	// DNS are the servers that clients are told of: the router's own if none is given.
	DNS []netip.Addr `json:"dns"`
	// Domain of the clients' names; empty for none.
	Domain string `json:"domain,omitempty"`

	at position
}

// At is an error with the place of the LAN in a file.
func (l *LAN) At(file string) Error {
	return Error{File: file, Line: l.at.line, Column: l.at.column, Key: "network.lan"}
}

// Prefixes are the networks of a family, 4 or 6, in the order of the addresses.
func (l *LAN) Prefixes(family int) (out []netip.Prefix) {
	for _, a := range l.Addresses {
		if p := a.Masked(); isFamily(a.Addr(), family) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Routers are the router's own addresses of a family.
func (l *LAN) Routers(family int) (out []netip.Addr) {
	for _, a := range l.Addresses {
		if isFamily(a.Addr(), family) {
			out = append(out, a.Addr())
		}
	}
	return out
}

// Servers are the DNS servers of a family.
func (l *LAN) Servers(family int) (out []netip.Addr) {
	for _, a := range l.DNS {
		if isFamily(a, family) {
			out = append(out, a)
		}
	}
	return out
}

func isFamily(a netip.Addr, family int) bool { return a.Is4() == (family == 4) }

func (d *decoder) network(v node, c *Network) {
	v.mapping(map[string]field{
		"lan": func(v node) {
			l := &LAN{at: positionOf(v.n)}
			before := len(d.errs)
			v.mapping(map[string]field{
				"interface": func(v node) { v.str(&l.Interface, "an interface's name", isInterfaceName) },
				"addresses": func(v node) { v.prefixes(&l.Addresses) },
				"dns":       func(v node) { v.addresses(&l.DNS) },
				"domain":    func(v node) { v.str(&l.Domain, "a domain, such as home.arpa", isDomain) },
			})
			if l.Interface == "" && len(d.errs) == before {
				d.add(Error{Line: l.at.line, Column: l.at.column, Key: v.key + ".interface", Problem: "is missing", Want: "the interface of the LAN"})
			}
			c.LAN = l
		},
	})
}

// fillNetwork gives the LAN what the file says of its interface elsewhere.
func (c *Config) fillNetwork() {
	l := c.Network.LAN
	if l == nil {
		return
	}
	if l.Addresses == nil {
		for i := range c.Host.Links {
			if link := &c.Host.Links[i]; link.Name == l.Interface {
				l.Addresses = slices.Clone(link.Addresses)
			}
		}
	}
	if l.DNS == nil {
		l.DNS = append(l.Routers(4), l.Routers(6)...)
	}
}

// addresses reads addresses of hosts.
func (v node) addresses(dst *[]netip.Addr) {
	const want = "an address, such as 192.168.1.1 or fd00::1"
	*dst = []netip.Addr{}
	v.list("addresses, such as [192.168.1.1]", func(_ int, v node) {
		var text string
		if v.str(&text, want, isHostAddr); text == "" {
			return
		}
		a := netip.MustParseAddr(text)
		if slices.Contains(*dst, a) {
			v.failf("given twice", "each address once")
			return
		}
		*dst = append(*dst, a)
	})
}

func isHostAddr(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast()
}

// isDomain tells a name of RFC 1035's letters, digits and hyphens, without the last dot.
func isDomain(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	label := 0
	for i, r := range s {
		switch {
		case r == '.':
			if label == 0 || s[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case r == '-' && label > 0:
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && s[len(s)-1] != '-'
}

// networks reads prefixes of IPv6 networks.
func (v node) networks(dst *[]netip.Prefix) {
	const want = "an IPv6 network, such as fd00::/64"
	*dst = []netip.Prefix{}
	v.list("networks, such as [fd00::/64]", func(_ int, v node) {
		var text string
		v.str(&text, want, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Addr().Is6() && p == p.Masked() && isHostPrefix(s)
		})
		if text == "" {
			return
		}
		*dst = append(*dst, netip.MustParsePrefix(text))
	})
}

// isUser tells what useradd(8) takes as a name.
func isUser(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r == '_':
		case i > 0 && (r >= '0' && r <= '9' || r == '-'):
		default:
			return false
		}
	}
	return true
}
