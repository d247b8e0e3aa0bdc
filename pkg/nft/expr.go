// SPDX-License-Identifier: GPL-2.0-only

package nft

import "time"

// Expr is an expression of a rule: one of the types of this package whose name
// begins with Expr, or [Unknown].
type Expr interface {
	// ExprName is the name of the expression in the kernel, such as "payload".
	ExprName() string
}

// Register is a register number as in netlink: NFT_REG_1 to NFT_REG_4 are four
// words each, NFT_REG32_00 to NFT_REG32_15 one word. See [Register.Word].
type Register uint32

// NFT_REG_VERDICT of linux/netfilter/nf_tables.h.
const RegVerdict Register = 0

// Word returns the index of the register's first 32-bit word, 0 to 15, or false
// when it holds no data.
func (r Register) Word() (int, bool) {
	switch {
	case r >= 1 && r <= 4:
		return int(r-1) * 4, true
	case r >= 8 && r <= 23:
		return int(r - 8), true
	}
	return 0, false
}

// Unknown is an expression that this package does not understand, or that has
// an attribute which it does not understand.
type Unknown struct {
	Name string
	// Why says what is not understood, when the expression as such is known.
	Why string
}

// ExprName implements [Expr].
func (e *Unknown) ExprName() string { return e.Name }

// ExprMeta loads a property of the packet, or sets it.
type ExprMeta struct {
	Key MetaKey
	Reg Register
	// Set writes the register to the packet instead of loading it.
	Set bool
}

// ExprName implements [Expr].
func (*ExprMeta) ExprName() string { return "meta" }

// PayloadBase says where a payload offset counts from.
type PayloadBase uint32

// NFT_PAYLOAD_*_HEADER.
const (
	PayloadLink PayloadBase = iota
	PayloadNetwork
	PayloadTransport
	PayloadInner
	PayloadTunnel
)

// ExprPayload loads bytes of the packet, or writes them.
type ExprPayload struct {
	Base   PayloadBase
	Offset uint32 // bytes
	Len    uint32 // bytes
	Reg    Register
	// Set writes the register to the packet instead of loading it, and updates
	// checksums.
	Set bool
	// CsumType is the kind of the checksum at CsumOffset of the same header.
	CsumType   CsumType
	CsumOffset uint32 // bytes
	// CsumFlags are NFT_PAYLOAD_L4CSUM_*.
	CsumFlags uint32
}

// CsumType is a kind of checksum.
type CsumType uint32

// NFT_PAYLOAD_CSUM_*.
const (
	CsumNone CsumType = iota
	CsumInet
	CsumSCTP
)

// CsumPseudoHeader is NFT_PAYLOAD_L4CSUM_PSEUDOHDR: the transport checksum covers
// what is written.
const CsumPseudoHeader = 1

// ExprName implements [Expr].
func (*ExprPayload) ExprName() string { return "payload" }

// ExthdrOp is where a header or an option is looked for.
type ExthdrOp uint32

// NFT_EXTHDR_OP_*.
const (
	ExthdrIPv6 ExthdrOp = iota
	ExthdrTCP
	ExthdrIPv4
	ExthdrSCTP
	ExthdrDCCP
)

// ExthdrAction is what is done with the header that was found.
type ExthdrAction int

// What ExprExthdr does.
const (
	ExthdrLoad ExthdrAction = iota
	ExthdrWrite
	// ExthdrReset fills a TCP option with no-operations.
	ExthdrReset
)

// ExprExthdr loads bytes of an extension header, an option or a chunk, or
// writes them.
type ExprExthdr struct {
	Op     ExthdrOp
	Action ExthdrAction
	// Type of the header that is looked for.
	Type        uint8
	Offset, Len uint32 // bytes
	// Present loads whether there is such a header.
	Present bool
	Reg     Register
}

// ExprName implements [Expr].
func (*ExprExthdr) ExprName() string { return "exthdr" }

// InnerFlags are what a tunnel carries, from the outside in.
type InnerFlags uint32

// NFT_INNER_*.
const (
	// InnerHeaderSize is a header of the tunnel's own.
	InnerHeaderSize InnerFlags = 1 << iota
	InnerLink
	InnerNetwork
	InnerTransport
)

