// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// maxProgramMaps is how many maps a program may use: MAX_USED_MAPS of the kernel's
// include/linux/bpf_verifier.h.
const maxProgramMaps = 64

// ErrTooManyMaps says that a ruleset has more kinds of sets than a program has room for.
var ErrTooManyMaps = errors.New("too many kinds of sets and maps for one program")

// checkMapCount refuses programs that the kernel would refuse without a word on
// what there is too much of.
func checkMapCount(spec *ebpf.CollectionSpec) error {
	for name, program := range spec.Programs {
		used := map[string]bool{}
		for _, ins := range program.Instructions {
			if ins.IsLoadFromMap() {
				used[ins.Reference()] = true
			}
		}
		if len(used) > maxProgramMaps {
			return fmt.Errorf("%w: %s would use %d BPF maps, and the kernel allows %d: have sets of fewer kinds of keys and elements, or let those of up to 32 elements be constant",
				ErrTooManyMaps, name, len(used), maxProgramMaps)
		}
	}
	return nil
}
