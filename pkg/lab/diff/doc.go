// SPDX-License-Identifier: GPL-2.0-only

// Package diff compares two routers packet by packet: one with the kernel's
// nftables and nf_conntrack, one with l2d. Both have the same interfaces,
// addresses, neighbours and ruleset, and get the same packets by the same
// interfaces. What leaves them, what is delivered to them and what their rules
// count has to be the same, but for free choices: a translated source port, the
// identification of a packet that the router itself makes.
//
// Everything lives in network namespaces without a name and on a BPF file
// system without a mount point, so nothing is left when the process ends.
package diff

import (
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// Difference is a known one between l2d and the kernel. Traffic that meets one
// is not generated; the comparison itself knows no exceptions.
type Difference struct {
	What, Why string
}

// Differences lists what the rig keeps away from.
var Differences = []Difference{
	{"TTL or hop limit of 1, packets over the path's MTU", "the kernel answers them between prerouting and forward; l2d asks the ruleset first"},
	{"sources that no host may have (127.0.0.0/8, multicast, ...)", "the kernel's routing drops them between prerouting and input or forward; l2d shows them to the chains first"},
	{"sources that are the router's own addresses", "the kernel's routing drops them; l2d forwards them. Answers to copies of frames can be like that"},
	{"fragments, where rules copy packets to an address", "the kernel copies the datagram, and cuts it again; l2d copies none that came in fragments"},
	{"link-layer headers of copies to an address", "the kernel's copy has room for one, and anything in it; l2d's has the one that the packet came with"},
	{"multicast", "the kernel drops what nobody has joined before the input chains; l2d leaves that to the stack behind them"},
	{"flows of packets with an IPv6 authentication header", "nf_conntrack and nftables look for the transport header behind it; to l2d it is the transport header"},
	{"UDP-Lite of more than 255 bytes", "nf_conntrack takes a part of the length for all of it, and right checksums for wrong ones"},
	{"wrong transport checksums", "nf_conntrack calls them invalid; l2d does not verify what it does not write"},
	{"forwarding back by the interface of arrival", "the kernel also sends an ICMPv6 redirect"},
	{"addresses without a neighbour", "the kernels' timers decide when they give up"},
	{"segments out of the window of connections whose handshake was not seen, or not whole", "what both then believe of the window is not always the same"},
	{"ICMP queries and answers with a code other than 0", "nf_conntrack has the code in its tuple, so an answer with another code is invalid; l2d does not look at it"},
	{"two flows of a protocol without ports that masquerading makes one", "both drop the second; the kernel does so behind the last chain, l2d before the postrouting chains after NAT"},
	{"rules about a port that NAT chose", "the choice is free: where chains see it, clients have different ports"},
	{"what translations the flow of an echo has whose identifier another one has behind a forward", "the kernel's dnat replaces the identifier; l2d's source translation does"},
	{"how long a simultaneous open of TCP lives", "nf_conntrack has no setting for it; to l2d it is one that begins"},
	{"checksums of SCTP in what a translated ICMP error quotes", "the kernel makes them over the part that is quoted; l2d leaves them as they came"},
	{"ICMPv6 errors of a reject statement to where another interface leads", "the kernel sends them from an address of the interface that the packet came by, l2d from one of the interface that they leave by"},
	{"rules about what the error of a reject statement quotes", "of a translated flow, the kernel translates it behind the rules; to l2d's it is as it leaves"},
	{"rejects of the router's own packets", "the kernel's answers go over lo, through its chains; l2d's come in by the interface"},
	{"a maximum segment size at an odd offset that a rule writes", "the kernel's checksum is wrong then; l2d's is right"},
	{"ports of UDP datagrams without a checksum that a rule writes", "the kernel makes a checksum of what is none; l2d leaves it out"},
	{"IPv6 headers of packets for the router that a rule writes", "conntrack leaves the sum of the whole packet in it, which the rule does not correct: the kernel's stack drops UDP of more than 68 bytes of data for a wrong checksum; l2d's takes it"},
	{"IPv4 options in what a rule rejects", "the kernel's ICMP errors answer some options with options"},
	{"recorded routes and timestamps with room, source routes", "the kernel acts on them; l2d forwards them as they are"},
	{"DCCP that is rejected", "kernels that no longer know the protocol take its checksum for one over the whole packet, and answer only what has a right one"},
	{"rejected DHCP", "the kernel answers it and shows it to packet sockets, too; l2d only shows it to them"},
	{"traffic over lo", "l2d does not filter it"},
	{"the interface that sockets are told of what dnat at output sends to the router", "the kernel tells that of the address; l2d lo, which the packet has come by"},
	{"the policies' own counters", "nftables has none"},
	{"fib of an interface at input", "of a packet whose socket it has found, the kernel takes the interface that the connection came by last"},
	{"rules that add to a full set what they have deleted", "the kernel's elements go when its collector runs"},
	{"limits per second, minute and hour", "the verdict would depend on the moment; the rig makes them limits per day, with the same burst"},
}

// isOwn tells packets from an address of the router's.
func (t *trial) isOwn(s shot) bool {
	p, ok := parse(s.ip[0][0])
	return ok && slices.ContainsFunc(t.ports, func(o port) bool { return o.addrs[version(p.src)].Addr() == p.src })
}

// meetsOneChoice tells packets to a port that one of the routers has chosen for a flow, and
// the other one has not.
func (t *trial) meetsOneChoice(s shot) bool {
	var names [2]uint16
	for i, c := range t.chosen {
		if p, ok := parse(firstOf(s.ip[i])); ok {
			if k, ok := replyKey(p); ok {
				names[i] = c.name[k]
			}
		}
	}
	return names[0] != names[1]
}

// rejectsOwn finds rules that answer what the router sends itself.
var rejectsOwn = regexp.MustCompile(`hook output(?:[^{}]|\{[^{}]*\})*reject`)

// asksProtocol finds rules about what is in a flow's tuple besides addresses.
var asksProtocol = regexp.MustCompile(`ct (?:protocol|\w+ (?:protocol|proto-))`)

// toSelf finds rules that may send what the router sends to itself.
var toSelf = regexp.MustCompile(`hook output(?:[^{}]|\{[^{}]*\})*(?:redirect|dnat)`)

// copiesTo finds rules that copy packets to an address.
var copiesTo = regexp.MustCompile(`dup to [^"]`)

// avoided tells whether a packet may meet a difference that no traffic can know
// of: it is not sent.
func (t *trial) avoided(s shot) bool {
	if s.port >= 0 && t.isOwn(s) || t.copies && len(s.ip[0]) > 1 || t.meetsOneChoice(s) {
		return true
	}
	p, ok := parse(firstOf(s.ip[0]))
	if !ok {
		return false
	}
	if to, moved := t.moved[p.dst]; moved && to == s.port && p.dst.Is6() {
		return true // back by the interface of arrival
	}
	if p.proto == unix.IPPROTO_AH && p.src.Is6() && t.asksProtocol {
		return true
	}
	if !t.rejects {
		return false
	}
	dhcp := p.proto == unix.IPPROTO_UDP && len(p.th) >= 4 && (be16(p.th[2:]) == 67 || be16(p.th[2:]) == 68)
	return p.proto == protoDCCP || dhcp && p.src.Is4() || t.rejectsOwn && s.port < 0
}
