// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// The functions of bpf/lib/set_gc.h that the collector's work item calls, and that
// goes through a part of one map.
const (
	collectFunction   = "collect_sets"
	collectGoFunction = "collect_set"
)

// collection is a map of which the collector in the kernel removes elements.
type collection struct {
	mapName        string
	keySize, conns int32 // where a value has the number of a ct count statement; 0: it has none
}

// collected are the maps whose elements expire, or go with the last connection
// that a ct count statement of theirs has met. Those of sets of ranges are not
// among them: one range is many of their entries, rules add to none of them, and
// who adds from user space makes room.
func (p *Program) collected() []collection {
	var maps []collection
	for _, s := range p.Sets {
		if s.Constant || s.MapType() != ebpf.Hash || s.classes {
			continue
		}
		if at := s.connState(); s.Timeouts || at > 0 {
			maps = append(maps, collection{s.MapName, int32(s.blank()[0].KeySize), int32(at)})
		}
	}
	return maps
}

// collector replaces the collector's stub, if it is among the functions; also where there
// is nothing to collect, as the stub goes through a map that is no set.
func (p *Program) collector(functions []function) []function {
	at := slices.IndexFunc(functions, func(f function) bool { return f.name == collectFunction })
	if at < 0 {
		return functions
	}
	stub := btf.FuncMetadata(&functions[at].insns[0])
	functions[at] = withType(function{collectFunction, p.collectMaps(p.collected())}, stub)
	return functions
}

// withType gives a generated function its name and its type.
func withType(f function, typ *btf.Func) function {
	f.insns[0] = btf.WithFuncMetadata(f.insns[0].WithSymbol(f.name), typ)
	if f.insns[0].Source() == nil {
		// The kernel wants to know the source of each function.
		f.insns[0] = f.insns[0].WithSource(asm.Comment("sets whose elements expire"))
	}
	return f
}

// collectMaps goes through a part of the map with a number, where a walk is. It returns 0
// if there is no such map, which is the walk's end.
func (p *Program) collectMaps(maps []collection) asm.Instructions {
	const walk, number, index = asm.R6, asm.R7, -4
	insns := asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.JEq.Imm(asm.R1, 0, "end"), // which the verifier wants to know
		asm.Mov.Reg(walk, asm.R1),
		asm.Mov.Reg(number, asm.R2),
	}
	for i, m := range maps {
		next := fmt.Sprintf("%s_%d", collectFunction, i)
		insns = append(insns, asm.JNE.Imm32(number, int32(i), next))
		if at, inPool := p.inPool[m.mapName]; inPool {
			insns = append(insns,
				asm.StoreImm(asm.RFP, index, int64(at.index), asm.Word),
				asm.LoadMapPtr(asm.R1, 0).WithReference(poolName(at.pool)),
				asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, index),
				asm.FnMapLookupElem.Call(),
				asm.JEq.Imm(asm.R0, 0, "end"),
				asm.Mov.Reg(asm.R1, asm.R0),
			)
		} else {
			insns = append(insns, asm.LoadMapPtr(asm.R1, 0).WithReference(m.mapName))
		}
		insns = append(insns,
			asm.Mov.Reg(asm.R2, walk),
			asm.Mov.Imm(asm.R3, m.keySize),
			asm.Mov.Imm(asm.R4, m.conns),
			asm.Call.Label(collectGoFunction),
			asm.Mov.Imm(asm.R0, 1),
			asm.Return(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol(next),
		)
	}
	return append(insns, asm.Return().WithSymbol("end"))
}
