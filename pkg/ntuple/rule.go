// SPDX-License-Identifier: GPL-2.0-only

// Package ntuple has rules that sort packets by their addresses, protocol, ports and
// VLAN, as network interfaces do it ("n-tuple", Flow Director): what they match, which of
// them a NIC takes, and how the kernel is told. See include/uapi/linux/ethtool.h.
package ntuple

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// Rule matches packets and says what becomes of them. What is zero matches all. A
// fragment has no transport protocol.
type Rule struct {
	// Family is 4 or 6.
	Family int `json:"family,omitempty"`
	// Proto is the transport protocol's number.
	Proto uint8 `json:"proto,omitempty"`
	// Src and Dst are of the family.
	Src netip.Prefix `json:"src,omitzero"`
	Dst netip.Prefix `json:"dst,omitzero"`
	// Ports are those of TCP, UDP and SCTP.
	SrcPort uint16 `json:"sport,omitempty"`
	DstPort uint16 `json:"dport,omitempty"`
	// VLAN is the identifier of an 802.1Q tag, if Tagged; else a tag is no matter.
	VLAN   uint16 `json:"vlan,omitempty"`
	Tagged bool   `json:"tagged,omitempty"`

	Action Action `json:"action"`
	// Queue is the receive queue.
	Queue uint32 `json:"queue,omitempty"`
	// CPUs share the flows.
	CPUs []int `json:"cpus,omitempty"`
}

// Action is what becomes of packets.
type Action string

// Actions.
const (
	Drop    Action = "drop"
	ToQueue Action = "queue"
	ToCPU   Action = "cpu"
)

// Protocols by name; those with ports are the first three.
var protocols = []struct {
	name   string
	number uint8
	family int // that it belongs to; 0: either
}{{"tcp", 6, 0}, {"udp", 17, 0}, {"sctp", 132, 0}, {"icmp", 1, 4}, {"icmpv6", 58, 6}}

// MaxCPUs is how many a rule can name.
const MaxCPUs = 64

// HasPorts tells whether a protocol is one whose ports a rule can name.
func HasPorts(proto uint8) bool { return proto == 6 || proto == 17 || proto == 132 }

// ProtocolWords are what [Protocol] takes, but for numbers.
const ProtocolWords = "tcp, udp, sctp, with a 4 or 6 behind it for one family, icmp, icmpv6, ip4, ip6, or a number"

// Protocol reads a protocol such as tcp, tcp4, icmp or 47, or a family alone: ip4.
func Protocol(word string) (proto uint8, family int, err error) {
	if n, err := strconv.ParseUint(word, 10, 8); err == nil && n > 0 && strconv.FormatUint(n, 10) == word {
		return uint8(n), 0, nil
	}
	for _, p := range protocols {
		switch {
		case word == p.name:
			return p.number, p.family, nil
		case p.family == 0 && (word == p.name+"4" || word == p.name+"6"):
			return p.number, int(word[len(word)-1] - '0'), nil
		}
	}
	switch word {
	case "ip4":
		return 0, 4, nil
	case "ip6":
		return 0, 6, nil
	}
	return 0, 0, fmt.Errorf("no protocol %q", word)
}

// kind is the protocol and the family as one word; empty if both do not matter.
func (r *Rule) kind() string {
	family := ""
	if r.Family != 0 {
		family = strconv.Itoa(r.Family)
	}
	for _, p := range protocols {
		if r.Proto == p.number && p.family == 0 {
			return p.name + family
		}
		if r.Proto == p.number && r.Family == p.family {
			return p.name
		}
	}
	switch {
	case r.Proto != 0 && family != "":
		return "ip" + family + " proto " + strconv.Itoa(int(r.Proto))
	case r.Proto != 0:
		return "proto " + strconv.Itoa(int(r.Proto))
	case family != "":
		return "ip" + family
	}
	return ""
}

