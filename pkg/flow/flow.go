// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"fmt"
	"net/netip"
	"time"
)

// Direction is one direction of a flow: what its packets arrive with.
type Direction struct {
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Packets uint64         `json:"packets"`
	Bytes   uint64         `json:"bytes"` // from the network header on
	// Zone of connection tracking; 0 unless a rule sets one.
	Zone uint16 `json:"zone,omitempty"`
}

// Flow is a tracked connection.
type Flow struct {
	// Protocol is the name of the transport protocol, or its number.
	Protocol string `json:"protocol"`
	// State is the state of TCP, or of SCTP, as conntrack names it; empty for others.
	State string `json:"state,omitempty"`
	// Confirmed flows cannot be evicted; others have had no complete answer.
	Confirmed bool `json:"confirmed"`
	// Replied: packets have been seen both ways.
	Replied bool `json:"replied"`
	// Assured TCP connections have been acknowledged both ways; UDP exchanges
	// went on for more than two seconds.
	Assured bool `json:"assured"`
	// Masqueraded: a masquerade statement has given it the address of the
	// interface that it left by.
	Masqueraded bool `json:"masqueraded,omitempty"`
	// ID is the flow's number, which rules know as ct id: it is that of the tuple that began the flow, and so
	// of the next flow that this begins.
	ID uint32 `json:"id"`
	// Mark is what rules have set as ct mark.
	Mark uint32 `json:"mark,omitempty"`
	// Labels are the bits that rules have set as ct label, such as "0,3".
	Labels string `json:"labels,omitempty"`
	// Expires is the time that the flow lives on without a packet.
	Expires time.Duration `json:"expires_ns"`
	Age     time.Duration `json:"age_ns"`
	// Original is the direction of the first packet. A query's identifier
	// stands for an ICMP flow's port, its request type and, above eight bits, code for the other.
	Original Direction `json:"original"`
	Reply    Direction `json:"reply"`
	// In and Out are the interfaces that packets of the original direction come
	// in and leave by, as the last ones that changed them did; empty when it is
	// the router itself, or not known. In is where answers go, once there are some.
	In  string `json:"in,omitempty"`
	Out string `json:"out,omitempty"`

	number uint8
	out    uint16
}

// OutIndex is the index of the interface that Out names; 0: none.
func (f *Flow) OutIndex() int { return int(f.out) }

// stateNames are those of nf_conntrack, by protocol, and by enum tcp_state or sctp_state
// of bpf/lib/types.h.
var stateNames = map[uint8][]string{
	protoTCP: {
		"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
		"CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
	},
	protoSCTP: {
		"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED",
		"SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT",
	},
}

var protocolNames = map[uint8]string{
	1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 50: "esp",
	51: "ah", 58: "icmpv6", 132: "sctp", 136: "udplite",
}

// ProtocolName is the name of an IP protocol, or its number in digits.
func ProtocolName(n uint8) string {
	if name, ok := protocolNames[n]; ok {
		return name
	}
	return fmt.Sprint(n)
}

const (
	protoTCP  = 6
	protoSCTP = 132
)

// SrcNAT tells whether the source's address or port is translated.
func (f *Flow) SrcNAT() bool { return f.Original.Src != f.Reply.Dst }

// DstNAT tells whether the destination's address or port is translated.
func (f *Flow) DstNAT() bool { return f.Original.Dst != f.Reply.Src }

// NAT tells whether the flow's addresses or ports are translated.
func (f *Flow) NAT() bool { return f.SrcNAT() || f.DstNAT() }

// String is the flow on one line, in conntrack's manner.
func (f *Flow) String() string {
	s := fmt.Sprintf("%-6s %6d", f.Protocol, int(f.Expires.Seconds()))
	if f.State != "" {
		s += " " + f.State
	}
	s += f.direction(f.Original, f.query(f.Original.Src, f.Original.Dst, false))
	if !f.Replied {
		s += " [UNREPLIED]"
	}
	s += f.direction(f.Reply, f.query(f.Reply.Dst, f.Reply.Src, true))
	if f.Assured {
		s += " [ASSURED]"
	}
	if f.Confirmed {
		s += " [CONFIRMED]"
	}
	if f.Mark != 0 {
		s += fmt.Sprintf(" mark=%d", f.Mark)
	}
	if f.Labels != "" {
		s += " labels=" + f.Labels
	}
	if f.In != "" {
		s += " in=" + f.In
	}
	if f.Out != "" {
		s += " out=" + f.Out
	}
	return s
}

// answers are the types of ICMP and ICMPv6 that answer queries.
var answers = map[uint8]uint8{8: 0, 13: 14, 15: 16, 17: 18, 128: 129, 139: 140}

// query is what a direction of ICMP queries, or of their answers, has in the place of
// ports, from who asks and who is asked; empty for other protocols.
func (f *Flow) query(asks, asked netip.AddrPort, answer bool) string {
	if f.Protocol != "icmp" && f.Protocol != "icmpv6" {
		return ""
	}
	typ, code := uint8(asked.Port()), asked.Port()>>8
	if answer {
		typ = answers[typ]
	}
	return fmt.Sprintf(" type=%d code=%d id=%d", typ, code, asks.Port())
}

func (f *Flow) direction(d Direction, query string) string {
	s := fmt.Sprintf(" src=%s dst=%s", d.Src.Addr(), d.Dst.Addr())
	if query != "" {
		s += query
	} else if d.Src.Port() != 0 || d.Dst.Port() != 0 {
		s += fmt.Sprintf(" sport=%d dport=%d", d.Src.Port(), d.Dst.Port())
	}
	if d.Zone != 0 {
		s += fmt.Sprintf(" zone=%d", d.Zone)
	}
	return s + fmt.Sprintf(" packets=%d bytes=%d", d.Packets, d.Bytes)
}
