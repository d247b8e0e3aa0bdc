// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// keepParsed is how long the build's objects, and the kernel's type information, are kept parsed after their last use: most
// changes come several in a row, and a daemon that waits has no use for the megabytes.
const keepParsed = time.Minute

var parsing struct {
	sync.Mutex
	specs  []*ebpf.CollectionSpec
	types  *btf.Cache
	forget *time.Timer
}

// kernelTypes is the kernel's type information, for all who read it.
func kernelTypes() *btf.Cache {
	p := &parsing
	p.Lock()
	defer p.Unlock()
	if p.types == nil {
		p.types = btf.NewCache()
	}
	forgetLater()
	return p.types
}

// forgetLater has what is parsed forgotten some time after this use of it. The caller holds parsing.
func forgetLater() {
	if parsing.forget == nil {
		parsing.forget = time.AfterFunc(keepParsed, forgetParsed)
	} else {
		parsing.forget.Reset(keepParsed)
	}
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
	forgetLater()
	return p.specs, nil
}

// forgetParsed gives the memory back to the system.
func forgetParsed() {
	parsing.Lock()
	parsing.specs, parsing.types = nil, nil
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
