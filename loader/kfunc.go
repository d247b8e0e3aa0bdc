// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// The function that sets the callback of a work item, by the names that kernels
// have for it, newest first. Its last parameter, the kernel's own, which the
// verifier fills in, went out of sight with the newer one; the library takes
// only calls whose declaration is the kernel's.
var wqSetCallback = []string{"bpf_wq_set_callback", "bpf_wq_set_callback_impl"}

// resolveWorkCallback turns the calls of wqSetCallback into calls of the running
// kernel's function. The verifier still checks the arguments.
func resolveWorkCallback(spec *ebpf.CollectionSpec) error {
	for _, prog := range spec.Programs {
		for i, ins := range prog.Instructions {
			if !ins.IsKfuncCall() || !slices.Contains(wqSetCallback, ins.Reference()) {
				continue
			}
			id, err := kernelFuncID(wqSetCallback...)
			if err != nil {
				return err
			}
			prog.Instructions[i] = asm.Instruction{
				OpCode: ins.OpCode, Dst: ins.Dst, Src: ins.Src, Constant: int64(id),
			}.WithSource(ins.Source())
		}
	}
	return nil
}

// kernelFuncID is the type of the first of these functions that the kernel has.
func kernelFuncID(names ...string) (btf.TypeID, error) {
	kernel, err := kernelTypes().Kernel()
	if err != nil {
		return 0, fmt.Errorf("type information of the kernel: %w", err)
	}
	for _, name := range names {
		var fn *btf.Func
		err := kernel.TypeByName(name, &fn)
		if errors.Is(err, btf.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("kernel function %s: %w", name, err)
		}
		return kernel.TypeID(fn)
	}
	return 0, fmt.Errorf("the kernel has none of the functions %v", names)
}
