// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Where the members of struct ct_facts of bpf/lib/facts.h are, in bytes.
const (
	factReply     = 40 // the original tuple is at 0
	factStatus    = 80
	factDirection = 84
	factThere     = 85
	factMark      = 88
	factLabels    = 92
	factZone      = 108
	factCounts    = 112 // struct counter, of both directions and of their sum
	factAverages  = 160
	factExpires   = 184

	tupleSrc      = 0
	tupleDst      = 16
	tupleSrcPort  = 32
	tupleDstPort  = 34
	tupleProtocol = 36
	tupleFamily   = 37
	tupleZone     = 38
)

// FACTS_* of bpf/lib/facts.h.
const (
	factsCt         = 1 << 0
	factsAcct       = 1 << 1
	factsExpiration = 1 << 2
)

// opFact puts a property of the packet's flow into slots of p->regs. Without
// a flow the rule does not match.
type opFact struct {
	slot, from, n int
	// id: its number, of the tuple that is there.
	id bool
	// family that the flow has to have; 0: any.
	family nft.Family
}

func (*opFact) isOp() {}

const supportedCt = "ct state, direction, status, mark, label, protocol, l3proto, zone, packets, bytes, avgpkt, expiration, id; original and reply saddr, daddr, proto-src, proto-dst"

func (l *lowerer) ct(e *nft.ExprCt) error {
	if e.Set {
		return l.setCt(e)
	}
	tuple := factReply * max(e.Direction, 0)
	family := l.rule.Chain.Table.Family
	address := func(at int, f nft.Family) error {
		if e.Direction < 0 {
			return refuse("ct original, ct reply", "ct %v without a direction", e.Key)
		}
		switch f {
		case nft.FamilyIPv4:
			return l.fact(e.Reg, opFact{from: tuple + at, n: 4, family: f})
		case nft.FamilyIPv6:
			return l.fact(e.Reg, opFact{from: tuple + at, n: 16, family: f})
		}
		return refuse("ct original ip saddr and the like", "ct %v of either family", e.Key)
	}
	switch e.Key {
	case nft.CtState:
		return l.store(e.Reg, fieldBytes(fieldCtState, 0, 4))
	case nft.CtDirection:
		return l.fact(e.Reg, opFact{from: factDirection, n: 1})
	case nft.CtStatus:
		l.status = append(l.status, l.slots)
		return l.fact(e.Reg, opFact{from: factStatus, n: 4})
	case nft.CtL3proto:
		return l.fact(e.Reg, opFact{from: tupleFamily, n: 1})
	case nft.CtProtocol:
		return l.fact(e.Reg, opFact{from: tupleProtocol, n: 1})
	case nft.CtHelper:
		return l.helper(e)
	case nft.CtMark:
		return l.fact(e.Reg, opFact{from: factMark, n: 4})
	case nft.CtLabels:
		return l.fact(e.Reg, opFact{from: factLabels, n: 16})
	case nft.CtZone:
		if e.Direction < 0 {
			return l.fact(e.Reg, opFact{from: factZone, n: 2})
		}
		return l.fact(e.Reg, opFact{from: tuple + tupleZone, n: 2})
	case nft.CtPackets:
		return l.accounted(e, factCounts, 16)
	case nft.CtBytes:
		return l.accounted(e, factCounts+8, 16)
	case nft.CtAvgpkt:
		return l.accounted(e, factAverages, 8)
	case nft.CtExpiration:
		l.p.facts |= factsExpiration
		return l.fact(e.Reg, opFact{from: factExpires, n: 4})
	case nft.CtID:
		return l.fact(e.Reg, opFact{id: true, n: flowIDLen})
	case nft.CtSrc:
		return address(tupleSrc, family)
	case nft.CtDst:
		return address(tupleDst, family)
	case nft.CtSrcIP:
		return address(tupleSrc, nft.FamilyIPv4)
	case nft.CtDstIP:
		return address(tupleDst, nft.FamilyIPv4)
	case nft.CtSrcIP6:
		return address(tupleSrc, nft.FamilyIPv6)
	case nft.CtDstIP6:
		return address(tupleDst, nft.FamilyIPv6)
	case nft.CtProtoSrc, nft.CtProtoDst:
		// The kernel has types, codes and keys there for other protocols.
		if !l.ports || e.Direction < 0 {
			return refuse("ct original and ct reply behind a match on tcp, udp, udplite or sctp", "ct %v of any protocol", e.Key)
		}
		at := tupleSrcPort
		if e.Key == nft.CtProtoDst {
			at = tupleDstPort
		}
		return l.fact(e.Reg, opFact{from: tuple + at, n: 2})
	}
	return refuse(supportedCt, "ct %v", e.Key)
}

