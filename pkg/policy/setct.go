// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opSetFact writes a value to a property of the packet's flow, if it has one.
type opSetFact struct {
	to    int // in struct ct_facts
	value []sym
	// or adds bits to those that are there.
	or bool
}

// opZone chooses the zone of a packet that is not tracked yet.
type opZone struct {
	value []sym
	dirs  int64 // ZONE_* of bpf/lib/types.h
}

// opNotrack keeps the packet from connection tracking.
type opNotrack struct{}

func (*opSetFact) isOp() {}
func (*opZone) isOp()    {}
func (opNotrack) isOp()  {}

func (*opZone) why() string { return "XDP looks for the flow before the chains that choose its zone" }
func (opNotrack) why() string {
	return "XDP looks for the flow before the chains that may say there is none"
}

// ZONE_* of bpf/lib/types.h.
const (
	zoneOriginal = 1 << 0
	zoneReply    = 1 << 1
)

func (l *lowerer) setCt(e *nft.ExprCt) error {
	switch e.Key {
	case nft.CtMark:
		return l.setFact(e.Reg, factMark, 4, false)
	case nft.CtLabels:
		return l.setFact(e.Reg, factLabels, 16, true)
	case nft.CtEvent:
		l.note("there are no events of flows")
		return nil
	case nft.CtZone:
		return l.setZone(e)
	}
	return refuse("mark, label, zone, event", "setting ct %v", e.Key)
}

// setFact is nft_ct_set_eval(): a packet without a flow stays as it is, and the
// rule goes on. Labels are added to those that are there.
func (l *lowerer) setFact(reg nft.Register, to, n int, or bool) error {
	v, err := l.valueToSet(reg, n)
	if err != nil {
		return err
	}
	l.p.facts |= factsCt
	l.ops = append(l.ops, &opSetFact{to, v, or})
	return nil
}

func (l *lowerer) setZone(e *nft.ExprCt) error {
	v, err := l.valueToSet(e.Reg, 2)
	if err != nil {
		return err
	}
	dirs := map[int]int64{-1: zoneOriginal | zoneReply, 0: zoneOriginal, 1: zoneReply}
	l.p.turnsZones = l.p.turnsZones || e.Direction >= 0
	l.ops = append(l.ops, &opZone{v, dirs[e.Direction]})
	l.regs.forget(fieldCtState)
	return nil
}

func (l *lowerer) notrack(*nft.ExprNotrack) error {
	l.ops = append(l.ops, opNotrack{})
	l.regs.forget(fieldCtState)
	return nil
}

// checkZones refuses rules that choose a zone where connection tracking has
// been: for a packet that it found invalid, the kernel would make up a flow.
func (c *compiler) checkZones() {
	var late []string
	for _, ph := range phaseTable {
		if !slices.Contains([]string{"policy_prerouting_raw", "policy_output_raw"}, ph.function) {
			late = append(late, ph.function)
		}
	}
	var last *rule
	c.visit(late, func(r *rule, o op) {
		if _, ok := o.(*opZone); ok && r != last {
			last = r
			c.errs = append(c.errs, unsupportedRule(r.src, "ct", "setting ct zone behind connection tracking",
				"at prerouting and output, with a priority below -200"))
		}
	})
}

// checkZonesOfCopies refuses rules that choose a zone at output for what dup copies to an
// address: the kernel would track such a copy, as a flow beside that of its packet.
func (c *compiler) checkZonesOfCopies() {
	var all []string
	for _, ph := range phaseTable {
		all = append(all, ph.function)
	}
	copied := make(map[nft.Family]*nft.Rule)
	c.visit(all, func(r *rule, o op) {
		if _, ok := o.(*opDupTo); ok {
			copied[r.src.Chain.Table.Family] = r.src
			copied[nft.FamilyInet] = r.src
		}
	})
	var last *rule
	c.visit([]string{"policy_output_raw"}, func(r *rule, o op) {
		family := r.src.Chain.Table.Family
		if _, ok := o.(*opZone); ok && r != last && copied[family] != nil {
			last = r
			c.errs = append(c.errs, unsupportedRule(r.src, "ct",
				fmt.Sprintf("setting ct zone at output for copies of packets, which %q makes", copied[family].Text),
				"at output where no rule of the family has dup to an address; at prerouting"))
		}
	})
}

// setFact generates the change, in the packet's facts and then in the flow.
func (g *gen) setFact(o *opSetFact) {
	const facts, changed = asm.R0, asm.R7
	end := g.newLabel()
	g.element(factsMap, 0)
	g.jump(asm.JEq.Imm(facts, 0, ""), end)
	g.emit(asm.LoadMem(asm.R1, facts, factThere, asm.Byte))
	g.jump(asm.JEq.Imm32(asm.R1, 0, ""), end)
	g.emit(asm.Mov.Imm(changed, 0))
	for at := 0; at < len(o.value); at += 4 {
		g.value(asm.R1, o.value[at:at+4])
		g.emit(asm.LoadMem(asm.R2, facts, int16(o.to+at), asm.Word))
		if o.or {
			g.emit(asm.Or.Reg(asm.R1, asm.R2))
		}
		g.emit(
			asm.StoreMem(facts, int16(o.to+at), asm.R1, asm.Word),
			asm.Xor.Reg32(asm.R2, asm.R1),
			asm.Or.Reg(changed, asm.R2),
		)
	}
	g.jump(asm.JEq.Imm(changed, 0, ""), end)
	g.call("nft_ct_write", 0)
	g.bind(end)
}

// zone generates nft_ct_set_zone_eval(): the first one that chooses has its
// way, and the packet is new from then on. What has a flow from the start, as answers
// of reject do, stays in its zone.
func (g *gen) zone(o *opZone) {
	end := g.newLabel()
	at := func(f pktField) int16 { return int16(g.layout.offsets[f]) }
	g.emit(asm.LoadMem(asm.R1, regPkt, at(fieldCtState), asm.Word))
	g.jump(asm.JSet.Imm32(asm.R1, ctStateNew|ctStateEstablished|ctStateRelated, ""), end)
	g.value(asm.R1, o.value)
	g.emit(
		asm.StoreMem(regPkt, at(fieldZone), asm.R1, asm.Half),
		asm.StoreImm(regPkt, at(fieldZoneDirs), o.dirs, asm.Byte),
		asm.StoreImm(regPkt, at(fieldCtState), ctStateNew, asm.Word),
	)
	g.bind(end)
}

// notrack generates nft_notrack_eval(): only a packet of which nothing is known
// yet becomes untracked.
func (g *gen) notrack() {
	end := g.newLabel()
	at := int16(g.layout.offsets[fieldCtState])
	g.emit(asm.LoadMem(asm.R1, regPkt, at, asm.Word))
	g.jump(asm.JNE.Imm32(asm.R1, ctStateInvalid, ""), end)
	g.emit(asm.StoreImm(regPkt, at, ctStateUntracked, asm.Word))
	g.bind(end)
}

// CT_STATE_* of bpf/lib/common.h.
const (
	ctStateInvalid     = 1 << 0
	ctStateEstablished = 1 << 1
	ctStateRelated     = 1 << 2
	ctStateNew         = 1 << 3
	ctStateUntracked   = 1 << 6
)
