// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// factsPolicy masquerades, and counts forwarded packets by what l2_facts says
// of their flows: a counter for each status, with these bits above it.
type factsPolicy struct{ testPolicy }

const (
	factReply  = 1 << 6
	factThere  = 1 << 7
	seenReply  = 1 << 1
	assured    = 1 << 2
	confirmed  = 1 << 3
	sourceNAT  = 1 << 4
	allOfFacts = 1 << 8
)

func (p factsPolicy) Splice(spec *ebpf.CollectionSpec) error {
	if err := p.testPolicy.Splice(spec); err != nil {
		return err
	}
	spec.Maps["l2_counters"].MaxEntries = allOfFacts
	offsets := map[string]int16{}
	for _, m := range spec.Maps["l2_facts"].Value.(*btf.Struct).Members {
		offsets[m.Name] = int16(m.Offset.Bytes())
	}
	for _, prog := range spec.Programs {
		var out asm.Instructions
		skip := false
		for _, ins := range prog.Instructions {
			if name := ins.Symbol(); name != "" && !strings.Contains(name, ".") {
				skip = strings.HasPrefix(name, "policy_")
				if skip {
					body, err := p.phase(spec, name)
					if name == "policy_forward" {
						body = countFacts(offsets)
					} else if err != nil {
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
	return spec.Variables["policy_facts"].Set(uint32(1))
}

func countFacts(offsets map[string]int16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.JEq.Imm(asm.R2, 0, "facts.end"),
		asm.Mov.Reg(asm.R6, asm.R2),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference("l2_facts"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "facts.end"),
		asm.LoadMem(asm.R2, asm.R0, offsets["status"], asm.Word),
		asm.LoadMem(asm.R3, asm.R0, offsets["direction"], asm.Byte),
		asm.LSh.Imm(asm.R3, 6),
		asm.Or.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R3, asm.R0, offsets["there"], asm.Byte),
		asm.LSh.Imm(asm.R3, 7),
		asm.Or.Reg(asm.R2, asm.R3),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Call.Label("nft_count"),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return().WithSymbol("facts.end"),
	}
}

// What a ruleset reads of a flow is what the flow is, at TC and at XDP.
func TestFlowFacts(t *testing.T) {
	inModes(t, factsPolicy{testPolicy{masquerade: true}}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			before, err := d.Counters()
			if err != nil {
				t.Fatal(err)
			}
			server := at(f.wan, 8100)
			r.echoTCP(t, "w", server)
			c := r.mustDial(t, "l", at(f.lan, 5100), server)
			for range 3 {
				if err := exchange(c, "facts"); err != nil {
					t.Fatal(err)
				}
			}
			counters, err := d.Counters()
			if err != nil {
				t.Fatal(err)
			}
			const answered = factThere | confirmed | sourceNAT | seenReply
			least := map[int]uint64{factThere: 1, answered | factReply: 1, answered | assured: 4, answered | assured | factReply: 3}
			for i := range counters {
				n := counters[i].Packets - before[i].Packets
				if want := least[i]; n < want || want == 0 && n != 0 {
					t.Errorf("facts %#x: %d packets, want %d or more", i, n, want)
				}
			}
		})
	})
}
