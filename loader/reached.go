// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/internal/functions"
)

// Reached leaves the functions of a program out that the first one does not reach, by calls of its own and
// of those that it calls. The object names functions for the code of a policy, which
// may use none of them, and the kernel refuses a program with one that nothing calls.
func Reached(insns asm.Instructions) asm.Instructions {
	all := functions.Split(insns)
	calls := map[string]asm.Instructions{}
	for _, f := range all {
		calls[f[0].Symbol()] = f
	}
	seen := map[string]bool{}
	for todo := all[:1]; len(todo) > 0; todo = todo[1:] {
		seen[todo[0][0].Symbol()] = true
		for _, name := range todo[0].FunctionReferences() {
			if f := calls[name]; f != nil && !seen[name] {
				todo = append(slices.Clip(todo), f)
			}
		}
	}
	all = slices.DeleteFunc(all, func(f asm.Instructions) bool { return !seen[f[0].Symbol()] })
	return slices.Concat(all...)
}
