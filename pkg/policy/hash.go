// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opHash puts a hash below modulus, plus offset, into a slot of p->regs, in host
// byte order: jhash of the key, or one that is the same for both directions of a
// flow.
type opHash struct {
	key             []sym
	symmetric       bool
	seed            uint32
	modulus, offset uint32
	slot            int
}

func (*opHash) isOp() {}

func (l *lowerer) hash(e *nft.ExprHash) error {
	o := &opHash{seed: e.Seed, modulus: e.Modulus, offset: e.Offset, symmetric: e.Symmetric}
	var err error
	if !e.Symmetric {
		if o.key, err = l.load(e.Src, int(e.Len)); err != nil {
			return err
		}
		if slices.ContainsFunc(o.key, func(s sym) bool { return s.name }) {
			return refuse("other keys", "a hash of an interface name")
		}
		if err := l.checkStatus([][]sym{o.key}); err != nil {
			return err
		}
	}
	if o.slot, err = l.reserve(4); err != nil {
		return err
	}
	l.ops = append(l.ops, o)
	return l.store(e.Dst, fieldBytes(fieldRegs, regSlot*o.slot, 4))
}

// Registers of a hash, as linux/jhash.h names them.
const (
	hashA = asm.R4
	hashB = asm.R5
	hashC = asm.R0
)

// jhashInit is JHASH_INITVAL.
const jhashInit = 0xdeadbeef

// hash generates nft_jhash_eval() of the kernel. Its nft_symhash_eval() has a
// seed that nobody knows: any hash of a flow does.
func (g *gen) hash(o *opHash) {
	if o.symmetric {
		g.symmetricHash()
	} else {
		g.jhash(o.key, o.seed)
	}
	g.emit(
		// reciprocal_scale()
		asm.Mov.Reg32(asm.R0, hashC),
		asm.LoadImm(asm.R1, int64(o.modulus), asm.DWord),
		asm.Mul.Reg(asm.R0, asm.R1),
		asm.RSh.Imm(asm.R0, 32),
	)
	if o.offset != 0 {
		g.emit(asm.Add.Imm32(asm.R0, int32(o.offset)))
	}
	g.emit(asm.StoreMem(regPkt, g.slot(o.slot), asm.R0, asm.DWord))
}

// jhash leaves the hash of a key in hashC.
func (g *gen) jhash(key []sym, seed uint32) {
	g.hashBegin(len(key), seed)
	for len(key) > 12 {
		g.hashAdd(key[:12])
		g.hashMix()
		key = key[12:]
	}
	g.hashAdd(key)
	g.hashFinal()
}

func (g *gen) hashBegin(n int, seed uint32) {
	for _, r := range []asm.Register{hashA, hashB, hashC} {
		g.emit(asm.Mov.Imm32(r, int32(jhashInit+uint32(n)+seed)))
	}
}

// hashAdd adds up to 12 bytes, as three numbers.
func (g *gen) hashAdd(key []sym) {
	for i, r := range []asm.Register{hashA, hashB, hashC} {
		if 4*i >= len(key) {
			return
		}
		part := key[4*i : min(4*i+4, len(key))]
		g.load(regHigh, part, littleEndian)
		if _, xor := masks(part); littleEndian.toNumber(xor) != 0 {
			g.emit(asm.Xor.Imm32(regHigh, int32(uint32(littleEndian.toNumber(xor)))))
		}
		g.emit(asm.Add.Reg32(r, regHigh))
	}
}

// rotated puts a register, rotated to the left, into R1.
func (g *gen) rotated(r asm.Register, n int32) {
	g.emit(
		asm.Mov.Reg32(asm.R1, r), asm.LSh.Imm32(asm.R1, n),
		asm.Mov.Reg32(asm.R2, r), asm.RSh.Imm32(asm.R2, 32-n),
		asm.Or.Reg32(asm.R1, asm.R2),
	)
}

// hashMix is __jhash_mix().
func (g *gen) hashMix() {
	a, b, c := hashA, hashB, hashC
	for _, n := range []int32{4, 6, 8, 16, 19, 4} {
		g.emit(asm.Sub.Reg32(a, c))
		g.rotated(c, n)
		g.emit(asm.Xor.Reg32(a, asm.R1), asm.Add.Reg32(c, b))
		a, b, c = b, c, a
	}
}

// hashFinal is __jhash_final().
func (g *gen) hashFinal() {
	a, b, c := hashA, hashB, hashC
	for _, n := range []int32{14, 11, 25, 16, 4, 14, 24} {
		g.emit(asm.Xor.Reg32(c, b))
		g.rotated(b, n)
		g.emit(asm.Sub.Reg32(c, asm.R1))
		a, b, c = b, c, a
	}
}

// symmetricHash leaves a hash in hashC of what both directions of a flow share.
func (g *gen) symmetricHash() {
	at := func(offset, n int) asm.Instruction {
		return asm.LoadMem(asm.R1, regPkt, int16(g.layout.offsets[fieldTuple]+offset), sizes[n])
	}
	g.hashBegin(tupleFamily, 0)
	for i, r := range []asm.Register{hashA, hashB, hashC, hashA} {
		g.emit(at(tupleSrc+4*i, 4), asm.Add.Reg32(r, asm.R1), at(tupleDst+4*i, 4), asm.Add.Reg32(r, asm.R1))
		if i == 2 {
			g.hashMix()
		}
	}
	g.emit(
		at(tupleSrcPort, 2), asm.Add.Reg32(hashB, asm.R1), at(tupleDstPort, 2), asm.Add.Reg32(hashB, asm.R1),
		at(tupleProtocol, 1), asm.Add.Reg32(hashC, asm.R1),
	)
	g.hashFinal()
}
