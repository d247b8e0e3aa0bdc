// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// computed is a value that is no field of the packet.
type computed uint8

const (
	computeCPU computed = iota
	computeRandom
	// computeRandomMod is a random number below modulus, plus offset.
	computeRandomMod
	// computeNext is the number after the last of its kind, modulo modulus,
	// plus offset.
	computeNext
	// computeShift is key, shifted to the left by shift, or to the right.
	computeShift
)

// opCompute puts a number, in host byte order, into a slot of p->regs.
type opCompute struct {
	kind            computed
	slot            int
	modulus, offset uint32
	index           int // of computeNext in the map of its counters
	key             []sym
	shift           int
}

func (*opCompute) isOp() {}

// Computed values have slots of p->regs.
const (
	regSlot  = 8 // bytes
	regSlots = 8
)

// reserve takes the slots of a value of n bytes and returns the first.
func (l *lowerer) reserve(n int) (slot int, err error) {
	slots := (n + regSlot - 1) / regSlot
	if l.slots+slots > regSlots {
		return 0, refuse("", "more than %d bytes of computed values in a rule", regSlots*regSlot)
	}
	l.slots += slots
	return l.slots - slots, nil
}

// compute adds the computation of a number of 32 bits.
func (l *lowerer) compute(reg nft.Register, o *opCompute) error {
	var err error
	if o.slot, err = l.reserve(4); err != nil {
		return err
	}
	l.ops = append(l.ops, o)
	return l.store(reg, fieldBytes(fieldRegs, regSlot*o.slot, 4))
}

func (l *lowerer) numgen(e *nft.ExprNumgen) error {
	if e.Modulus == 0 {
		return l.errorf("numgen modulo 0")
	}
	o := &opCompute{kind: computeRandomMod, modulus: e.Modulus, offset: e.Offset}
	if !e.Random {
		o.kind, o.index = computeNext, l.p.numgens
		l.p.numgens++
	}
	return l.compute(e.Reg, o)
}

// shift shifts a number of 32 bits, as nft_bitwise_eval_lshift() and
// nft_bitwise_eval_rshift() do with the words of a register.
func (l *lowerer) shift(e *nft.ExprBitwise) error {
	if e.Len != 4 || e.Shift > 31 {
		return refuse("shifts of 4 bytes", "a shift of %d bytes by %d bits", e.Len, e.Shift)
	}
	v, err := l.load(e.Src, 4)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(v, func(s sym) bool { return s.name }) {
		return refuse("comparisons and sets", "bits of an interface name")
	}
	if err := l.checkStatus([][]sym{v}); err != nil {
		return err
	}
	o := &opCompute{kind: computeShift, key: v, shift: int(e.Shift)}
	if e.Op == nft.BitwiseRshift {
		o.shift = -o.shift
	}
	return l.compute(e.Dst, o)
}

// compute generates the computation. The kernel's are nft_meta_get_eval(),
// nft_ng_inc_eval() and nft_ng_random_eval().
func (g *gen) compute(o *opCompute) {
	switch o.kind {
	case computeCPU:
		g.emit(asm.FnGetSmpProcessorId.Call())
	case computeRandom:
		g.emit(asm.FnGetPrandomU32.Call())
	case computeRandomMod:
		g.emit(
			asm.FnGetPrandomU32.Call(),
			asm.Mov.Reg32(asm.R0, asm.R0),
			asm.LoadImm(asm.R1, int64(o.modulus), asm.DWord),
			asm.Mul.Reg(asm.R0, asm.R1),
			asm.RSh.Imm(asm.R0, 32),
		)
	case computeNext:
		g.element(numgensMap, o.index)
		absent := g.newLabel()
		g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
		g.emit(
			asm.Mov.Imm(asm.R1, 1),
			fetchAdd(asm.R0, asm.R1),
			asm.Mov.Reg(asm.R0, asm.R1),
			asm.LoadImm(asm.R1, int64(o.modulus), asm.DWord),
			asm.Mod.Reg(asm.R0, asm.R1),
		)
		g.bind(absent)
	case computeShift:
		// Loading needs two registers besides, but not this one.
		g.value(asm.R0, o.key)
		if o.shift < 0 {
			g.emit(asm.RSh.Imm32(asm.R0, int32(-o.shift)))
		} else {
			g.emit(asm.LSh.Imm32(asm.R0, int32(o.shift)))
		}
	}
	if o.offset != 0 {
		g.emit(asm.Add.Imm32(asm.R0, int32(o.offset)))
	}
	g.emit(asm.StoreMem(regPkt, g.slot(o.slot), asm.R0, asm.DWord))
}

// fetchAdd adds src to the 8 bytes at dst and puts what they were into src.
func fetchAdd(dst, src asm.Register) asm.Instruction {
	ins := asm.FetchAdd.Mem(dst, src, asm.DWord, 0)
	// The assembler takes the operation from here and not from the opcode.
	ins.Constant = int64(asm.FetchAdd >> 8)
	return ins
}

// slot is where a slot of p->regs is.
func (g *gen) slot(n int) int16 { return int16(g.layout.offsets[fieldRegs] + regSlot*n) }

// element puts the address of a map's element into R0.
func (g *gen) element(m string, index int) {
	g.emit(asm.LoadMapPtr(asm.R1, 0).WithReference(m))
	g.elementOf(index)
}

// elementOf puts the address of an element into R0, of the map in R1.
func (g *gen) elementOf(index int) {
	g.emit(
		asm.StoreImm(asm.RFP, -4, int64(index), asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
	)
}
