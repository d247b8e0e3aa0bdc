// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kea is one of Kea's servers, for the LAN.
type Kea struct {
	Service
	// Family is 4 or 6: DHCPv4 or DHCPv6.
	Family int `json:"family"`
	// User is whom it runs as.
	User string `json:"user"`
	// Pools are the addresses that clients get.
	Pools []Range `json:"pools"`
	// Lifetime of a lease, and when clients renew it with their server, or rebind it with any.
	Lifetime time.Duration `json:"lifetime"`
	Renew    time.Duration `json:"renew"`
	Rebind   time.Duration `json:"rebind"`
	// LeaseFile is where leases outlive the daemon.
	LeaseFile string `json:"lease_file"`
	// LeaseHook is the path of libdhcp_lease_cmds.so, by which it tells its leases; empty: the
	// file is read.
	LeaseHook string `json:"lease_hook,omitempty"`
	// ControlSocket is that of a daemon that is watched; empty: it has none, or l2d's own.
	ControlSocket string `json:"control_socket,omitempty"`
	// UDP has DHCPv4 listen on a UDP socket, whose packets have passed the firewall, and not
	// on a packet socket, which sees them before.
	UDP bool `json:"udp,omitempty"`
	// Reservations are addresses of certain clients.
	Reservations []Reservation `json:"reservations,omitempty"`
	// Preferred is how long DHCPv6's clients use an address for new connections.
	Preferred time.Duration `json:"preferred,omitempty"`
	// Delegate is what DHCPv6's clients get for networks of their own.
	Delegate []Delegation `json:"delegate,omitempty"`
	// Delegated has DHCPv6 serve what the provider delegates, as it comes and goes; nil: it does not.
	Delegated *Delegated `json:"delegated,omitempty"`
}

// Delegated is what clients get of what the provider has delegated.
type Delegated struct {
	// Pool has the last 64 bits of the addresses that clients get in each of the LAN's delegated networks; nil: none.
	Pool *Range `json:"pool,omitempty"`
	// Length is that of the prefixes, in bits, that clients get of what the router does not use itself; 0: none.
	Length int `json:"length,omitempty"`
}

