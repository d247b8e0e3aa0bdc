// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"net/netip"
	"strings"
)

// Filter selects flows; a zero field selects all.
type Filter struct {
	// Prefix matches any address of either direction.
	Prefix netip.Prefix
	// Port matches any port of either direction.
	Port uint16
	// Protocol is a name as in [Flow].
	Protocol string
	// State is a TCP state, without regard to case.
	State string
	// Mark and Zone select flows with this ct mark, or ct zone of either
	// direction, if they are given: also 0.
	Mark *uint32
	Zone *uint16
}

func (f Filter) match(fl *Flow) bool {
	ends := [...]netip.AddrPort{fl.Original.Src, fl.Original.Dst, fl.Reply.Src, fl.Reply.Dst}
	any := func(ok func(netip.AddrPort) bool) bool {
		for _, e := range ends {
			if ok(e) {
				return true
			}
		}
		return false
	}
	switch {
	case f.Prefix.IsValid() && !any(func(e netip.AddrPort) bool { return f.Prefix.Contains(e.Addr()) }),
		f.Port != 0 && !any(func(e netip.AddrPort) bool { return e.Port() == f.Port }),
		f.Protocol != "" && !strings.EqualFold(f.Protocol, fl.Protocol),
		f.State != "" && !strings.EqualFold(f.State, fl.State),
		f.Mark != nil && *f.Mark != fl.Mark,
		f.Zone != nil && *f.Zone != fl.Original.Zone && *f.Zone != fl.Reply.Zone:
		return false
	}
	return true
}
