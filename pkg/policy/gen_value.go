// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"math"

	"github.com/cilium/ebpf/asm"
)

// Registers of generated code. The packet stays in a callee-saved register,
// the others are free from one step to the next.
const (
	regPkt  = asm.R6
	regCtx  = asm.R9 // the program's context
	regHigh = asm.R1 // a value, or its first 8 bytes
	regLow  = asm.R2 // bytes 9 to 16 of a value
	regTemp = asm.R3
)

// gen generates the instructions of a function.
type gen struct {
	*builder
	m      *module
	p      *Program
	layout *layout
	known  *special
	// outline calls all chains, instead of inlining some: to measure one.
	outline bool
	// scope of the rule at hand.
	scope *scope
}

// order is how bytes become a number.
type order bool

const (
	// bigEndian numbers compare as memcmp does.
	bigEndian order = false
	// littleEndian numbers are cheaper, and as good to test for equality.
	littleEndian order = true
)

// toNumber converts at most 8 bytes.
func (o order) toNumber(b []byte) uint64 {
	var v uint64
	for i := range b {
		if o == littleEndian {
			v |= uint64(b[i]) << (8 * i)
		} else {
			v = v<<8 | uint64(b[i])
		}
	}
	return v
}

// ones is the largest number of n bytes.
func ones(n int) uint64 {
	if n >= 8 {
		return math.MaxUint64
	}
	return 1<<(8*n) - 1
}

var sizes = map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

// run is a part of a key whose bytes are consecutive in the packet.
type run struct {
	at, n      int // in the key
	offset     int // of its lowest byte in struct pkt
	descending bool
}

// runs divides a key; bytes that are constant are in none.
func (g *gen) runs(key []sym) []run {
	pos := func(i int) int {
		return g.layout.offsets[key[i].field] + int(key[i].index)
	}
	var out []run
	for i := 0; i < len(key); {
		if key[i].field == fieldNone {
			i++
			continue
		}
		n, step := 1, 0
		for i+n < len(key) && key[i+n].field == key[i].field {
			d := pos(i+n) - pos(i+n-1)
			if d != 1 && d != -1 || step != 0 && d != step {
				break
			}
			step = d
			n++
		}
		r := run{at: i, n: n, offset: pos(i), descending: step < 0}
		if r.descending {
			r.offset = pos(i + n - 1)
		}
		if r.offset+width(n) > g.layout.size {
			// The load would go beyond the packet: take less at a time.
			n = width(n) / 2
			r.n = n
			if r.descending {
				r.offset = pos(i + n - 1)
			}
		}
		out = append(out, r)
		i += n
	}
	return out
}

// loadNumber loads a key of at most 8 bytes as a number, without its masks.
// extra are the bits that are not the key's and have to be masked.
func (g *gen) loadNumber(dst asm.Register, key []sym, o order) (extra uint64) {
	runs := g.runs(key)
	for i, r := range runs {
		to := dst
		if i > 0 {
			to = regTemp
		}
		e := g.loadRun(to, r, o)
		shift := r.at
		if o == bigEndian {
			shift = len(key) - r.at - r.n
		}
		if e != 0 && (len(runs) > 1 || shift > 0) {
			g.and(to, ones(r.n), 8)
			e = 0
		}
		extra |= e
		if shift > 0 {
			g.emit(asm.LSh.Imm(to, int32(8*shift)))
		}
		if i > 0 {
			g.emit(asm.Or.Reg(dst, regTemp))
		}
	}
	if len(runs) == 0 {
		g.emit(asm.Mov.Imm(dst, 0))
	}
	return extra
}

// loadRun loads a run of at most 8 bytes as a number of its own.
func (g *gen) loadRun(dst asm.Register, r run, o order) (extra uint64) {
	w := width(r.n)
	g.emit(asm.LoadMem(dst, regPkt, int16(r.offset), sizes[w]))
	// The byte at the lowest address is the lowest of the number now.
	if r.descending == bool(o) && w > 1 {
		g.emit(asm.HostTo(asm.BE, dst, sizes[w]))
		if w > r.n {
			g.emit(asm.RSh.Imm(dst, int32(8*(w-r.n))))
		}
		return 0
	}
	return ones(w) &^ ones(r.n)
}

// width is the length of the load that n bytes take.
func width(n int) int {
	w := 1
	for w < n {
		w *= 2
	}
	return w
}

// and masks a number of n bytes.
func (g *gen) and(dst asm.Register, mask uint64, n int) {
	switch {
	case n <= 4:
		g.emit(asm.And.Imm32(dst, int32(uint32(mask))))
	case mask <= math.MaxInt32:
		g.emit(asm.And.Imm(dst, int32(mask)))
	default:
		g.emit(asm.LoadImm(regTemp, int64(mask), asm.DWord), asm.And.Reg(dst, regTemp))
	}
}

// branch compares a number of n bytes with a constant.
func (g *gen) branch(op asm.JumpOp, reg asm.Register, v uint64, n int, to label) {
	switch {
	case n <= 4:
		g.jump(op.Imm32(reg, int32(uint32(v)), ""), to)
	case v <= math.MaxInt32:
		g.jump(op.Imm(reg, int32(v), ""), to)
	default:
		g.emit(asm.LoadImm(regTemp, int64(v), asm.DWord))
		g.jump(op.Reg(reg, regTemp, ""), to)
	}
}
