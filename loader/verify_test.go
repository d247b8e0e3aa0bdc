// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

func TestVerify(t *testing.T) {
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){"tc": loadL2TC, "xdp": loadL2XDP} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range spec.Variables {
			if v.Name == "policy_phases" {
				v.Set(uint32(0x3ff))
			}
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			var ve *ebpf.VerifierError
			if errors.As(err, &ve) {
				n := len(ve.Log)
				for _, l := range ve.Log[max(0, n-30):] {
					t.Log(l)
				}
			}
			t.Errorf("%s: %v", name, err)
			continue
		}
		for n, p := range coll.Programs {
			i, _ := p.Info()
			v, _ := i.VerifiedInstructions()
			t.Log(n, v)
		}
		coll.Close()
	}
}