// InnerGeneve is NFT_INNER_GENEVE, the one type that the kernel knows more about
// than its name: its header has options.
const InnerGeneve = 2

// ExprInner loads from a packet inside of a tunnel.
type ExprInner struct {
	// Type is the kind of the tunnel, a number by which the kernel tells two from
	// each other.
	Type       uint32
	Flags      InnerFlags
	HeaderSize uint32 // bytes
	// Expr is an [ExprPayload] or an [ExprMeta], about the packet inside.
	Expr Expr
}

// ExprName implements [Expr].
func (*ExprInner) ExprName() string { return "inner" }

// CmpOp is a comparison; bytes are compared as memcmp does.
type CmpOp uint32

// NFT_CMP_*; a range knows the first two.
const (
	CmpEq CmpOp = iota
	CmpNeq
	CmpLt
	CmpLte
	CmpGt
	CmpGte
)

// ExprCmp goes on if the register compares with the data.
type ExprCmp struct {
	Op   CmpOp
	Reg  Register
	Data []byte
}

// ExprName implements [Expr].
func (*ExprCmp) ExprName() string { return "cmp" }

// ExprRange goes on if the register is in the range, or outside for [CmpNeq].
type ExprRange struct {
	Op       CmpOp
	Reg      Register
	From, To []byte
}

// ExprName implements [Expr].
func (*ExprRange) ExprName() string { return "range" }

// BitwiseOp is a bit operation.
type BitwiseOp uint32

// NFT_BITWISE_*.
const (
	BitwiseMaskXor BitwiseOp = iota
	BitwiseLshift
	BitwiseRshift
	BitwiseAnd
	BitwiseOr
	BitwiseXor
)

// ExprBitwise computes Dst = (Src & Mask) ^ Xor, shifts by Shift bits, or combines
// Src with Src2, or with Data where that is there.
type ExprBitwise struct {
	Op        BitwiseOp
	Src, Dst  Register
	Len       uint32 // bytes
	Mask, Xor []byte
	Shift     uint32 // bits
	Src2      Register
	Data      []byte
}

// ExprName implements [Expr].
func (*ExprBitwise) ExprName() string { return "bitwise" }

// ExprByteorder swaps the bytes of each unit of Size bytes.
type ExprByteorder struct {
	Src, Dst Register
	// ToNetwork tells hton from ntoh.
	ToNetwork bool
	Len, Size uint32 // bytes
}

// ExprName implements [Expr].
func (*ExprByteorder) ExprName() string { return "byteorder" }

// ExprLookup goes on if the register is in the set.
type ExprLookup struct {
	Set    string
	Reg    Register
	Invert bool
	// Map tells that the element's data goes to Dst.
	Map bool
	Dst Register
}

// ExprName implements [Expr].
func (*ExprLookup) ExprName() string { return "lookup" }

// ExprCt loads a property of the packet's flow, or sets it.
type ExprCt struct {
	Key CtKey
	Reg Register
	// Direction is 0 for original, 1 for reply, -1 when not given.
	Direction int
	Set       bool
}

// ExprName implements [Expr].
func (*ExprCt) ExprName() string { return "ct" }

// ExprNotrack keeps the packet from connection tracking.
type ExprNotrack struct{}

// ExprName implements [Expr].
func (*ExprNotrack) ExprName() string { return "notrack" }

// ExprFlowOffload hands the packet's flow to a flow table.
type ExprFlowOffload struct{ Table string }

// ExprName implements [Expr].
func (*ExprFlowOffload) ExprName() string { return "flow_offload" }

// ExprCounter counts.
type ExprCounter struct {
	Packets, Bytes uint64
}

// ExprName implements [Expr].
func (*ExprCounter) ExprName() string { return "counter" }

// ExprLast notes when a packet came last.
type ExprLast struct{}

// ExprName implements [Expr].
func (*ExprLast) ExprName() string { return "last" }

// ExprLimit goes on while the rate is kept.
type ExprLimit struct {
	// Rate is packets or bytes in Unit seconds.
	Rate, Unit uint64
	Burst      uint32
	Bytes      bool
	// Over goes on for what exceeds the rate.
	Over bool
}

// ExprName implements [Expr].
func (*ExprLimit) ExprName() string { return "limit" }

