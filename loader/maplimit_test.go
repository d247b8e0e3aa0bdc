// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
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
