// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// testPolicy is a ruleset without the compiler: the loader's and the
// dataplane's tests do not depend on it. It accepts everything but what its
// members say.
type testPolicy struct {
	id           byte
	masquerade   bool // whatever leaves, by any interface
	dropInput    bool
	dropOutput   bool
	dropForward  bool
	dropNew      bool // that is forwarded
	countStates  bool // see stateCounter
	notVerifying bool // reads what it may not
	unpinnable   bool // has a map that cannot be pinned
	set          bool // has a set by the name of test_set
	nat          []natRule
	// dropFrames drops every frame at the hook ingress, or egress.
	dropFrames string
	// rejectAt is the phase, such as "forward", that rejects: TCP by a reset,
	// UDP by rejectedICMP.
	rejectAt string
	// routeMark is a mark that a chain of the type route sets at output; 0: there is none.
	routeMark int32
}

func (p testPolicy) Hash() [32]byte {
	return sha256.Sum256([]byte(fmt.Sprint(p)))
}

// Connection-tracking states as counter indexes, by phase.
var (
	countedStates = []int32{1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6} // CT_STATE_* of bpf/lib/common.h
	stateNames    = []string{"invalid", "established", "related", "new", "untracked"}
	countedPhases = []string{"policy_forward", "policy_input", "policy_output"}
)

// stateCounters are the packets of each state, such as "forward new", that a
// policy with countStates has seen.
func stateCounters(t *testing.T, d *Dataplane) map[string]uint64 {
	t.Helper()
	counters, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]uint64{}
	for i, phase := range countedPhases {
		for j, state := range stateNames {
			states[strings.TrimPrefix(phase, "policy_")+" "+state] = counters[i*len(stateNames)+j].Packets
		}
	}
	return states
}

func (p testPolicy) Splice(spec *ebpf.CollectionSpec) error {
	if p.countStates {
		spec.Maps["l2_counters"].MaxEntries = uint32(len(countedPhases) * len(countedStates))
	}
	if p.unpinnable {
		spec.Maps["no/such/directory"] = &ebpf.MapSpec{Name: "unpinnable", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	}
	if p.set {
		spec.Maps["test_set"] = &ebpf.MapSpec{Name: "test_set", Type: ebpf.Hash, KeySize: 4, ValueSize: elemSize, MaxEntries: 16}
	}
	for _, prog := range spec.Programs {
		var out asm.Instructions
		skip := false
		for _, ins := range prog.Instructions {
			if name := ins.Symbol(); name != "" {
				skip = strings.HasPrefix(name, "policy_")
				if skip {
					body, err := p.phase(spec, name)
					if err != nil {
						return err
					}
					body[0] = btf.WithFuncMetadata(body[0].WithSymbol(name).WithSource(ins.Source()), btf.FuncMetadata(&ins))
					out = append(out, body...)
				}
			}
			if !skip {
				out = append(out, ins)
			}
		}
		prog.Instructions = out
	}
	if p.rejectAt != "" {
		if err := spec.Variables["policy_rejects"].Set(uint32(1)); err != nil {
			return err
		}
	}
	if v := spec.Variables["policy_nat"]; v != nil && !slices.ContainsFunc(p.nat, func(r natRule) bool { return r.hook == "output" }) {
		if err := v.Set(^uint32(natOutput)); err != nil {
			return err
		}
	}
	phases := uint32(0x7fff &^ (1 << 11))
	if slices.ContainsFunc(p.nat, func(r natRule) bool { return r.hook == "input" }) {
		phases |= 1 << 11
	}
	if p.routeMark != 0 {
		phases |= 1 << 19
	}
	if p.dropFrames != "" {
		phases |= map[string]uint32{"ingress": 1 << 20, "egress": 1 << 21}[p.dropFrames]
		if err := spec.Variables["policy_xdp"].Set(uint32(0)); err != nil {
			return err
		}
	}
	return spec.Variables["policy_phases"].Set(phases)
}

func (p testPolicy) phase(spec *ebpf.CollectionSpec, name string) (asm.Instructions, error) {
	ctState, err := pktOffset(spec, "ct_state")
	if err != nil {
		return nil, err
	}
	nat, err := pktOffset(spec, "nat")
	if err != nil {
		return nil, err
	}
	verdict := int32(1)
	switch {
	case p.dropFrames != "" && name == "policy_"+p.dropFrames:
		verdict = 0
	case p.dropInput && name == "policy_input", p.dropOutput && name == "policy_output", p.dropForward && name == "policy_forward":
		verdict = 0
	}
	end := name + ".end"
	body := asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Mov.Reg(asm.R1, asm.R2), asm.JEq.Imm(asm.R1, 0, end)}
	for i, rule := range p.nat {
		if "policy_"+rule.hook+"_nat" != name {
			continue
		}
		insns, err := rule.instructions(spec, fmt.Sprintf("%s.nat%d", name, i))
		if err != nil {
			return nil, err
		}
		body = append(body, insns...)
	}
	if p.masquerade && name == "policy_postrouting_nat" {
		body = append(body, asm.Mov.Imm(asm.R2, natMasquerade), asm.StoreMem(asm.R1, nat, asm.R2, asm.Word))
	}
	if p.notVerifying {
		body = append(body, asm.LoadMem(asm.R2, asm.R1, 4096, asm.Word))
	}
	if p.routeMark != 0 && name == "policy_output" {
		routes, err := p.route(spec)
		if err != nil {
			return nil, err
		}
		body = append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Reg(asm.R7, asm.R2)}, body...)
		body = append(body, routes...)
	}
	if name == "policy_"+p.rejectAt {
		reject, err := p.reject(spec, name)
		if err != nil {
			return nil, err
		}
		body = append(body, reject...)
	}
	if p.dropNew && name == "policy_forward" {
		body = append(body, asm.LoadMem(asm.R3, asm.R1, ctState, asm.Word), asm.Mov.Imm(asm.R0, 0), asm.JEq.Imm(asm.R3, countedStates[3], end))
	}
	for i, phase := range countedPhases {
		if !p.countStates || name != phase {
			continue
		}
		call := name + ".count"
		body = append(body, asm.LoadMem(asm.R3, asm.R1, ctState, asm.Word))
		for j, state := range countedStates {
			body = append(body, asm.Mov.Imm(asm.R2, int32(i*len(countedStates)+j)), asm.JEq.Imm(asm.R3, state, call))
		}
		body = append(body, asm.Mov.Imm(asm.R2, -1), asm.Call.Label("nft_count").WithSymbol(call))
	}
	return append(body, asm.Mov.Imm(asm.R0, verdict), asm.Return().WithSymbol(end)), nil
}