// helper is that of the flow: none has one, as a ruleset that gives one to flows is
// refused, and without one the rule does not match, whatever it asks.
func (l *lowerer) helper(e *nft.ExprCt) error {
	l.note("no flow has a helper: the rule matches nothing")
	if err := l.never(); err != nil {
		return err
	}
	return l.store(e.Reg, constants(make([]byte, helperLen)))
}

// helperLen is NF_CT_HELPER_NAME_LEN.
const helperLen = 16

// accounted puts a number of packets or bytes into a register: of a direction, or
// without one of both, which are step bytes apart in the facts.
func (l *lowerer) accounted(e *nft.ExprCt, at, step int) error {
	dir := e.Direction
	if dir < 0 {
		dir = 2
	}
	l.p.facts |= factsAcct
	return l.fact(e.Reg, opFact{from: at + step*dir, n: 8})
}

func (l *lowerer) fact(reg nft.Register, o opFact) error {
	var err error
	if o.slot, err = l.reserve(o.n); err != nil {
		return err
	}
	l.p.facts |= factsCt
	l.ops = append(l.ops, &o)
	return l.store(reg, fieldBytes(fieldRegs, regSlot*o.slot, o.n))
}

// exactStatus are the bits of ct status that are known exactly, or never set:
// expected, seen-reply, assured, confirmed, snat, dnat, seq-adjust; dying.
var exactStatus = [4]byte{0x7f, 0x02}

// checkStatus refuses conditions on bits of ct status that are not known.
func (l *lowerer) checkStatus(keys [][]sym) error {
	for _, s := range slices.Concat(keys...) {
		if s.field != fieldRegs || !slices.Contains(l.status, int(s.index)/regSlot) {
			continue
		}
		if at := int(s.index) % regSlot; s.and&^exactStatus[at] != 0 {
			return refuse("expected, seen-reply, assured, confirmed, snat, dnat, dying", "bits of ct status without a name, or all of them")
		}
	}
	return nil
}

// learnPorts notes that only protocols whose ports conntrack knows come this far.
func (l *lowerer) learnPorts(m *opMatch) {
	if m.invert || len(m.keys) != 1 || len(m.keys[0]) != 1 || len(m.elems) == 0 {
		return
	}
	k := m.keys[0][0]
	protocol := k.field == fieldL4proto || k.field == fieldNH && (k.index == 9 && l.v4 || k.index == 6 && l.v6)
	if !protocol || k.and != 0xff || k.xor != 0 {
		return
	}
	l.ports = !slices.ContainsFunc(m.elems, func(e []span) bool {
		return !e[0].single() || !slices.Contains(withPorts, e[0].lo[0])
	})
}

const (
	protoTCP     = 6
	protoUDP     = 17
	protoSCTP    = 132
	protoUDPLite = 136
)

// withPorts are the protocols whose ports conntrack knows: has_ports() of
// bpf/lib/ports.h. Those of DCCP no kernel does from 6.17 on.
var withPorts = []byte{protoTCP, protoUDP, protoSCTP, protoUDPLite}

// fact generates the load. The kernel's is nft_ct_get_eval().
func (g *gen) fact(o *opFact, fail label) {
	g.element(factsMap, 0)
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), fail)
	g.emit(asm.LoadMem(asm.R1, asm.R0, factThere, asm.Byte))
	g.jump(asm.JEq.Imm32(asm.R1, 0, ""), fail)
	if o.family != 0 {
		g.emit(asm.LoadMem(asm.R1, asm.R0, tupleFamily, asm.Byte))
		g.jump(asm.JNE.Imm32(asm.R1, int32(o.family), ""), fail)
	}
	if o.id {
		g.flowID(o)
		return
	}
	for at := 0; at < o.n; at += regSlot {
		n := min(o.n-at, regSlot)
		g.emit(
			asm.LoadMem(asm.R1, asm.R0, int16(o.from+at), sizes[n]),
			asm.StoreMem(regPkt, g.slot(o.slot+at/regSlot), asm.R1, asm.DWord),
		)
	}
}

// flowIDLen is the length of a flow's number, in network byte order.
const flowIDLen = 4

// flowID generates the number of the flow whose facts R0 points to: the hash of the tuple that its first
// packet came with, as pkg/flow has it. It is the same for all packets of the flow, from the first one
// on, and needs no room in its entries.
func (g *gen) flowID(o *opFact) {
	const facts = asm.R3
	g.emit(asm.Mov.Reg(facts, asm.R0))
	g.hashBegin(factReply, 0)
	for at := 0; at < factReply; at += 4 {
		r := []asm.Register{hashA, hashB, hashC}[at/4%3]
		g.emit(asm.LoadMem(asm.R1, facts, int16(o.from+at), asm.Word), asm.Add.Reg32(r, asm.R1))
		if r == hashC {
			g.hashMix()
		}
	}
	g.hashFinal()
	g.emit(asm.HostTo(asm.BE, hashC, asm.Word), asm.StoreMem(regPkt, g.slot(o.slot), hashC, asm.DWord))
}
