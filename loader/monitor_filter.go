// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cloudflare/cbpfc"
	"golang.org/x/net/bpf"
)

// MonitorFilter selects frames as classic BPF, in the way of pcap: a program returns
// 0 for those that it does not select. Without instructions all are selected.
type MonitorFilter struct {
	Ethernet []bpf.RawInstruction // of frames that begin with an Ethernet header
	IP       []bpf.RawInstruction // of those that begin with IP's
}

// maxFilter bounds a program's length, in instructions: BPF_MAXINSNS.
const maxFilter = 4096

// Check tells whether the programs can be run.
func (f *MonitorFilter) Check() error {
	for _, raw := range [][]bpf.RawInstruction{f.Ethernet, f.IP} {
		if len(raw) > 0 {
			if _, err := filterCode("filter", raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// splice puts the filter into the programs of bpf/l2_monitor.c.
func (f *MonitorFilter) splice(spec *ebpf.CollectionSpec) error {
	for name, raw := range map[string][]bpf.RawInstruction{"monitor_ethernet": f.Ethernet, "monitor_ip": f.IP} {
		if len(raw) == 0 {
			continue
		}
		for _, p := range spec.Programs {
			code, err := filterCode(name, raw)
			if err != nil {
				return err
			}
			if p.Instructions, err = replaceFunction(p.Instructions, name, code); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceFunction replaces the code of a function.
func replaceFunction(insns asm.Instructions, name string, code asm.Instructions) (asm.Instructions, error) {
	at := slices.IndexFunc(insns, func(i asm.Instruction) bool { return i.Symbol() == name })
	if at < 0 {
		return nil, fmt.Errorf("no function %s", name)
	}
	code[0].Metadata = insns[at].Metadata // its name and type
	end := at + 1
	for end < len(insns) && btf.FuncMetadata(&insns[end]) == nil {
		end++
	}
	return slices.Concat(insns[:at], code, insns[end:]), nil
}

// What a filter keeps on its stack, above the memory of classic BPF.
const (
	slotLoaded   = -8  // what was read of the packet
	slotIndirect = -16 // a register that calls destroy
	slotLen      = -24 // of the frame
	slots        = 24
)

// filterCode is the body of int name(u64 start, u64 end, u32 len), whose labels begin with
// the name: a program has several filters. The packet is memory that the verifier knows
// nothing of: each load of it is a helper's.
func filterCode(name string, raw []bpf.RawInstruction) (asm.Instructions, error) {
	if len(raw) > maxFilter {
		return nil, fmt.Errorf("filter: %d instructions: want %d at most", len(raw), maxFilter)
	}
	filter, ok := bpf.Disassemble(raw)
	if !ok {
		return nil, fmt.Errorf("filter: an instruction that is not known")
	}
	result := name + "_result"
	const start, end, indirect = asm.R6, asm.R7, asm.R4
	code, err := cbpfc.ToEBPF(filter, cbpfc.EBPFOpts{
		PacketStart: start, PacketEnd: end, Result: asm.R0, ResultLabel: result, LabelPrefix: name,
		Working: [4]asm.Register{asm.R8, asm.R9, asm.R5, indirect}, StackOffset: slots,
	})
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	out := asm.Instructions{
		asm.Mov.Reg(start, asm.R1),
		asm.Mov.Reg(end, asm.R2),
		asm.StoreMem(asm.RFP, slotLen, asm.R3, asm.Word),
		asm.Mov.Imm(indirect, 0),
	}
	for i := 0; i < len(code); i++ {
		ins := code[i]
		var instead asm.Instructions
		switch {
		case ins.OpCode.Class() == asm.LdXClass && ins.Src != asm.RFP:
			instead = asm.Instructions{
				asm.Mov.Reg(asm.R3, ins.Src),
				asm.Add.Imm(asm.R3, int32(ins.Offset)),
				asm.StoreMem(asm.RFP, slotIndirect, indirect, asm.DWord),
				asm.Mov.Reg(asm.R1, asm.RFP),
				asm.Add.Imm(asm.R1, slotLoaded),
				asm.Mov.Imm(asm.R2, int32(ins.OpCode.Size().Sizeof())),
				asm.FnProbeReadKernel.Call(),
				asm.LoadMem(indirect, asm.RFP, slotIndirect, asm.DWord),
				asm.LoadMem(ins.Dst, asm.RFP, slotLoaded, ins.OpCode.Size()),
			}
		case ins.OpCode == asm.Mov.Reg(0, 0).OpCode && ins.Src == end:
			// The frame's length, which cbpfc takes to be end - start.
			instead = asm.Instructions{asm.LoadMem(ins.Dst, asm.RFP, slotLen, asm.Word)}
			i++
		default:
			out = append(out, ins)
			continue
		}
		instead[0] = instead[0].WithSymbol(ins.Symbol())
		out = append(out, instead...)
	}
	return append(out, asm.Return().WithSymbol(result)), nil
}
