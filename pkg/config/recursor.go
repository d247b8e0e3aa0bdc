// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Recursor resolves names for the LAN and the router itself: the PowerDNS Recursor.
type Recursor struct {
	Service
	// User is whom it runs as.
	User string `json:"user"`
	// Listen are its addresses, at port 53: those of loopback and of the router on the LAN
	// unless the file gives others.
	Listen []netip.Addr `json:"listen"`
	// Allow are the networks that it answers: loopback and the LAN unless the file gives others.
	Allow []netip.Prefix `json:"allow"`
	// AllowDelegated has it answer the networks, too, that the LAN has of what the provider delegates.
	AllowDelegated bool `json:"allow_delegated,omitempty"`
	// DNSSEC is one of the DNSSEC constants.
	DNSSEC string `json:"dnssec"`
	// ServeRFC1918 has it answer for the reverse zones of private addresses itself: with nothing.
	ServeRFC1918 bool `json:"serve_rfc1918"`
	// Forward are zones that certain servers are asked for.
	Forward []ForwardZone `json:"forward,omitempty"`
	// TrustAnchors are keys of zones that are signed, and that the root does not lead to.
	TrustAnchors []TrustAnchor `json:"trust_anchors,omitempty"`
	// Insecure are zones that are not validated.
	Insecure []string `json:"insecure,omitempty"`
	// CacheEntries is how many records are kept.
	CacheEntries uint32 `json:"cache_entries"`
	// API is nil if there is none.
	API *RecursorAPI `json:"api,omitempty"`
	// ControlSocket is the directory of the socket of a daemon that is watched.
	ControlDir string `json:"control_dir,omitempty"`
}

// Values of dnssec, from the least to the most.
const (
	DNSSECOff      = "off"
	DNSSECProcess  = "process"  // validates for clients that ask for it
	DNSSECValidate = "validate" // answers nobody with what is bogus
)

// ForwardZone is a zone with the servers that are asked for it.
type ForwardZone struct {
	Zone    string           `json:"zone"` // without the last dot; "." is all
	Servers []netip.AddrPort `json:"servers"`
	// Recursive says that the servers are resolvers themselves.
	Recursive bool `json:"recursive"`
}

// TrustAnchor is the key of a zone: contents of DS records.
type TrustAnchor struct {
	Zone string   `json:"zone"`
	DS   []string `json:"ds"`
}

// RecursorAPI is its web server, with its REST interface and metrics.
type RecursorAPI struct {
	Listen netip.AddrPort `json:"listen"`
	Key    *Secret        `json:"key"`
}

// loopback are the addresses at which the router itself asks.
var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

func (d *decoder) recursor(v node, c *Services) {
	r := &Recursor{Service: newService(v), User: "pdns", DNSSEC: DNSSECValidate, ServeRFC1918: true, CacheEntries: 1000000}
	var control node
	ok := d.service(v, &r.Service, map[string]field{
		"user":              func(v node) { v.str(&r.User, "a user's name", isUser) },
		"listen":            func(v node) { v.addresses(&r.Listen) },
		"allow":             func(v node) { v.anyNetworks(&r.Allow) },
		"dnssec":            func(v node) { v.oneOf(&r.DNSSEC, DNSSECOff, DNSSECProcess, DNSSECValidate) },
		"serve_rfc1918":     func(v node) { v.boolean(&r.ServeRFC1918) },
		"forward":           func(v node) { v.forward(&r.Forward, false) },
		"forward_recursive": func(v node) { v.forward(&r.Forward, true) },
		"trust_anchors":     func(v node) { v.trustAnchors(&r.TrustAnchors) },
		"insecure":          func(v node) { v.zones(&r.Insecure) },
		"cache_entries":     func(v node) { v.number(&r.CacheEntries, 1000, 1<<31) },
		"api":               func(v node) { v.recursorAPI(&r.API) },
		"control_dir":       func(v node) { v.str(&r.ControlDir, "an absolute path", isCleanAbs); control = v },
	})
	if !ok {
		return
	}
	if r.ControlDir != "" && r.Mode != ModeWatch {
		control.failf("is l2d's own, unless the mode is watch", "the key left out")
	}
	for i := range r.Forward {
		for j := range r.Forward[:i] {
			if r.Forward[i].Zone == r.Forward[j].Zone {
				v.failf("forwards "+r.Forward[i].Zone+" twice", "each zone in one of forward and forward_recursive")
			}
		}
	}
	c.Recursor = r
}

// anyNetworks reads networks of both families.
func (v node) anyNetworks(dst *[]netip.Prefix) {
	const want = "a network, such as 192.168.1.0/24 or fd00::/64"
	*dst = []netip.Prefix{}
	v.list("networks, such as [192.168.1.0/24]", func(_ int, v node) {
		var text string
		v.str(&text, want, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p == p.Masked() && !p.Addr().Is4In6()
		})
		if text != "" {
			*dst = append(*dst, netip.MustParsePrefix(text))
		}
	})
}

