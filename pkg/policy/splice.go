// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/randomizedcoder/l2d/internal/functions"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Maps of the dataplane that belong to a policy, and its variable.
const (
	countersMap     = "l2_counters"
	limitsMap       = "l2_limits"
	numgensMap      = "l2_numgens"
	factsMap        = "l2_facts"
	quotasMap       = "l2_quotas"
	phasesVariable  = "policy_phases"
	xdpVariable     = "policy_xdp"
	factsVariable   = "policy_facts"
	rejectsVariable = "policy_rejects"
	writesVariable  = "policy_writes"
	sendsVariable   = "policy_sends"
	natVariable     = "policy_nat"
	connsVariable   = "policy_counts_conns"
	zonesVariable   = "policy_turns_zones"
	earlyVariable   = "policy_early"
)

// Splice puts the ruleset into an object: it replaces the policy functions in
// every program, sets the sizes of the maps of counters and limits, fills the
// latter, adds a map for each set and tells the object which phases are used.
// It may be used for several objects, which can then share the maps by name. Functions
// of the object that the ruleset's code does not call stay; the kernel refuses them.
func (p *Program) Splice(spec *ebpf.CollectionSpec) error {
	variables := map[string]uint32{phasesVariable: p.Phases, factsVariable: p.facts, xdpVariable: 1, rejectsVariable: 0, writesVariable: 0, sendsVariable: 0}
	conns := p.countsConns()
	if conns {
		variables[factsVariable] |= factsCt
	}
	if spec.Variables[connsVariable] != nil { // not in the XDP object
		variables[connsVariable] = 0
		if conns {
			variables[connsVariable] = 1
		}
	}
	if spec.Variables[natVariable] != nil { // not in the XDP object
		variables[natVariable] = p.nat
	}
	if p.turnsZones {
		variables[zonesVariable] = 1
	}
	rejects := p.rejects
	if spec.Variables[earlyVariable] != nil { // in the XDP object
		variables[earlyVariable] = p.early
		rejects = p.rejectsAtXDP
	}
	if len(p.TCOnly) > 0 {
		variables[xdpVariable] = 0
	}
	if rejects {
		variables[rejectsVariable] = 1
	}
	if p.sends {
		variables[sendsVariable] = 1
	}
	if p.writes {
		variables[writesVariable] = 1
	}
	for name, value := range variables {
		v := spec.Variables[name]
		if v == nil {
			return fmt.Errorf("policy: the object has no variable %s", name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("policy: %s: %w", name, err)
		}
	}
	if err := p.maps(spec); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	generated := map[layout][]function{}
	for name, prog := range spec.Programs {
		insns, err := p.program(prog.Instructions, generated)
		if err != nil {
			return fmt.Errorf("policy: program %s: %w", name, err)
		}
		prog.Instructions = insns
	}
	return nil
}

// maps sets up the maps of an object.
func (p *Program) maps(spec *ebpf.CollectionSpec) error {
	counters, limits := spec.Maps[countersMap], spec.Maps[limitsMap]
	if counters == nil || limits == nil {
		return fmt.Errorf("the object has no map %s or %s", countersMap, limitsMap)
	}
	counters.MaxEntries = uint32(max(1, len(p.Rules)))
	limits.MaxEntries = uint32(max(1, len(p.Limits)))
	limits.Contents = nil
	for _, l := range p.Limits {
		value, err := l.value(limits)
		if err != nil {
			return err
		}
		limits.Contents = append(limits.Contents, ebpf.MapKV{Key: l.Index, Value: value})
	}
	if !p.countsConns() {
		for _, name := range connMaps {
			if m := spec.Maps[name]; m != nil {
				m.MaxEntries = 1
			}
		}
	}
	if p.numgens > 0 {
		spec.Maps[numgensMap] = &ebpf.MapSpec{
			Name: numgensMap, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(p.numgens),
			Key: btfU32, Value: btfU64,
		}
	}
	if len(p.quotas) > 0 {
		m := &ebpf.MapSpec{
			Name: quotasMap, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(len(p.quotas)),
			Key: btfU32, Value: btfU64,
		}
		for i, consumed := range p.quotas {
			m.Contents = append(m.Contents, ebpf.MapKV{Key: uint32(i), Value: consumed})
		}
		spec.Maps[quotasMap] = m
	}
	sets, err := p.Maps()
	if err != nil {
		return err
	}
	for _, m := range sets {
		if spec.Maps[m.Name] != nil {
			return fmt.Errorf("the object has a map %s already", m.Name)
		}
		spec.Maps[m.Name] = m
	}
	for _, m := range p.poolSpecs() {
		spec.Maps[m.Name] = m
	}
	return nil
}

// program replaces the policy functions in the instructions of a program. They
// are flat: the entry, then the other functions. Programs of an object with the same layout have the same ones.
func (p *Program) program(insns asm.Instructions, generated map[layout][]function) (asm.Instructions, error) {
	functions, err := split(insns)
	if err != nil {
		return nil, err
	}
	functions = p.collector(functions)
	var stub *btf.Func
	for _, f := range functions {
		for i := range phaseTable {
			if f.name == phaseTable[i].function {
				stub = btf.FuncMetadata(&f.insns[0])
			}
		}
	}
	if stub == nil {
		return join(functions), nil // does not decide about packets
	}
	l, err := layoutOf(stub)
	if err != nil {
		return nil, err
	}
	for i, f := range functions {
		if strings.HasPrefix(f.name, "policy_") {
			functions[i] = unused(f)
		}
	}
	if l.xdp && len(p.TCOnly) > 0 && p.early == 0 {
		return join(functions), nil // runs none of it
	}
	if _, ok := generated[*l]; !ok {
		if generated[*l], err = p.generate(l); err != nil {
			return nil, err
		}
	}
	if p.traced {
		f, err := traceFunctionOf(functions)
		if err != nil {
			return nil, err
		}
		functions = append(functions, f)
	}
	for _, f := range generated[*l] {
		f = withType(f, &btf.Func{Name: f.name, Type: stub.Type, Linkage: btf.GlobalFunc})
		replaced := false
		for i := range functions {
			if functions[i].name == f.name {
				functions[i], replaced = f, true
			}
		}
		if !replaced {
			functions = append(functions, f)
		}
	}
	return join(functions), nil
}

// unused is the stub of a function that the policy has no code for, and the programs do not call: without the calls
// of all that such code may need, which the program does not need for it then.
func unused(stub function) function {
	insns := asm.Instructions{asm.Mov.Imm(asm.R0, codeDrop), asm.Return()}
	insns[0].Metadata = stub.insns[0].Metadata
	return function{stub.name, insns}
}

// split divides a program into its functions.
func split(insns asm.Instructions) ([]function, error) {
	if len(insns) == 0 || btf.FuncMetadata(&insns[0]) == nil {
		return nil, errors.New("no BTF of its functions")
	}
	var out []function
	for _, f := range functions.Split(insns) {
		out = append(out, function{f[0].Symbol(), f})
	}
	return out, nil
}

// join puts functions together: also those that nothing calls.
func join(functions []function) asm.Instructions {
	all := make([]asm.Instructions, len(functions))
	for i, f := range functions {
		all[i] = f.insns
	}
	return slices.Concat(all...)
}

// Hash identifies what the program does: two programs with the same hash have
// the same instructions, counters, limits, logs and sets, and the same elements
// in the ruleset. What is left of the life of elements does not count.
func (p *Program) Hash() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "phases %#x facts %#x\n%+v\n%+v\n", p.Phases, p.facts, p.Logs, p.Limits)
	fmt.Fprintf(h, "%v\n", p.quotas)
	for _, r := range p.Rules {
		r.Line = 0 // a comment more in the file changes nothing
		fmt.Fprintf(h, "%+v\n", r)
	}
	for _, s := range p.Sets {
		fmt.Fprintf(h, "%v %s %v %d %v %v\n", s, s.MapName, s.MapType(), s.MaxEntries, s.fields, s.Timeout)
		fmt.Fprintf(h, "%d %s\n", s.dataLen, statesText(s.states))
		if p.options.Live && !s.Constant {
			continue
		}
		if slices.ContainsFunc(s.Fields, func(f nft.Field) bool { return f.Type == "ifname" }) {
			// Their keys are the indexes of today's interfaces.
			for _, e := range s.initial() {
				fmt.Fprintf(h, "%x\n", e.key)
			}
			if s.classes {
				for _, r := range s.ranges {
					fmt.Fprintf(h, "%x\n", s.classElement(0, r).fields)
				}
			}
		}
		for _, r := range s.ranges {
			fmt.Fprintf(h, "%x %x %v\n", r.From, r.To, r.Element.Timeout)
			if v := r.Element.Verdict; v != nil {
				fmt.Fprintf(h, "%v\n", *v)
			}
			if r.Element.Object != "" {
				fmt.Fprintf(h, "%s\n", r.Element.Object)
			}
			if r.Element.Data != nil {
				fmt.Fprintf(h, "%x\n", r.Element.Data)
			}
		}
		if e := s.catchAll; e != nil {
			fmt.Fprintf(h, "%v %d %x\n", e.Timeout, s.verdictOf(e), e.Data)
		}
	}
	functions, err := p.generate(plainLayout())
	if err != nil {
		// Compile has generated it with this layout before.
		panic(err)
	}
	for _, f := range functions {
		fmt.Fprintf(h, "%s\n%v\n", f.name, f.insns)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
