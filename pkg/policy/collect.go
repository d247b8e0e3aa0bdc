// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// The function of bpf/lib/gc.h that the collector's work item calls, and what it
// has each element visited by.
const (
	collectFunction = "collect_sets"
	visitFunction   = "collect_visit"
)

// collection is a map of which the collector in the kernel removes elements.
type collection struct {
	mapName, visit string
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
		if s.Timeouts {
			maps = append(maps, collection{s.MapName, visitFunction})
		}
		if at := s.connState(); at > 0 {
			maps = append(maps, collection{s.MapName, idleFunction(at)})
		}
	}
	return maps
}

// idleFunction is the name of what visits elements whose count of connections is
// at an offset.
func idleFunction(at int) string { return fmt.Sprintf("%s_idle%d", visitFunction, at) }

// collector replaces the collector's stub, if it is among the functions.
func (p *Program) collector(functions []function) []function {
	maps := p.collected()
	at := slices.IndexFunc(functions, func(f function) bool { return f.name == collectFunction })
	if at < 0 || len(maps) == 0 {
		return functions
	}
	stub := btf.FuncMetadata(&functions[at].insns[0])
	functions[at] = withType(function{collectFunction, p.collectMaps(maps)}, stub)
	pointer := &btf.Pointer{Target: &btf.Void{}}
	visit := &btf.FuncProto{Return: &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}}
	for _, name := range []string{"map", "key", "elem", "now"} {
		visit.Params = append(visit.Params, btf.FuncParam{Name: name, Type: pointer})
	}
	add := func(name string, insns asm.Instructions) {
		if !slices.ContainsFunc(functions, func(f function) bool { return f.name == name }) {
			functions = append(functions, withType(function{name, insns}, &btf.Func{Name: name, Type: visit, Linkage: btf.StaticFunc}))
		}
	}
	add(visitFunction, collectVisit())
	for _, s := range p.Sets {
		if at := s.connState(); at > 0 {
			add(idleFunction(at), collectIdle(at))
		}
	}
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

// collectMaps walks maps, and returns how many. The time is on the stack.
func (p *Program) collectMaps(maps []collection) asm.Instructions {
	const now, index = -8, -12
	insns := asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, now, asm.R0, asm.DWord),
	}
	for i, m := range maps {
		next := fmt.Sprintf("%s_%d", collectFunction, i)
		at, inPool := p.inPool[m.mapName]
		if inPool {
			insns = append(insns,
				asm.StoreImm(asm.RFP, index, int64(at.index), asm.Word),
				asm.LoadMapPtr(asm.R1, 0).WithReference(poolName(at.pool)),
				asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, index),
				asm.FnMapLookupElem.Call(),
				asm.JEq.Imm(asm.R0, 0, next),
				asm.Mov.Reg(asm.R1, asm.R0),
			)
		} else {
			insns = append(insns, asm.LoadMapPtr(asm.R1, 0).WithReference(m.mapName))
		}
		insns = append(insns,
			asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference(m.visit),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, now),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnForEachMapElem.Call(),
		)
		if inPool {
			insns = append(insns, asm.Mov.Imm(asm.R0, 0).WithSymbol(next))
		}
	}
	return append(insns, asm.Mov.Imm(asm.R0, int32(len(maps))), asm.Return())
}

// collectVisit deletes an element that has expired. One that a rule puts in its
// place just between the two steps goes with it, as if it had come a moment
// earlier: the next packet adds it again.
func collectVisit() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R3, asm.R3, 0, asm.DWord),
		asm.JEq.Imm(asm.R3, 0, "stays"),
		asm.LoadMem(asm.R4, asm.R4, 0, asm.DWord),
		asm.JGT.Reg(asm.R3, asm.R4, "stays"),
		asm.FnMapDeleteElem.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("stays"),
		asm.Return(),
	}
}

// collectIdle deletes an element without connections: nft_rhash_gc() of the
// kernel.
func collectIdle(at int) asm.Instructions {
	const m, key = asm.R6, asm.R7
	return asm.Instructions{
		asm.Mov.Reg(m, asm.R1),
		asm.Mov.Reg(key, asm.R2),
		asm.LoadMem(asm.R1, asm.R3, int16(at), asm.DWord),
		asm.Call.Label("conn_is_idle"),
		asm.JEq.Imm32(asm.R0, 0, "busy"),
		asm.Mov.Reg(asm.R1, m),
		asm.Mov.Reg(asm.R2, key),
		asm.FnMapDeleteElem.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("busy"),
		asm.Return(),
	}
}
