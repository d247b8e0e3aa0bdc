// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// kernelTypes is the kernel's type information: read once, as it is large.
var kernelTypes = btf.NewCache()

// parsed are the objects of the build, for all who read them.
var parsed = sync.OnceValues(func() ([]*ebpf.CollectionSpec, error) {
	tc, err := loadL2TC()
	if err != nil {
		return nil, err
	}
	xdp, err := loadL2XDP()
	return []*ebpf.CollectionSpec{tc, xdp}, err
})

// objects returns copies of the build's objects: of TC, the maps that both have
// among its own, and of XDP.
func objects() ([]*ebpf.CollectionSpec, error) {
	specs, err := parsed()
	if err != nil {
		return nil, err
	}
	copies := make([]*ebpf.CollectionSpec, len(specs))
	for i, spec := range specs {
		copies[i] = spec.Copy()
	}
	return copies, nil
}
