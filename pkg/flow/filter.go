// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"net/netip"
	"strings"
)

// Filter selects flows: those that all of its fields agree with. A zero field
// agrees with every flow. [Filter.Set] has the words for them.
type Filter struct {
	// Prefix matches any address of either direction, the others one address
	// of one direction, as its packets arrive.
	Prefix                               netip.Prefix
	OrigSrc, OrigDst, ReplySrc, ReplyDst netip.Prefix
	// Port matches any port of either direction, likewise.
	Port                                                 uint16
	OrigSrcPort, OrigDstPort, ReplySrcPort, ReplyDstPort uint16
	// Protocol is a name as in [Flow].
	Protocol string
	// Family is 4 or 6.
	Family uint8
	// State is a state as in [Flow], without regard to case.
	State string
	// Mark selects flows with this ct mark, if it is given: also 0. MarkMask has
	// the bits of the mark that are looked at; 0: all.
	Mark     *uint32
	MarkMask uint32
	// Label is a bit of the ct labels that is set.
	Label *uint8
	// Zone is a ct zone of either direction, the others that of one; also 0.
	Zone, OrigZone, ReplyZone *uint16
	// Interface is one that packets of the flow come in or leave by; In and Out
	// are those of its original direction.
	Interface, In, Out string
	// NAT is how the flow is translated.
	NAT NAT
	// Status has what is true of the flow.
	Status Status
}

// NAT is a kind of translation that a filter selects.
type NAT uint8

// Kinds of translation.
const (
	NATSrc  NAT = iota + 1 // of the source
	NATDst                 // of the destination
	NATAny                 // of either
	NATNone                // of neither
)

// Status is a set of conditions that a filter selects flows by.
type Status uint8

// Conditions of a [Status].
const (
	StatusSeenReply Status = 1 << iota
	StatusUnreplied
	StatusAssured
	StatusConfirmed
	StatusHalfOpen
)

// IsZero tells whether the filter selects all flows.
func (f *Filter) IsZero() bool { return *f == Filter{} }

// Match tells whether the filter selects a flow.
func (f *Filter) Match(fl *Flow) bool {
	return f.matchAddresses(fl) && f.matchPorts(fl) && f.matchTracking(fl) && f.matchInterfaces(fl) &&
		f.NAT.match(fl) && f.Status.match(fl)
}

// ends are the addresses and ports of both directions.
func ends(fl *Flow) [4]netip.AddrPort {
	return [...]netip.AddrPort{fl.Original.Src, fl.Original.Dst, fl.Reply.Src, fl.Reply.Dst}
}

func (f *Filter) matchAddresses(fl *Flow) bool {
	any := !f.Prefix.IsValid()
	for i, p := range [...]netip.Prefix{f.OrigSrc, f.OrigDst, f.ReplySrc, f.ReplyDst} {
		a := ends(fl)[i].Addr()
		if p.IsValid() && !p.Contains(a) {
			return false
		}
		any = any || f.Prefix.Contains(a)
	}
	return any && (f.Family == 0 || f.Family == 4 == fl.Original.Src.Addr().Is4())
}

func (f *Filter) matchPorts(fl *Flow) bool {
	any := f.Port == 0
	for i, n := range [...]uint16{f.OrigSrcPort, f.OrigDstPort, f.ReplySrcPort, f.ReplyDstPort} {
		port := ends(fl)[i].Port()
		if n != 0 && n != port {
			return false
		}
		any = any || f.Port == port
	}
	return any
}

func (f *Filter) matchTracking(fl *Flow) bool {
	mask := f.MarkMask
	if mask == 0 {
		mask = 1<<32 - 1
	}
	orig, reply := fl.Original.Zone, fl.Reply.Zone
	switch {
	case f.Protocol != "" && !strings.EqualFold(f.Protocol, fl.Protocol),
		f.State != "" && !strings.EqualFold(f.State, fl.State),
		f.Mark != nil && (*f.Mark^fl.Mark)&mask != 0,
		f.Label != nil && !hasLabel(fl.Labels, *f.Label),
		f.Zone != nil && *f.Zone != orig && *f.Zone != reply,
		f.OrigZone != nil && *f.OrigZone != orig,
		f.ReplyZone != nil && *f.ReplyZone != reply:
		return false
	}
	return true
}

func (f *Filter) matchInterfaces(fl *Flow) bool {
	return (f.Interface == "" || f.Interface == fl.In || f.Interface == fl.Out) &&
		(f.In == "" || f.In == fl.In) && (f.Out == "" || f.Out == fl.Out)
}

func (n NAT) match(fl *Flow) bool {
	switch n {
	case NATSrc:
		return fl.SrcNAT()
	case NATDst:
		return fl.DstNAT()
	case NATAny:
		return fl.NAT()
	case NATNone:
		return !fl.NAT()
	}
	return true
}

func (s Status) match(fl *Flow) bool {
	is := func(b bool, yes, no Status) Status {
		if b {
			return yes
		}
		return no
	}
	have := is(fl.Replied, StatusSeenReply, StatusUnreplied) |
		is(fl.Assured, StatusAssured, 0) |
		is(fl.Confirmed, StatusConfirmed, StatusHalfOpen)
	return s&^have == 0
}
