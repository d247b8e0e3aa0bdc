// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Flags of bpf_l4_csum_replace(), include/uapi/linux/bpf.h.
const (
	flagPseudoHdr = 1 << 4
	flagIPv6      = 1 << 7
)

// probeCsumIPv6 returns BPF_F_IPV6 where the kernel's bpf_l4_csum_replace()
// knows it, else 0. Without it, the sum that a NIC made over a whole IPv6
// packet (CHECKSUM_COMPLETE) is left wrong by a change of addresses, which such
// kernels can do nothing about.
func probeCsumIPv6() (uint64, error) {
	spec := &ebpf.ProgramSpec{
		Name:    "probe_csum_ipv6",
		Type:    ebpf.SchedCLS,
		License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, 50),
			asm.Mov.Imm(asm.R3, 0),
			asm.Mov.Imm(asm.R4, 1),
			asm.Mov.Imm(asm.R5, flagPseudoHdr|flagIPv6),
			asm.FnL4CsumReplace.Call(),
			asm.Return(),
		},
	}
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return 0, fmt.Errorf("probe of bpf_l4_csum_replace: %w", err)
	}
	defer prog.Close()
	ret, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 128)})
	if err != nil {
		return 0, fmt.Errorf("probe of bpf_l4_csum_replace: %w", err)
	}
	if int32(ret) < 0 {
		return 0, nil
	}
	return flagIPv6, nil
}