// route changes the mark as between the two calls for a chain of the type route. R6 and R7 are the hook's arguments.
func (p testPolicy) route(spec *ebpf.CollectionSpec) (asm.Instructions, error) {
	mark, err := pktOffset(spec, "mark")
	if err != nil {
		return nil, err
	}
	var out asm.Instructions
	for step := range int32(2) {
		out = append(out, asm.Mov.Imm(asm.R2, p.routeMark), asm.StoreMem(asm.R7, mark, asm.R2, asm.Word))
		if step == 0 {
			out = out[:0]
		}
		out = append(out, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.R7), asm.Mov.Imm(asm.R3, step), asm.Call.Label("nft_route"))
	}
	return append(out, asm.Mov.Reg(asm.R1, asm.R7)), nil
}

// rejectedICMP are REJECT_* of bpf/lib/types.h: communication prohibited.
const rejectedICMP = 1<<16 | 1<<8 | 13

func (p testPolicy) reject(spec *ebpf.CollectionSpec, name string) (asm.Instructions, error) {
	reject, err := pktOffset(spec, "reject")
	if err != nil {
		return nil, err
	}
	l4proto, err := pktOffset(spec, "l4proto")
	if err != nil {
		return nil, err
	}
	drop, accept := name+".reject", name+".accept"
	return asm.Instructions{
		asm.LoadMem(asm.R3, asm.R1, l4proto, asm.Byte),
		asm.Mov.Imm(asm.R2, 2<<16),
		asm.JEq.Imm(asm.R3, 6, drop),
		asm.JNE.Imm(asm.R3, 17, accept),
		asm.Mov.Imm(asm.R2, rejectedICMP),
		asm.StoreMem(asm.R1, reject, asm.R2, asm.Word).WithSymbol(drop),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
		asm.Mov.Imm(asm.R2, 0).WithSymbol(accept),
	}, nil
}

func pktOffset(spec *ebpf.CollectionSpec, member string) (int16, error) {
	var pkt *btf.Struct
	if err := spec.Types.TypeByName("pkt", &pkt); err != nil {
		return 0, err
	}
	for _, m := range pkt.Members {
		if m.Name == member {
			return int16(m.Offset.Bytes()), nil
		}
	}
	return 0, fmt.Errorf("struct pkt has no member %s", member)
}