// ExprQuota goes on until Bytes have passed; with Over, from then on.
type ExprQuota struct {
	Bytes, Consumed uint64
	Over            bool
}

// ExprName implements [Expr].
func (*ExprQuota) ExprName() string { return "quota" }

// ExprConnlimit goes on while it has met at most Count connections that are
// still there; with Over, when it has met more.
type ExprConnlimit struct {
	Count uint32
	Over  bool
}

// ExprName implements [Expr].
func (*ExprConnlimit) ExprName() string { return "connlimit" }

// ExprObjref evaluates an object: that of a name, or the one that Set has for
// the register.
type ExprObjref struct {
	Type ObjectType
	Name string
	Set  string
	Reg  Register
}

// ExprName implements [Expr].
func (*ExprObjref) ExprName() string { return "objref" }

// DynsetOp is what a rule does to a set.
type DynsetOp uint32

// NFT_DYNSET_OP_*.
const (
	DynsetAdd DynsetOp = iota
	DynsetUpdate
	DynsetDelete
)

// ExprDynset adds the register to a set, or takes it away.
type ExprDynset struct {
	Op  DynsetOp
	Set string
	Reg Register
	// Data tells that an element gets the data in DataReg.
	Data    bool
	DataReg Register
	// Timeout of the element; 0: the set's.
	Timeout time.Duration
	// Invert goes on where the element was not added.
	Invert bool
	// Exprs are the element's own, evaluated each time.
	Exprs []Expr
}

// ExprName implements [Expr].
func (*ExprDynset) ExprName() string { return "dynset" }

// ExprLog logs the packet.
type ExprLog struct {
	Prefix string
	// Level is a syslog level, 4 unless given; for the kernel's log only.
	Level uint32
	// Flags are NF_LOG_*.
	Flags uint32
	// Netlink sends to Group, at most Snaplen bytes of the packet.
	Netlink    bool
	Group      uint16
	Snaplen    uint32
	Qthreshold uint16
}

// ExprName implements [Expr].
func (*ExprLog) ExprName() string { return "log" }

// ExprImmediate loads a constant, or ends the rule with a verdict.
type ExprImmediate struct {
	Reg     Register
	Data    []byte
	Verdict *Verdict
}

// ExprName implements [Expr].
func (*ExprImmediate) ExprName() string { return "immediate" }

// ExprNumgen loads a number from Offset up to Offset+Modulus-1, in host byte
// order.
type ExprNumgen struct {
	Reg             Register
	Modulus, Offset uint32
	// Random tells a random number from the one after the last.
	Random bool
}

// ExprName implements [Expr].
func (*ExprNumgen) ExprName() string { return "numgen" }

// ExprHash loads a hash, scaled to Modulus values from Offset on, in host byte
// order: Jenkins' of Len bytes of Src, or one of the packet's flow.
type ExprHash struct {
	Src, Dst        Register
	Len             uint32 // bytes
	Modulus, Offset uint32
	Seed            uint32
	// Symmetric tells that the hash is the same for both directions of a flow.
	Symmetric bool
}

// ExprName implements [Expr].
func (*ExprHash) ExprName() string { return "hash" }

// RejectType says what a rejected packet is answered with.
type RejectType uint32

// NFT_REJECT_*.
const (
	RejectICMP RejectType = iota // an error of the packet's family
	RejectReset
	RejectICMPX // an error with a code for both families
)

// ExprReject drops the packet and answers it.
type ExprReject struct {
	Type RejectType
	// Code of the ICMP error; for [RejectICMPX] one of NFT_REJECT_ICMPX_*.
	Code uint8
}

// ExprName implements [Expr].
func (*ExprReject) ExprName() string { return "reject" }

// ExprDup sends a copy of the packet: to an address, by a device, or both. A
// register of 0 is none.
type ExprDup struct {
	Addr, Dev Register
}

// ExprName implements [Expr].
func (*ExprDup) ExprName() string { return "dup" }

// ExprFwd sends the frame by a device, and if there is an address by that
// neighbour.
type ExprFwd struct {
	Dev, Addr Register
	Family    Family // of the address
}

// ExprName implements [Expr].
func (*ExprFwd) ExprName() string { return "fwd" }
