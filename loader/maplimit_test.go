// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/policy"
)

// TestMapCount: as many maps as the kernel allows are let through, one more is
// refused, whatever how often each is used.
func TestMapCount(t *testing.T) {
	var code asm.Instructions
	for i := range maxProgramMaps + 1 {
		for range 2 {
			code = append(code, asm.LoadMapPtr(asm.R1, 0).WithReference(fmt.Sprint("set", i)))
		}
		err := checkMapCount(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"l2_ingress": {Instructions: code}}})
		if tooMany := i == maxProgramMaps; errors.Is(err, ErrTooManyMaps) != tooMany {
			t.Errorf("%d maps: %v", i+1, err)
		} else if tooMany && !strings.Contains(err.Error(), "l2_ingress would use 65 BPF maps") {
			t.Error(err)
		}
	}
}

// TestMapsLeft: what the dataplane refers to, with what a policy adds besides sets, leaves
// room for as many maps of sets as the compiler thinks.
func TestMapsLeft(t *testing.T) {
	const others = 2 // l2_numgens, l2_quotas
	specs, err := objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range specs {
		for name, program := range spec.Programs {
			used := map[string]bool{}
			for _, ins := range program.Instructions {
				if ins.IsLoadFromMap() {
					used[ins.Reference()] = true
				}
			}
			if left := maxProgramMaps - len(used) - others; left < policy.MaxSetMaps {
				t.Errorf("%s leaves room for %d maps, policy.MaxSetMaps is %d", name, left, policy.MaxSetMaps)
			}
		}
	}
}
