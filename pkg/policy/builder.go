// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// label is a place in a function that jumps can name before it is known.
type label int

// builder collects the instructions of one function.
type builder struct {
	insns asm.Instructions
	slots []int // position of each instruction in 8-byte slots
	size  int   // in slots
	// where the labels are, in slots; -1: not bound yet
	labels []int
	used   []bool        // labels that something jumps to
	jumps  map[int]label // by instruction
	source string        // line info for the next instruction
	// dead tells that nothing reaches the next instruction: the kernel
	// refuses such code, so it is not generated.
	dead bool
}

func newBuilder() *builder { return &builder{jumps: make(map[int]label)} }

func (b *builder) newLabel() label {
	b.labels = append(b.labels, -1)
	b.used = append(b.used, false)
	return label(len(b.labels) - 1)
}

// bind puts a label in front of the next instruction. Jumps only go forward:
// whatever jumps to it is known by now.
func (b *builder) bind(l label) {
	b.labels[l] = b.size
	if b.used[l] {
		b.dead = false
	}
}

func (b *builder) emit(insns ...asm.Instruction) {
	for _, ins := range insns {
		if b.dead {
			return
		}
		if b.source != "" {
			ins = ins.WithSource(asm.Comment(b.source))
			b.source = ""
		}
		b.insns = append(b.insns, ins)
		b.slots = append(b.slots, b.size)
		b.size += int(ins.Size() / asm.InstructionSize)
		if op := ins.OpCode.JumpOp(); op == asm.Exit || op == asm.Ja {
			b.dead = true
		}
	}
}

// jump emits a jump to a label. Its instruction was made with the label "".
func (b *builder) jump(ins asm.Instruction, to label) {
	if b.dead {
		return
	}
	b.used[to] = true
	b.jumps[len(b.insns)] = to
	b.emit(ins)
}

// goTo jumps always.
func (b *builder) goTo(to label) { b.jump(asm.Ja.Label(""), to) }

// finish resolves the jumps.
func (b *builder) finish() (asm.Instructions, error) {
	for i, l := range b.jumps {
		target := b.labels[l]
		if target < 0 || target >= b.size {
			return nil, fmt.Errorf("policy: jump to nowhere at instruction %d", i)
		}
		offset := target - b.slots[i] - 1
		if offset < math.MinInt16 || offset > math.MaxInt16 {
			return nil, fmt.Errorf("policy: a jump over %d instructions is too far: chains that jump to each other this deep, from so many places, have to be copied too often", offset)
		}
		b.insns[i].Offset = int16(offset)
	}
	return b.insns, nil
}
