// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"slices"
	"strings"
)

// Kinds of links that can be made.
const (
	LinkBridge = "bridge"
	LinkVLAN   = "vlan"
	LinkDummy  = "dummy"
)

// VLAN protocols.
const (
	VLAN8021Q  = "802.1q"
	VLAN8021AD = "802.1ad"
)

// Link is a network interface that is made if it is not there, or that is there and
// has addresses.
type Link struct {
	Name string `json:"name"`
	// Kind is LinkBridge, LinkVLAN or LinkDummy; empty for one that is there.
	Kind string `json:"kind,omitempty"`
	// Members are the interfaces that are ports of the bridge.
	Members []string `json:"members,omitempty"`
	// Options of the bridge: those that are given.
	Options map[string]bool `json:"options,omitempty"`
	// Parent, ID and Protocol are those of the VLAN.
	Parent   string `json:"parent,omitempty"`
	ID       uint32 `json:"id,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	// Addresses are all that it has without a lifetime, but for those of the link
	// itself; nil leaves them alone.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// Optional says that the interface may be absent, Enforce has it set again when
	// something else has changed it, and Force does what a network manager thinks is
	// its own to do.
	Optional bool `json:"optional,omitempty"`
	Enforce  bool `json:"enforce,omitempty"`
	Force    bool `json:"force,omitempty"`

	at position
}

// At is an error with the place of the link in a file.
func (l *Link) At(file string) Error {
	return Error{File: file, Line: l.at.line, Column: l.at.column, Key: "host.links." + l.Name}
}

// Made are the names of the links that are made if they are not there, those of shapers
// among them.
func (h *Host) Made() (names []string) {
	for i := range h.Links {
		if h.Links[i].Kind != "" {
			names = append(names, h.Links[i].Name)
		}
	}
	for _, name := range h.Shaped() {
		names = append(names, Shaper(name))
	}
	return names
}

// BridgeOptions are the names of a bridge's options, which are those of its directory
// in sysfs but for stp.
var BridgeOptions = []string{"multicast_snooping", "stp", "vlan_filtering"}

func (d *decoder) links(v node, c *Host) {
	v.entries("interfaces by name, such as {br0: {kind: bridge, members: [eth1]}}", func(name, v node) {
		if !v.given(name) {
			return
		}
		l := Link{Name: name.text(), at: positionOf(name.n)}
		if !isInterfaceName(l.Name) {
			name.fail("an interface name of 1 to 15 characters without spaces, / or :, other than lo")
			return
		}
		before := len(d.errs)
		v.mapping(map[string]field{
			"kind":      func(v node) { v.oneOf(&l.Kind, LinkBridge, LinkVLAN, LinkDummy) },
			"members":   func(v node) { v.interfaceNames(&l.Members) },
			"options":   func(v node) { v.bridgeOptions(&l) },
			"parent":    func(v node) { v.str(&l.Parent, "an interface's name", isInterfaceName) },
			"id":        func(v node) { v.number(&l.ID, 1, 4094) },
			"protocol":  func(v node) { v.oneOf(&l.Protocol, VLAN8021Q, VLAN8021AD) },
			"addresses": func(v node) { v.prefixes(&l.Addresses) },
			"optional":  func(v node) { v.boolean(&l.Optional) },
			"enforce":   func(v node) { v.boolean(&l.Enforce) },
			"force":     func(v node) { v.boolean(&l.Force) },
		})
		if len(d.errs) == before {
			d.link(v, &l)
		}
		if len(d.errs) == before {
			c.Links = append(c.Links, l)
		}
	})
}

// link checks what goes with what.
func (d *decoder) link(v node, l *Link) {
	wrong := func(key, problem, want string) {
		d.add(Error{Line: l.at.line, Column: l.at.column, Key: v.key + key, Problem: problem, Want: want})
	}
	vlan := l.Kind == LinkVLAN
	switch {
	case vlan && l.Parent == "":
		wrong(".parent", "is missing", "the interface whose VLAN it is")
	case vlan && l.ID == 0:
		wrong(".id", "is missing", "a whole number from 1 to 4094")
	case !vlan && (l.Parent != "" || l.ID != 0 || l.Protocol != ""):
		wrong(".kind", "parent, id and protocol are of a VLAN", LinkVLAN)
	case l.Kind != LinkBridge && (l.Members != nil || l.Options != nil):
		wrong(".kind", "members and options are of a bridge", LinkBridge)
	case l.Kind != "" && l.Optional:
		wrong(".optional", "what is made is not optional", "no such key")
	case l.Kind == "" && l.Addresses == nil:
		wrong("", "nothing is declared of it", "a kind, or addresses")
	}
	if vlan && l.Protocol == "" {
		l.Protocol = VLAN8021Q
	}
}

func (v node) interfaceNames(dst *[]string) {
	*dst = []string{}
	v.list("names of interfaces", func(_ int, v node) {
		var name string
		v.str(&name, "an interface's name", isInterfaceName)
		switch {
		case name == "":
		case slices.Contains(*dst, name):
			v.failf("given twice", "each interface once")
		default:
			*dst = append(*dst, name)
		}
	})
}

func (v node) bridgeOptions(l *Link) {
	l.Options = map[string]bool{}
	fields := map[string]field{}
	for _, name := range BridgeOptions {
		fields[name] = func(v node) {
			var on bool
			v.boolean(&on)
			l.Options[name] = on
		}
	}
	v.mapping(fields)
}

// prefixes reads addresses with the length of their network.
func (v node) prefixes(dst *[]netip.Prefix) {
	*dst = []netip.Prefix{}
	v.list("addresses, such as [192.168.1.1/24]", func(_ int, v node) {
		const want = "an address and the length of its network's prefix, such as 192.168.1.1/24 or fd00::1/64"
		var text string
		if v.str(&text, want, isHostPrefix); text == "" {
			return
		}
		p := netip.MustParsePrefix(text)
		if slices.Contains(*dst, p) {
			v.failf("given twice", "each address once")
			return
		}
		*dst = append(*dst, p)
	})
}

func isHostPrefix(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Bits() > 0 && !p.Addr().Is4In6() && !p.Addr().IsUnspecified() && !p.Addr().IsMulticast() && !strings.Contains(s, "%")
}