// MatchText is what it matches as text: equal texts, equal matches.
func (r *Rule) MatchText() string {
	words := []string{r.kind()}
	if words[0] == "" {
		words = nil
	}
	if r.Src.IsValid() {
		words = append(words, "src", prefixText(r.Src))
	}
	if r.Dst.IsValid() {
		words = append(words, "dst", prefixText(r.Dst))
	}
	if r.SrcPort != 0 {
		words = append(words, "sport", strconv.Itoa(int(r.SrcPort)))
	}
	if r.DstPort != 0 {
		words = append(words, "dport", strconv.Itoa(int(r.DstPort)))
	}
	if r.Tagged {
		words = append(words, "vlan", strconv.Itoa(int(r.VLAN)))
	}
	if len(words) == 0 {
		return "all"
	}
	return strings.Join(words, " ")
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// String is the rule as [Parse] reads it.
func (r *Rule) String() string {
	switch r.Action {
	case ToQueue:
		return fmt.Sprintf("%s queue %d", r.MatchText(), r.Queue)
	case ToCPU:
		return r.MatchText() + " cpu " + cpus.Format(r.CPUs)
	}
	return r.MatchText() + " " + string(r.Action)
}

// Parse reads what [Rule.String] writes.
func Parse(text string) (r Rule, err error) {
	words := strings.Fields(text)
	next := func() string {
		if len(words) == 0 {
			err = errors.Join(err, errors.New("it ends early"))
			return ""
		}
		w := words[0]
		words = words[1:]
		return w
	}
	number := func(bits int) uint64 {
		n, e := strconv.ParseUint(next(), 10, bits)
		err = errors.Join(err, e)
		return n
	}
	for len(words) > 0 && err == nil {
		switch w := next(); w {
		case "all":
		case "src", "dst":
			var p netip.Prefix
			p, err = ParsePrefix(next())
			if w == "src" {
				r.Src = p
			} else {
				r.Dst = p
			}
		case "sport":
			r.SrcPort = uint16(number(16))
		case "dport":
			r.DstPort = uint16(number(16))
		case "proto":
			r.Proto = uint8(number(8))
		case "vlan":
			r.VLAN, r.Tagged = uint16(number(12)), true
		case "drop":
			r.Action = Drop
		case "queue":
			r.Action, r.Queue = ToQueue, uint32(number(32))
		case "cpu":
			r.Action = ToCPU
			r.CPUs, err = cpus.Parse(next())
		default:
			r.Proto, r.Family, err = Protocol(w)
		}
	}
	if err == nil && r.Action == "" {
		err = errors.New("no action")
	}
	if err != nil {
		return r, fmt.Errorf("rule %q: %w", text, err)
	}
	return r, nil
}

// ParsePrefix reads an address or a prefix without bits behind its length.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is no address or prefix", s)
	}
	return p, nil
}

// Families are the rule, or two of it where it is for both families and matches
// a transport protocol: a NIC knows those of one family.
func (r *Rule) Families() []Rule {
	if r.Family != 0 || r.Proto == 0 {
		return []Rule{*r}
	}
	v4, v6 := *r, *r
	v4.Family, v6.Family = 4, 6
	return []Rule{v4, v6}
}

// Overlaps tells whether there is a packet that both rules match.
func (r *Rule) Overlaps(o *Rule) bool {
	differ := func(a, b int) bool { return a != 0 && b != 0 && a != b }
	apart := func(a, b netip.Prefix) bool { return a.IsValid() && b.IsValid() && !a.Overlaps(b) }
	return !differ(r.Family, o.Family) && !differ(int(r.Proto), int(o.Proto)) &&
		!differ(int(r.SrcPort), int(o.SrcPort)) && !differ(int(r.DstPort), int(o.DstPort)) &&
		!(r.Tagged && o.Tagged && r.VLAN != o.VLAN) && !apart(r.Src, o.Src) && !apart(r.Dst, o.Dst)
}

// SameAction tells whether the same becomes of packets.
func (r *Rule) SameAction(o *Rule) bool {
	return r.Action == o.Action && r.Queue == o.Queue && slices.Equal(r.CPUs, o.CPUs)
}
