// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"fmt"
)

// NIC is what decides about which rules a network interface takes.
type NIC struct {
	// Driver is its name.
	Driver string
	// NTuple says that its feature rx-ntuple-filter is on, or is going to be.
	NTuple bool
}

// Placed is a rule and where it is.
type Placed struct {
	Rule
	// Hardware says that it is in the NIC, XDP that it is, or is known, in the
	// program: what the NIC puts into a queue is left alone there.
	Hardware, XDP bool
	// Why it is not in the NIC; empty if it is.
	Why string
	// Of is the index of the rule of the list that it comes from.
	Of int
}

// model is what is known of a driver: the kernel takes some rules, and the hardware
// does something else. Linux 7.3.
type model struct {
	driver string
	// refuses says why the NIC does not do what a rule says; empty if it does.
	refuses func(r *Rule) string
	// mask is what all rules that have a group in common must have in common, too.
	mask func(r *Rule) (group, mask string)
	// one is said of a rule whose mask is another one.
	one string
	// first and most are the locations of its rules; most 0: it does not matter.
	first, most uint32
}

var models = []model{
	// drivers/net/ethernet/intel/ixgbe: ixgbe_ethtool.c, ixgbe_82599.c
	{driver: "ixgbe", refuses: func(r *Rule) string {
		switch {
		case r.Family != 4:
			return "its filters are for IPv4 alone"
		case r.Proto != 0 && !HasPorts(r.Proto):
			return "its filters know TCP, UDP and SCTP alone"
		}
		return ""
	}, mask: func(r *Rule) (string, string) { return "", r.fields(r.Proto != 0) }, one: "its filters have one mask per port", most: 2000},
	// drivers/net/ethernet/intel/i40e/i40e_ethtool.c
	{driver: "i40e", refuses: func(r *Rule) string {
		switch {
		case !HasPorts(r.Proto):
			return "its filters for IP are for packets that are neither TCP, UDP nor SCTP"
		case r.Tagged:
			return "VLANs are left to XDP"
		}
		return r.inexact("its filters compare whole addresses")
	}, mask: func(r *Rule) (string, string) { return r.kind(), r.fields(true) }, one: "its filters have one mask per protocol and family", most: 1000},
	// drivers/net/ethernet/aquantia/atlantic/aq_filters.c: it looks at no mask.
	{driver: "atlantic", refuses: func(r *Rule) string {
		switch {
		case r.Family != 4:
			return "its filters for IPv6 exclude those for IPv4"
		case r.Proto != 0 && !HasPorts(r.Proto):
			return "its filters know TCP, UDP and SCTP alone"
		case r.Tagged:
			return "it forgets all of a rule but the VLAN"
		}
		return r.inexact("it takes a prefix for an address")
	}, first: 32, most: 8},
	// drivers/net/ethernet/broadcom/bnxt/bnxt_ethtool.c
	{driver: "bnxt_en", refuses: func(r *Rule) string {
		switch {
		case r.Proto != 6 && r.Proto != 17:
			return "its filters know TCP and UDP alone"
		case r.Tagged:
			return "its filters know no VLANs"
		}
		return r.inexact("prefixes are left to XDP")
	}, most: 1000},
}

// fields says which bits matter.
func (r *Rule) fields(proto bool) string {
	return fmt.Sprint(proto, r.Src.Bits(), r.Dst.Bits(), r.SrcPort != 0, r.DstPort != 0, r.Tagged)
}

// inexact refuses prefixes.
func (r *Rule) inexact(why string) string {
	if r.Src.IsValid() && !r.Src.IsSingleIP() || r.Dst.IsValid() && !r.Dst.IsSingleIP() {
		return why
	}
	return ""
}

func modelOf(driver string) *model {
	for i := range models {
		if models[i].driver == driver {
			return &models[i]
		}
	}
	return nil
}

// refuses says why a NIC does not take a rule.
func (n NIC) refuses(r *Rule) string {
	m := modelOf(n.Driver)
	switch {
	case r.Action == ToCPU:
		return "a NIC knows queues, not CPUs"
	case m == nil && r.Action == ToQueue:
		return "" // the kernel is asked
	case m == nil:
		return "what the driver " + n.Driver + " takes is not known"
	case !n.NTuple:
		return "its feature rx-ntuple-filter is off"
	}
	return m.refuses(r)
}

// placing is a placement that goes on.
type placing struct {
	nic   NIC
	list  []Placed
	masks map[string]string
	n     uint32
}

// Place decides for each rule of a list whether it goes to a NIC: if it takes it, and
// if the first rule that matches a packet still decides about it. The others are for
// the XDP program. A rule for a queue that is in neither has a reason in Why.
func Place(nic NIC, rules []Rule) []Placed {
	p := placing{nic: nic, masks: map[string]string{}}
	for i := range rules {
		for _, r := range rules[i].Families() {
			p.list = append(p.list, Placed{Rule: r, Of: i})
		}
	}
	// Only a NIC knows queues: their rules have the first say about masks.
	for i := range p.list {
		if p.list[i].Action == ToQueue {
			p.put(i)
		}
	}
	for i := range p.list {
		if r := &p.list[i]; r.Action != ToQueue {
			p.put(i)
			r.XDP = !r.Hardware
		}
	}
	for i := range p.list {
		r := &p.list[i]
		for j := range p.list[i+1:] {
			later := &p.list[i+1+j]
			r.XDP = r.XDP || r.Hardware && r.Action == ToQueue && later.XDP && r.Overlaps(&later.Rule)
		}
	}
	return p.list
}

// put has the NIC take a rule, or says why not.
func (p *placing) put(i int) {
	r := &p.list[i]
	if r.Why = p.nic.refuses(&r.Rule); r.Why == "" {
		r.Why = p.conflict(i)
	}
	if r.Why != "" {
		return
	}
	if m := modelOf(p.nic.Driver); m != nil && m.mask != nil {
		group, mask := m.mask(&r.Rule)
		p.masks[group] = mask
	}
	p.n++
	r.Hardware = true
}

// conflict says why a rule cannot be in the NIC with the others.
func (p *placing) conflict(i int) string {
	r, m := &p.list[i], modelOf(p.nic.Driver)
	if m != nil && m.mask != nil {
		group, mask := m.mask(&r.Rule)
		if other, ok := p.masks[group]; ok && other != mask {
			return m.one
		}
	}
	if m != nil && m.most > 0 && p.n >= m.most {
		return fmt.Sprintf("it has room for %d rules", m.most)
	}
	for j := range p.list[:i] {
		o := &p.list[j]
		if !o.Overlaps(&r.Rule) || o.SameAction(&r.Rule) {
			continue
		}
		if o.Hardware {
			return fmt.Sprintf("a packet can match %q, too, which is before it", o.String())
		}
		// What the NIC drops does not come to the program's rule.
		if r.Action == Drop {
			return fmt.Sprintf("%q is before it, and in XDP", o.String())
		}
	}
	return ""
}

// FirstLocation is the lowest location that a driver has for such rules.
func FirstLocation(driver string) uint32 {
	if m := modelOf(driver); m != nil {
		return m.first
	}
	return 0
}