const wantZone = `a zone, such as corp.example, or "." for all`

// IsZone tells a zone's name, which may have an underscore in front of its parts.
func IsZone(s string) bool {
	return s == "." || s == strings.ToLower(s) && isDomain(strings.ReplaceAll(s, "_", ""))
}

func (v node) zones(dst *[]string) {
	v.list("zones, such as [corp.example]", func(_ int, v node) {
		var text string
		v.str(&text, wantZone, IsZone)
		if slices.Contains(*dst, text) {
			v.failf("given twice", "each zone once")
		} else if text != "" {
			*dst = append(*dst, text)
		}
	})
}

// forward reads the servers of zones.
func (v node) forward(dst *[]ForwardZone, recursive bool) {
	v.entries("servers by zone, such as {corp.example: [10.0.0.53]}", func(name, v node) {
		if !v.given(name) {
			return
		}
		f := ForwardZone{Zone: name.text(), Recursive: recursive}
		if !IsZone(f.Zone) {
			name.fail(wantZone)
			return
		}
		v.list("servers, such as [10.0.0.53, '10.0.0.53:5300']", func(_ int, v node) {
			var text string
			v.str(&text, "an address, or one with a port such as 10.0.0.53:5300 or [fd00::53]:5300", func(s string) bool { _, ok := parseServer(s); return ok })
			if a, ok := parseServer(text); ok {
				f.Servers = append(f.Servers, a)
			}
		})
		if len(f.Servers) > 0 {
			*dst = append(*dst, f)
		} else {
			name.failf("has no server", "at least one")
		}
	})
}

// dnsPort is that of DNS.
const dnsPort = 53

func parseServer(s string) (netip.AddrPort, bool) {
	if isHostAddr(s) {
		return netip.AddrPortFrom(netip.MustParseAddr(s), dnsPort), true
	}
	a, err := netip.ParseAddrPort(s)
	return a, err == nil && a.Port() != 0 && isHostAddr(a.Addr().String())
}

func (v node) trustAnchors(dst *[]TrustAnchor) {
	v.entries("the contents of DS records by zone", func(name, v node) {
		if !v.given(name) {
			return
		}
		t := TrustAnchor{Zone: name.text()}
		if !IsZone(t.Zone) {
			name.fail(wantZone)
			return
		}
		v.list("contents of DS records", func(_ int, v node) {
			var text string
			v.str(&text, "a key tag, an algorithm, a digest type and the digest, such as 20326 8 2 E06D...", isDS)
			if text != "" {
				t.DS = append(t.DS, text)
			}
		})
		*dst = append(*dst, t)
	})
}

// isDS tells the contents of a DS record, RFC 4034, 5.3.
func isDS(s string) bool {
	f := strings.Fields(s)
	if len(f) != 4 {
		return false
	}
	for i, bits := range []int{16, 8, 8} {
		if _, err := strconv.ParseUint(f[i], 10, bits); err != nil {
			return false
		}
	}
	digest, err := hex.DecodeString(f[3])
	return err == nil && len(digest) >= 20 && len(digest) <= 64
}

func (v node) recursorAPI(dst **RecursorAPI) {
	a := &RecursorAPI{Listen: netip.AddrPortFrom(loopback[0], 8082)}
	before := len(v.d.errs)
	v.mapping(map[string]field{
		"listen": func(v node) {
			var text string
			v.str(&text, "an IP address and a port, such as 127.0.0.1:8082", func(s string) bool { return s != "" && isListen(s) })
			if text != "" {
				a.Listen = netip.MustParseAddrPort(text)
			}
		},
		"key": func(v node) { v.secret(&a.Key) },
	})
	if len(v.d.errs) == before && a.Key == nil {
		v.failf("has no key", "key: the path of a file that has it")
	}
	*dst = a
}

// fillRecursor gives the recursor the LAN's addresses and networks.
func (c *Config) fillRecursor() {
	r, lan := c.Services.Recursor, c.Network.LAN
	if r == nil {
		return
	}
	if r.Listen == nil {
		r.Listen = slices.Clone(loopback)
		if lan != nil {
			r.Listen = append(append(r.Listen, lan.Routers(4)...), lan.Routers(6)...)
		}
	}
	if r.Allow == nil {
		r.Allow = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8), netip.PrefixFrom(loopback[1], 128)}
		if lan != nil {
			r.Allow = append(append(r.Allow, lan.Prefixes(4)...), lan.Prefixes(6)...)
			r.AllowDelegated = c.Services.delegates()
		}
	}
}

// delegates tells whether clients of the LAN have addresses of what the provider delegates.
func (s *Services) delegates() bool {
	return s.Radvd != nil && s.Radvd.Delegated || s.KeaDHCP6 != nil && s.KeaDHCP6.Delegated != nil
}