// Range is a range of addresses, both ends included.
type Range struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Contains tells whether an address is in the range.
func (r *Range) Contains(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

// String is how the file says it.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// Reservation is the address of a client, which is known by its MAC address, in lower case.
type Reservation struct {
	Name    string     `json:"name"`
	MAC     string     `json:"mac"`
	Address netip.Addr `json:"address"`

	at position
}

// Delegation is a prefix, of which clients get parts of a length.
type Delegation struct {
	Prefix netip.Prefix `json:"prefix"`
	Length int          `json:"length"`
}

// isLeaseFile tells a path whose directory can be given to the daemon.
func isLeaseFile(s string) bool {
	return isCleanAbs(s) && strings.HasPrefix(filepath.Base(filepath.Dir(s)), "kea")
}

// DHCP socket types.
const (
	socketRaw = "raw"
	socketUDP = "udp"
)

// maxLease is the longest lifetime that is not forever.
const maxLease = (1<<32 - 2) * time.Second

func (d *decoder) kea(v node, family int, dst **Kea) {
	k := &Kea{Service: newService(v), Family: family, User: "_kea", Lifetime: time.Hour, LeaseFile: "/var/lib/kea/kea-leases4.csv"}
	if family == 6 {
		k.LeaseFile = "/var/lib/kea/kea-leases6.csv"
	}
	socket := socketRaw
	own := map[string]field{
		"user":     func(v node) { v.str(&k.User, "a user's name", isUser) },
		"pools":    func(v node) { v.ranges(&k.Pools, family) },
		"lifetime": func(v node) { v.within(&k.Lifetime, time.Minute, maxLease) },
		"renew":    func(v node) { v.within(&k.Renew, time.Second, maxLease) },
		"rebind":   func(v node) { v.within(&k.Rebind, time.Second, maxLease) },
		"lease_file": func(v node) {
			v.str(&k.LeaseFile, "a file in a directory that becomes the daemon's own, and whose name begins with kea", isLeaseFile)
		},
		"lease_hook":     func(v node) { v.str(&k.LeaseHook, "the absolute path of libdhcp_lease_cmds.so", isCleanAbs) },
		"control_socket": func(v node) { v.str(&k.ControlSocket, "an absolute path of at most 107 bytes", isSocketPath) },
		"reservations":   func(v node) { v.reservations(&k.Reservations, family) },
	}
	if family == 4 {
		own["socket"] = func(v node) { v.oneOf(&socket, socketRaw, socketUDP) }
	} else {
		own["preferred"] = func(v node) { v.within(&k.Preferred, time.Second, maxLease) }
		own["delegate"] = func(v node) { v.delegations(&k.Delegate) }
		own["delegated"] = func(v node) { v.delegated(&k.Delegated) }
	}
	if !d.service(v, &k.Service, own) {
		return
	}
	k.UDP = socket == socketUDP
	setDefault(&k.Renew, k.Lifetime/4)
	setDefault(&k.Rebind, k.Lifetime/2)
	setDefault(&k.Preferred, k.Lifetime)
	wrong := func(key, problem, want string) {
		at := positionOf(v.n)
		d.add(Error{Line: at.line, Column: at.column, Key: v.key + "." + key, Problem: problem, Want: want})
	}
	if k.Rebind > k.Lifetime {
		wrong("rebind", "is more than lifetime", "at most "+k.Lifetime.String())
	}
	if k.Renew > k.Rebind {
		wrong("renew", "is more than rebind", "at most "+k.Rebind.String())
	}
	if k.Preferred > k.Lifetime {
		wrong("preferred", "is more than lifetime", "at most "+k.Lifetime.String())
	}
	if k.Mode != ModeWatch && k.ControlSocket != "" {
		wrong("control_socket", "is l2d's own, unless the mode is watch", "the key left out")
	}
	if family == 4 {
		k.Preferred = 0
	}
	*dst = k
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

// ranges reads ranges of addresses of a family.
func (v node) ranges(dst *[]Range, family int) {
	want := "the first and the last address, such as 192.168.1.100-192.168.1.200"
	if family == 6 {
		want = "the first and the last address, such as fd00::1000-fd00::1fff"
	}
	v.list("ranges", func(_ int, v node) {
		var text string
		v.str(&text, want, func(s string) bool {
			r, ok := parseRange(s)
			return ok && isFamily(r.First, family)
		})
		if r, ok := parseRange(text); ok {
			*dst = append(*dst, r)
		}
	})
}

func parseRange(s string) (r Range, ok bool) {
	first, last, found := strings.Cut(s, "-")
	if !found || !isHostAddr(first) || !isHostAddr(last) {
		return r, false
	}
	r = Range{netip.MustParseAddr(first), netip.MustParseAddr(last)}
	return r, r.First.Is4() == r.Last.Is4() && r.First.Compare(r.Last) <= 0
}

// reservations reads the clients that have addresses of their own, by their names.
func (v node) reservations(dst *[]Reservation, family int) {
	v.entries("clients by name, such as {nas: {mac: 02:00:5e:10:00:01, address: 192.168.1.10}}", func(name, v node) {
		if !v.given(name) {
			return
		}
		r := Reservation{Name: name.text(), at: positionOf(name.n)}
		if !isDomain(r.Name) {
			name.fail("a client's name, such as nas")
			return
		}
		var mac, address string
		before := len(v.d.errs)
		ok := v.mapping(map[string]field{
			"mac": func(v node) { v.str(&mac, "six bytes such as 02:00:5e:10:00:01, in quotes", isMAC) },
			"address": func(v node) {
				v.str(&address, "an address of the family", func(s string) bool { return isHostAddr(s) && isFamily(netip.MustParseAddr(s), family) })
			},
		})
		if !ok || len(v.d.errs) > before {
			return
		}
		if mac == "" || address == "" {
			name.failf("has not both of a MAC address and an address", "{mac: ..., address: ...}")
			return
		}
		r.MAC, r.Address = strings.ToLower(mac), netip.MustParseAddr(address)
		for i := range *dst {
			if o := &(*dst)[i]; o.MAC == r.MAC || o.Address == r.Address {
				name.failf("has the same MAC address, or address, as "+o.Name, "others")
				return
			}
		}
		*dst = append(*dst, r)
	})
}

func isMAC(s string) bool {
	a, err := net.ParseMAC(s)
	return err == nil && len(a) == 6 && len(s) == 17 && s[2] == ':'
}

func (v node) delegations(dst *[]Delegation) {
	v.list("prefixes, such as [{prefix: '2001:db8:1000::/40', length: 56}]", func(_ int, v node) {
		var text string
		var length uint32
		before := len(v.d.errs)
		v.mapping(map[string]field{
			"prefix": func(v node) { v.str(&text, "an IPv6 network, such as 2001:db8:1000::/40", isNetwork6) },
			"length": func(v node) { v.number(&length, 1, 64) },
		})
		if len(v.d.errs) > before {
			return
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || int(length) < p.Bits() {
			v.failf("needs a prefix, and a length that is not shorter than the prefix's", "such as {prefix: '2001:db8:1000::/40', length: 56}")
			return
		}
		*dst = append(*dst, Delegation{p, int(length)})
	})
}

// interfaceIDs are the last halves of addresses.
var interfaceIDs = netip.PrefixFrom(netip.IPv6Unspecified(), 64)

func (v node) delegated(dst **Delegated) {
	const wantPool = "the last halves of the first and the last address, such as ::1000-::1fff"
	var pool string
	var length uint32
	before := len(v.d.errs)
	ok := v.mapping(map[string]field{
		"pool": func(v node) {
			v.str(&pool, wantPool, func(s string) bool {
				r, ok := parseRange(s)
				return ok && interfaceIDs.Contains(r.First) && interfaceIDs.Contains(r.Last)
			})
		},
		"length": func(v node) { v.number(&length, 1, 64) },
	})
	if !ok || len(v.d.errs) > before {
		return
	}
	d := &Delegated{Length: int(length)}
	if r, ok := parseRange(pool); ok {
		d.Pool = &r
	}
	if *d == (Delegated{}) {
		v.failf("gives clients nothing", "{pool: '::1000-::1fff', length: 60}, or one of both")
		return
	}
	*dst = d
}

func isNetwork6(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is6() && p == p.Masked() && isHostPrefix(s)
}

// checkKea refuses what the LAN does not have.
func (d *decoder) checkKea(c *Config) {
	for _, k := range []*Kea{c.Services.KeaDHCP4, c.Services.KeaDHCP6} {
		if k != nil && k.Mode != ModeWatch {
			d.checkPools(c.Network.LAN, k)
		}
	}
}

func (d *decoder) checkPools(lan *LAN, k *Kea) {
	e := k.At("")
	wrong := func(key, value, problem, want string) {
		e := e
		e.Key, e.Value, e.Problem, e.Want = e.Key+key, value, problem, want
		d.add(e)
	}
	if lan == nil {
		wrong("", "", "there is no LAN", "network.lan with an interface")
		return
	}
	networks, routers := lan.Prefixes(k.Family), lan.Routers(k.Family)
	inside := func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if len(networks) == 0 && k.Delegated == nil {
		wrong("", "", "the LAN has no address of the family", "one in network.lan.addresses, or in host.links")
		return
	}
	if len(networks) == 0 && len(k.Delegate) > 0 {
		wrong(".delegate", "", "needs a network of the LAN that stays", "an IPv6 address in network.lan.addresses, or in host.links")
		return
	}
	if len(k.Pools) == 0 && len(k.Reservations) == 0 && len(k.Delegate) == 0 && k.Delegated == nil {
		wrong(".pools", "", "is missing", "the addresses that clients get, such as [192.168.1.100-192.168.1.200]")
	}
	for i, r := range k.Pools {
		if !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(r.First) && p.Contains(r.Last) }) {
			wrong(".pools", r.String(), "is not in one of the LAN's networks", "a range of "+join(networks))
		}
		for _, a := range routers {
			if r.Contains(a) {
				wrong(".pools", r.String(), "has the router's own address "+a.String(), "a range without it")
			}
		}
		for _, o := range k.Pools[:i] {
			if r.Contains(o.First) || o.Contains(r.First) {
				wrong(".pools", r.String(), "overlaps "+o.String(), "each address once")
			}
		}
	}
	for i := range k.Reservations {
		r := &k.Reservations[i]
		if !inside(r.Address) || slices.Contains(routers, r.Address) {
			d.add(Error{Line: r.at.line, Column: r.at.column, Key: k.Key() + ".reservations." + r.Name + ".address", Value: r.Address.String(),
				Problem: "is not a client's address of the LAN", Want: "one of " + join(networks) + " that is not the router's"})
		}
	}
}

// join lists prefixes.
func join(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}
