// SPDX-License-Identifier: GPL-2.0-only

// Package functions divides BPF programs into the functions that they are made of.
package functions

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Split divides a program, which begins with a function. The parts share its memory, and do not grow into each other.
func Split(insns asm.Instructions) []asm.Instructions {
	var all []asm.Instructions
	begin := 0
	for i := range insns {
		if i > begin && btf.FuncMetadata(&insns[i]) != nil {
			all, begin = append(all, insns[begin:i:i]), i
		}
	}
	return append(all, insns[begin:len(insns):len(insns)])
}
