// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// kernelTypes is the kernel's type information: read once, as it is large.
var kernelTypes = btf.NewCache()

// keepParsed is how long the build's objects are kept parsed after their last use: most
// changes come several in a row, and a daemon that waits has no use for the megabytes.
const keepParsed = time.Minute

var parsing struct {
	sync.Mutex
	specs  []*ebpf.CollectionSpec
	forget *time.Timer
}

// parsed are the objects of the build, for all who read them.
var parsed = parseOnce

func parseOnce() ([]*ebpf.CollectionSpec, error) {
	p := &parsing
	p.Lock()
	defer p.Unlock()
	if p.specs == nil {
		tc, err := loadL2TC()
		if err != nil {
			return nil, err
		}
		xdp, err := loadL2XDP()
		if err != nil {
			return nil, err
		}
		p.specs = []*ebpf.CollectionSpec{tc, xdp}
	}
	if p.forget == nil {
		p.forget = time.AfterFunc(keepParsed, forgetParsed)
	} else {
		p.forget.Reset(keepParsed)
	}
	return p.specs, nil
}

// forgetParsed gives the memory back to the system.
func forgetParsed() {
	parsing.Lock()
	parsing.specs = nil
	parsing.Unlock()
	debug.FreeOSMemory()
}

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
