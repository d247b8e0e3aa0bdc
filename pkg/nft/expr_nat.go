// SPDX-License-Identifier: GPL-2.0-only

package nft

// NATFlags are NF_NAT_RANGE_* of linux/netfilter/nf_nat.h.
type NATFlags uint32

// What a statement asks for, besides an address or a port.
const (
	NATAddress     NATFlags = 1 << iota // NF_NAT_RANGE_MAP_IPS
	NATPorts                            // NF_NAT_RANGE_PROTO_SPECIFIED
	NATRandom                           // NF_NAT_RANGE_PROTO_RANDOM
	NATPersistent                       // NF_NAT_RANGE_PERSISTENT
	NATFullyRandom                      // NF_NAT_RANGE_PROTO_RANDOM_FULLY
	NATPortOffset                       // NF_NAT_RANGE_PROTO_OFFSET
	NATPrefix                           // NF_NAT_RANGE_NETMAP
)

// NATRange are the registers of a range; 0: not given. Ports are in the first
// two bytes, in network byte order.
type NATRange struct {
	Flags            NATFlags
	AddrMin, AddrMax Register
	PortMin, PortMax Register
}

// ExprNAT translates the source or the destination of the packet's flow.
type ExprNAT struct {
	// Destination tells dnat from snat.
	Destination bool
	// Family of the addresses. In a table of both, packets of the other one are
	// left alone; [FamilyInet] is any.
	Family Family
	NATRange
}

// ExprName implements [Expr].
func (*ExprNAT) ExprName() string { return "nat" }

// ExprMasq translates the source to an address of the interface that the
// packet leaves by.
type ExprMasq struct{ NATRange }

// ExprName implements [Expr].
func (*ExprMasq) ExprName() string { return "masq" }

// ExprRedir translates the destination to the router itself.
type ExprRedir struct{ NATRange }

// ExprName implements [Expr].
func (*ExprRedir) ExprName() string { return "redir" }
