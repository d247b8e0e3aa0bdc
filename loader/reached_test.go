// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// functionNamed is a function that calls others.
func functionNamed(name string, calls ...string) asm.Instructions {
	var insns asm.Instructions
	for _, c := range calls {
		insns = append(insns, asm.Call.Label(c))
	}
	insns = append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return())
	insns[0] = btf.WithFuncMetadata(insns[0].WithSymbol(name), &btf.Func{Name: name})
	return insns
}

// What is not called, or only by such functions, is left out; the order stays.
func TestReached(t *testing.T) {
	program := slices.Concat(
		functionNamed("entry", "b"), functionNamed("a"), functionNamed("b", "c", "b"), functionNamed("alone", "lost"),
		functionNamed("lost", "alone", "c"), functionNamed("c", "entry"))
	var names []string
	for _, ins := range Reached(program) {
		if s := ins.Symbol(); s != "" {
			names = append(names, s)
		}
	}
	if want := []string{"entry", "b", "c"}; !slices.Equal(names, want) {
		t.Errorf("%v are left, not %v", names, want)
	}
}
