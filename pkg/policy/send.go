// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opDup sends a copy of the frame by an interface.
type opDup struct{ device []sym }

// opDupTo sends a copy of the packet to an address.
type opDupTo struct {
	gateway []sym
	device  []sym // to leave by
	slot    int   // for the address
}

// opFwd has the dataplane send the frame by an interface, and ends its way.
type opFwd struct {
	device []sym
	// neighbour on the interface; nil: the frame leaves as it came.
	neighbour []sym
	// family of the neighbour. Other packets go on behind the rule.
	family nft.Family
}

func (*opDup) isOp()   {}
func (*opDupTo) isOp() {}

func (*opDupTo) why() string { return "XDP cannot copy packets" }

func (*opFwd) isOp() {}

const supportedSend = "dup to an address; dup to a device, fwd to a device or a neighbour there, in tables of the family netdev"

func (l *lowerer) dup(e *nft.ExprDup) error {
	if e.Addr != 0 {
		return l.dupTo(e)
	}
	if !l.anyFrame() {
		return refuse(supportedSend, "a copy without an address")
	}
	device, err := l.target(e.Dev)
	if err == nil {
		l.p.sends = true
		l.ops = append(l.ops, &opDup{device})
	}
	return err
}

func (l *lowerer) dupTo(e *nft.ExprDup) error {
	o := &opDupTo{device: constants(make([]byte, 4))}
	n := map[nft.Family]int{nft.FamilyIPv4: 4, nft.FamilyIPv6: 16}[l.rule.Chain.Table.Family]
	if n == 0 {
		return refuse(supportedSend, "an address in a table of family %v", l.rule.Chain.Table.Family)
	}
	var err error
	if o.gateway, err = l.load(e.Addr, n); err != nil {
		return err
	}
	if e.Dev != 0 {
		if o.device, err = l.target(e.Dev); err != nil {
			return err
		}
	}
	if o.slot, err = l.reserve(natAddrLen); err != nil {
		return err
	}
	l.p.sends, l.p.hooks = true, true
	l.ops = append(l.ops, o)
	return nil
}

func (l *lowerer) fwd(e *nft.ExprFwd) error {
	device, err := l.target(e.Dev)
	if err != nil {
		return err
	}
	o := &opFwd{device: device, family: e.Family}
	if e.Addr != 0 {
		n := map[nft.Family]int{nft.FamilyIPv4: 4, nft.FamilyIPv6: 16}[e.Family]
		if n == 0 {
			return refuse(supportedSend, "an address of family %v", e.Family)
		}
		if o.neighbour, err = l.load(e.Addr, n); err != nil {
			return err
		}
	}
	l.p.sends = true
	l.ops = append(l.ops, o)
	return nil
}

// target is the index of the interface in a register.
func (l *lowerer) target(reg nft.Register) ([]sym, error) {
	v, err := l.load(reg, 4)
	if err == nil && slices.ContainsFunc(v, func(s sym) bool { return s.name }) {
		return nil, refuse(supportedSend, "the name of a device")
	}
	return v, err
}

// fwd generates what ends the frame's way; where it goes is in the packet.
func (g *gen) fwd(o *opFwd, fail label, sc *scope) {
	at := func(f pktField) int16 { return int16(g.layout.offsets[f]) }
	if o.neighbour != nil {
		protocols := map[nft.Family][]byte{nft.FamilyIPv4: {0x08, 0x00}, nft.FamilyIPv6: {0x86, 0xdd}}
		g.emit(asm.LoadMem(regHigh, regPkt, at(fieldProtocol), asm.Half))
		g.jump(asm.JNE.Imm32(regHigh, int32(littleEndian.toNumber(protocols[o.family])), ""), fail)
		g.spill(o.neighbour, g.layout.offsets[fieldNatRange])
		g.emit(asm.StoreImm(regPkt, at(fieldSendTo), int64(o.family), asm.Byte))
	}
	g.value(regHigh, o.device)
	g.emit(asm.StoreMem(regPkt, at(fieldSendBy), regHigh, asm.Word))
	sc.drop()
}

func (g *gen) dupTo(o *opDupTo) {
	g.spill(o.gateway, int(g.slot(o.slot)))
	g.value(regHigh, o.device)
	g.emit(
		asm.Mov.Reg(asm.R4, regHigh),
		asm.Mov.Imm32(asm.R3, int32(o.slot<<answerShift)),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Call.Label("nft_dup_to"),
	)
}

func (g *gen) dup(o *opDup) {
	g.value(regHigh, o.device)
	g.emit(
		asm.Mov.Reg(asm.R3, regHigh),
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Call.Label("nft_dup"),
	)
}
