// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opReject drops the packet and has the dataplane answer it.
type opReject struct {
	// value of pkt.reject.
	value uint32
}

func (opReject) isOp() {}

// REJECT_* of bpf/lib/types.h.
const (
	rejectCode6Shift = 8
	rejectKindShift  = 16
	rejectICMP       = 1
	rejectReset      = 2
	rejectAfterNAT   = 1 << 24
	rejectFrame      = 1 << 25
)

// rejectICMPX are the codes for IPv4 and IPv6 of the codes for both:
// nft_reject_icmp_code() and nft_reject_icmpv6_code() of the kernel.
var rejectICMPX = [][2]uint32{
	{0, 0},  // no-route: net unreachable, no route
	{3, 4},  // port-unreachable
	{1, 3},  // host-unreachable: host, address unreachable
	{13, 1}, // admin-prohibited: filtered, prohibited
}

func (l *lowerer) reject(e *nft.ExprReject) error {
	var o opReject
	switch {
	case e.Type == nft.RejectReset:
		o.value = rejectReset << rejectKindShift
	case e.Type == nft.RejectICMP:
		o.value = rejectICMP<<rejectKindShift | uint32(e.Code)<<rejectCode6Shift | uint32(e.Code)
	case e.Type == nft.RejectICMPX && int(e.Code) < len(rejectICMPX):
		codes := rejectICMPX[e.Code]
		o.value = rejectICMP<<rejectKindShift | codes[1]<<rejectCode6Shift | codes[0]
	default:
		return refuse("tcp reset, icmp, icmpv6 and icmpx types", "type %d, code %d", e.Type, e.Code)
	}
	if l.anyFrame() {
		o.value |= rejectFrame
	}
	l.p.rejects = true
	l.ops = append(l.ops, o)
	return nil
}

// reject generates what ends the packet's way; what to answer is in the packet.
func (g *gen) reject(o opReject, sc *scope) {
	g.orReject(o.value)
	sc.drop()
}

func (g *gen) orReject(bits uint32) {
	at := int16(g.layout.offsets[fieldReject])
	g.emit(
		asm.LoadMem(asm.R1, regPkt, at, asm.Word),
		asm.Or.Imm(asm.R1, int32(bits)),
		asm.StoreMem(regPkt, at, asm.R1, asm.Word),
	)
}

// priorityNAT is NF_IP_PRI_NAT_SRC, where the kernel translates at input.
const priorityNAT = 100

// natAt notes that the chains that follow are behind the NAT of the input hook:
// a flow that they reject has its translation, or none, for the answer.
func (m *module) natAt(g *gen, ph *phase, i int) {
	late := func(i int) bool { return i >= 0 && ph.chains[i].src.Base.Priority > priorityNAT }
	if m.p.rejects && ph.hook == nft.HookInput && late(i) && !late(i-1) {
		g.orReject(rejectAfterNAT)
	}
}
