// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// lookup generates a lookup in a map. What follows is reached when it holds.
func (g *gen) lookup(m *opLookup, fail label) {
	s := g.p.Sets[m.set]
	if !m.invert {
		g.find(m.set, m.keys, fail)
		g.elemStates(s, fail)
		return
	}
	absent := g.newLabel()
	g.find(m.set, m.keys, absent)
	g.goTo(fail)
	g.bind(absent)
}

// find looks for an element, and for the catch-all one where no other holds the
// key. R0 points to its value in what follows.
func (g *gen) find(set int, keys [][]sym, absent label) {
	s := g.p.Sets[set]
	if s.catchAll == nil {
		g.findKey(s, keys, absent)
		return
	}
	other, found := g.newLabel(), g.newLabel()
	g.findKey(s, keys, other)
	g.goTo(found)
	g.bind(other)
	g.findAny(s, absent)
	g.bind(found)
}

// findAny looks for the catch-all element.
func (g *gen) findAny(s *Set, absent label) {
	g.mapInto(s.anyName, absent)
	g.elementOf(int(anyKey))
	g.live(s, absent)
}

// findKey looks for the element that holds the key, which stays in p->key. R0
// points to its value in what follows.
func (g *gen) findKey(s *Set, keys [][]sym, absent label) {
	if s.classes {
		g.findClasses(s, keys, absent)
		return
	}
	var key []sym
	if s.Interval {
		key = constants(binary.NativeEndian.AppendUint32(nil, uint32(8*s.keySize())))
	}
	for _, k := range keys {
		key = append(key, k...)
		if len(keys) > 1 {
			for len(key)%4 != 0 {
				key = append(key, constant(0))
			}
		}
	}
	g.spill(key, g.layout.offsets[fieldKey])
	g.callMap(s, asm.FnMapLookupElem, absent)
	g.live(s, absent)
}

// live checks that R0 is an element which has not expired.
func (g *gen) live(s *Set, absent label) {
	found := g.newLabel()
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
	if s.Timeouts {
		g.emit(asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord))
		g.jump(asm.JEq.Imm(asm.R1, 0, ""), found)
		g.emit(asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldNow]), asm.DWord))
		g.jump(asm.JLE.Reg(asm.R1, asm.R2, ""), absent)
	}
	g.bind(found)
}

// callMap calls a helper on the set's map with the key in p->key, and the element in
// p->elem if there is to be one; absent is as with mapInto.
func (g *gen) callMap(s *Set, helper asm.BuiltinFunc, absent label) {
	g.mapInto(s.MapName, absent)
	g.emit(
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Add.Imm(asm.R2, int32(g.layout.offsets[fieldKey])),
	)
	if helper == asm.FnMapUpdateElem {
		g.emit(
			asm.Mov.Reg(asm.R3, regPkt),
			asm.Add.Imm(asm.R3, int32(g.layout.offsets[fieldElem])),
			asm.Mov.Imm(asm.R4, 0),
		)
	}
	g.emit(helper.Call())
}

// spill writes a key, or data, to struct pkt, at an offset that is a multiple
// of 8.
func (g *gen) spill(key []sym, offset int) {
	for at := 0; at < len(key); {
		n := g.spillLen(key, at)
		g.spillPart(regHigh, key[at:at+n])
		g.emit(asm.StoreMem(regPkt, int16(offset+at), regHigh, sizes[n]))
		at += n
	}
}

// spillPart puts a part of a key, as spillLen divides it, into a register.
func (g *gen) spillPart(dst asm.Register, part []sym) {
	if part[0].field == fieldNone {
		var b []byte
		for _, s := range part {
			b = append(b, s.xor)
		}
		g.emit(asm.LoadImm(dst, int64(littleEndian.toNumber(b)), asm.DWord))
		return
	}
	g.load(dst, part, littleEndian)
	_, xor := masks(part)
	if x := littleEndian.toNumber(xor); x != 0 {
		g.emit(asm.LoadImm(regTemp, int64(x), asm.DWord), asm.Xor.Reg(dst, regTemp))
	}
}

// spillLen is how many bytes of the key, from one on, are stored at once: they
// are aligned, and all constant or all one load.
func (g *gen) spillLen(key []sym, at int) int {
	for _, n := range []int{8, 4, 2} {
		if at%n != 0 || at+n > len(key) {
			continue
		}
		part := key[at : at+n]
		if !slices.ContainsFunc(part, func(s sym) bool { return s.field != fieldNone }) {
			return n
		}
		if r := g.runs(part); len(r) == 1 && r[0].n == n {
			return n
		}
	}
	return 1
}
