// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"time"
)

// Radvd announces the LAN's IPv6 prefixes. RFC 4861 has the bounds, section 6.2.1.
type Radvd struct {
	Service
	// User is whom it runs as.
	User string `json:"user"`
	// MaxInterval is the longest time between two unsolicited advertisements, MinInterval
	// the shortest.
	MaxInterval time.Duration `json:"max_interval"`
	MinInterval time.Duration `json:"min_interval"`
	// Lifetime is how long clients have the router as their default one; 0 is never.
	Lifetime time.Duration `json:"lifetime"`
	// ValidLifetime and PreferredLifetime are those of the prefixes.
	ValidLifetime     time.Duration `json:"valid_lifetime"`
	PreferredLifetime time.Duration `json:"preferred_lifetime"`
	// DNSLifetime is how long clients use the DNS servers, and the domain.
	DNSLifetime time.Duration `json:"dns_lifetime"`
	// Managed and Other have clients ask DHCPv6 for addresses, or for the rest.
	Managed bool `json:"managed"`
	Other   bool `json:"other"`
	// MTU of the link that clients are told of; 0: none.
	MTU uint32 `json:"mtu,omitempty"`
	// Prefixes are announced beside those of the LAN's addresses.
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	// Delegated has the prefixes of the interface's other global addresses announced, too, as they
	// come and go.
	Delegated bool `json:"delegated,omitempty"`
}

// Bounds of RFC 4861, and RFC 8319 for the lifetime.
const (
	minRAInterval = 4 * time.Second
	maxRAInterval = 1800 * time.Second
	maxRALifetime = 65535 * time.Second
)

func (d *decoder) radvd(v node, c *Services) {
	r := &Radvd{
		Service: newService(v), User: "radvd", MaxInterval: 600 * time.Second, Lifetime: 1800 * time.Second,
		ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour, DNSLifetime: 600 * time.Second,
	}
	var minimum, lifetime, preferred node
	ok := d.service(v, &r.Service, map[string]field{
		"user":               func(v node) { v.str(&r.User, "a user's name", isUser) },
		"max_interval":       func(v node) { v.within(&r.MaxInterval, minRAInterval, maxRAInterval) },
		"min_interval":       func(v node) { v.within(&r.MinInterval, 3*time.Second, maxRAInterval*3/4); minimum = v },
		"lifetime":           func(v node) { v.within(&r.Lifetime, 0, maxRALifetime); lifetime = v },
		"valid_lifetime":     func(v node) { v.within(&r.ValidLifetime, time.Second, MaxTimeout) },
		"preferred_lifetime": func(v node) { v.within(&r.PreferredLifetime, 0, MaxTimeout); preferred = v },
		"dns_lifetime":       func(v node) { v.within(&r.DNSLifetime, 0, MaxTimeout) },
		"managed":            func(v node) { v.boolean(&r.Managed) },
		"other":              func(v node) { v.boolean(&r.Other) },
		"mtu":                func(v node) { v.number(&r.MTU, 1280, maxMTU) },
		"prefixes":           func(v node) { v.networks(&r.Prefixes) },
		"delegated":          func(v node) { v.boolean(&r.Delegated) },
	})
	if !ok {
		return
	}
	switch {
	case r.MinInterval > r.MaxInterval*3/4:
		minimum.failf("is more than three quarters of max_interval", "at most "+(r.MaxInterval*3/4).String())
	case r.MinInterval == 0:
		r.MinInterval = max(r.MaxInterval/3, 3*time.Second)
	}
	if r.Lifetime != 0 && r.Lifetime < r.MaxInterval {
		at := lifetime
		if at.n == nil {
			at = v
		}
		at.failf("a router that is forgotten before it is heard of again", "0s, or at least max_interval")
	}
	if r.PreferredLifetime > r.ValidLifetime {
		at := preferred
		if at.n == nil {
			at = v
		}
		at.failf("is more than valid_lifetime", "at most "+r.ValidLifetime.String())
	}
	c.Radvd = r
}

// checkRadvd refuses what has nothing to announce.
func (d *decoder) checkRadvd(c *Config) {
	r := c.Services.Radvd
	if r == nil || r.Mode == ModeWatch && c.Network.LAN != nil {
		return
	}
	e := r.At("")
	switch lan := c.Network.LAN; {
	case lan == nil:
		e.Problem, e.Want = "there is no LAN", "network.lan with an interface"
	case len(lan.Prefixes(6)) == 0 && len(r.Prefixes) == 0 && !r.Delegated:
		e.Problem, e.Want = "there is no IPv6 prefix to announce", "an IPv6 address of network.lan, prefixes, or delegated: true"
	default:
		return
	}
	d.add(e)
}
