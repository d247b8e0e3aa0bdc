// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// NAT_* of bpf/lib/types.h.
const (
	natAddress    = 1 << 0
	natPorts      = 1 << 1
	natRandom     = 1 << 2
	natPersistent = 1 << 3
	natRedirect   = 1 << 29
	natMasquerade = 1 << 30
)

// natRule is a NAT statement of a testPolicy, for packets to an address.
type natRule struct {
	hook     string // prerouting, input, output or postrouting
	dst      netip.Addr
	port     uint16 // destination port; 0: any
	flags    uint32 // besides those that the rest says
	min, max netip.Addr
	ports    [2]uint16
}

// to is a range of one address.
func (r natRule) to(a netip.Addr) natRule {
	r.min, r.max = a, a
	return r
}

func padded(a netip.Addr) []byte {
	var b [16]byte
	copy(b[:], a.AsSlice())
	return b[:]
}

// instructions are the rule's; R1 is the packet. What it is not for, or has been
// given a translation, goes on behind it.
func (r natRule) instructions(spec *ebpf.CollectionSpec, name string) (asm.Instructions, error) {
	offset := map[string]int16{}
	for _, member := range []string{"tuple", "nat", "nat_range"} {
		var err error
		if offset[member], err = pktOffset(spec, member); err != nil {
			return nil, err
		}
	}
	var insns asm.Instructions
	end := name + ".end"
	for at, b := 0, padded(r.dst); at < len(b); at += 4 {
		insns = append(insns, asm.LoadMem(asm.R2, asm.R1, offset["tuple"]+16+int16(at), asm.Word),
			asm.JNE.Imm32(asm.R2, int32(binary.NativeEndian.Uint32(b[at:])), end))
	}
	if r.port != 0 {
		insns = append(insns, asm.LoadMem(asm.R2, asm.R1, offset["tuple"]+34, asm.Half), asm.JNE.Imm32(asm.R2, int32(swap16(r.port)), end))
	}
	flags := r.flags
	if r.min.IsValid() {
		flags |= natAddress
	}
	if r.ports[1] != 0 {
		flags |= natPorts
	}
	rng := append(padded(r.min), padded(r.max)...)
	rng = binary.BigEndian.AppendUint16(rng, r.ports[0])
	rng = binary.BigEndian.AppendUint16(rng, r.ports[1])
	rng = append(rng, 0, 0, 0, 0)
	for at := 0; at < len(rng); at += 8 {
		insns = append(insns, asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64(rng[at:])), asm.DWord),
			asm.StoreMem(asm.R1, offset["nat_range"]+int16(at), asm.R2, asm.DWord))
	}
	insns = append(insns, asm.Mov.Imm32(asm.R2, int32(flags)), asm.StoreMem(asm.R1, offset["nat"], asm.R2, asm.Word))
	return append(insns, asm.Mov.Reg(asm.R1, asm.R1).WithSymbol(end)), nil
}
