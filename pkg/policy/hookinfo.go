// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// HookInfo says how much code a hook has. All but forward
// have several, which conntrack and NAT come between.
type HookInfo struct {
	// Name such as "forward" or "prerouting_raw".
	Name string `json:"name"`
	// Kinds is how many kinds of packets, by family, interface and protocol,
	// have code of their own.
	Kinds int `json:"kinds"`
	// Instructions is what a packet can meet at most, of the kind that can meet
	// most; General is what it would be without kinds.
	Instructions int `json:"instructions"`
	General      int `json:"general_instructions"`
}

// Hooks returns the hooks that the ruleset uses, in the order of the phases.
func (p *Program) Hooks() []HookInfo {
	general, special := p.measureKinds(true), p.measureKinds(false)
	var out []HookInfo
	for _, ph := range p.phases {
		sizes := special[ph]
		out = append(out, HookInfo{
			Name:         strings.TrimPrefix(ph.function, "policy_"),
			Kinds:        len(sizes),
			Instructions: slices.MaxFunc(sizes, cmp.Compare[int]),
			General:      general[ph][0],
		})
	}
	return out
}

// measureKinds returns how many instructions each kind of each hook has, with the
// functions that they call.
func (p *Program) measureKinds(general bool) map[*phase][]int {
	m := &module{p: p, layout: plainLayout(), general: general}
	if err := m.generate(); err != nil {
		// Compile has generated it with this layout before.
		panic(err)
	}
	bodies := make(map[string]asm.Instructions)
	for _, f := range m.functions {
		bodies[f.name] = f.insns
	}
	sizes := make(map[*phase][]int)
	for _, k := range m.kinds {
		sizes[k.phase] = append(sizes[k.phase], sizeWithCalls(k.code, bodies))
	}
	return sizes
}

// sizeWithCalls counts instructions and those of the functions that are called,
// each once.
func sizeWithCalls(code asm.Instructions, bodies map[string]asm.Instructions) int {
	size, seen := len(code), make(map[string]bool)
	todo := code.FunctionReferences()
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		size += len(bodies[name])
		todo = append(todo, bodies[name].FunctionReferences()...)
	}
	return size
}
