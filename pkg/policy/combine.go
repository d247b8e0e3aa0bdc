// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opCombine puts two values, combined bit by bit, into slots of p->regs.
type opCombine struct {
	op   nft.BitwiseOp
	a, b []sym
	slot int
}

func (*opCombine) isOp() {}

// combine lowers and, or and xor with a constant or another register.
func (l *lowerer) combine(e *nft.ExprBitwise) error {
	n := int(e.Len)
	if e.Op < nft.BitwiseAnd || e.Op > nft.BitwiseXor {
		return refuse("masks, shifts, and, or, xor", "bitwise operation %d", e.Op)
	}
	a, err := l.load(e.Src, n)
	if err != nil {
		return err
	}
	if e.Data != nil {
		if len(e.Data) != n {
			return l.errorf("%d bytes to combine with %d", len(e.Data), n)
		}
		return l.combineConstant(e, a)
	}
	b, err := l.load(e.Src2, n)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(slices.Concat(a, b), func(s sym) bool { return s.name }) {
		return refuse("comparisons and sets", "bits of an interface name")
	}
	if err := l.checkStatus([][]sym{a, b}); err != nil {
		return err
	}
	o := &opCombine{op: e.Op, a: a, b: b}
	if o.slot, err = l.reserve(n); err != nil {
		return err
	}
	l.ops = append(l.ops, o)
	return l.store(e.Dst, fieldBytes(fieldRegs, regSlot*o.slot, n))
}

// combineConstant is a mask and an exclusive or.
func (l *lowerer) combineConstant(e *nft.ExprBitwise, a []sym) error {
	m := *e
	m.Op, m.Data = nft.BitwiseMaskXor, nil
	m.Mask, m.Xor = bytes.Clone(e.Data), make([]byte, len(a))
	for i, d := range e.Data {
		switch e.Op {
		case nft.BitwiseOr:
			m.Mask[i], m.Xor[i] = ^d, d
		case nft.BitwiseXor:
			m.Mask[i], m.Xor[i] = 0xff, d
		}
	}
	return l.bitwise(&m)
}

// combine generates the combination: of one value in its slot, with parts of the
// other.
func (g *gen) combine(o *opCombine) {
	to := int(g.slot(o.slot))
	g.spill(o.a, to)
	for at := 0; at < len(o.b); {
		n := g.spillLen(o.b, at)
		g.spillPart(regHigh, o.b[at:at+n])
		g.emit(asm.LoadMem(asm.R0, regPkt, int16(to+at), sizes[n]))
		switch o.op {
		case nft.BitwiseAnd:
			g.emit(asm.And.Reg(asm.R0, regHigh))
		case nft.BitwiseOr:
			g.emit(asm.Or.Reg(asm.R0, regHigh))
		default:
			g.emit(asm.Xor.Reg(asm.R0, regHigh))
		}
		g.emit(asm.StoreMem(regPkt, int16(to+at), asm.R0, sizes[n]))
		at += n
	}
}
