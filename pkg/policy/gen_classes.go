// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"
)

// findClasses looks for the element of a set of classes that holds the keys:
// from the root through a node for each field. R0 points to its value in what
// follows.
func (g *gen) findClasses(s *Set, keys [][]sym, absent label) {
	key := g.layout.offsets[fieldKey]
	g.mapInto(s.MapName, absent)
	g.elementOf(int(rootKey))
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
	next := asm.LoadMem(asm.R1, asm.R0, 0, asm.Word)
	for i, f := range s.fields {
		g.emit(
			next, asm.StoreMem(regPkt, int16(key+prefixLen), asm.R1, asm.Word),
			asm.StoreImm(regPkt, int16(key), int64(8*(nodeSize+f.len)), asm.Word),
		)
		g.spill(keys[i], key+fieldAt)
		g.mapInto(s.className, absent)
		g.emit(
			asm.Mov.Reg(asm.R2, regPkt),
			asm.Add.Imm(asm.R2, int32(key)),
			asm.FnMapLookupElem.Call(),
		)
		g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
	}
	g.emit(next, asm.StoreMem(regPkt, int16(key), asm.R1, asm.Word))
	g.callMap(s, asm.FnMapLookupElem, absent)
	g.live(s, absent)
}
