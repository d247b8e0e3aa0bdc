// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// MaxSetMaps is how many maps of sets a program refers to. The kernel lets it refer
// to 64 (MAX_USED_MAPS), of which the dataplane has up to 34.
const MaxSetMaps = 28

var setMaps = MaxSetMaps // less in tests

// A pool is a map of maps: an array of maps of sets. A program refers to it alone, and
// looks up in it what it would refer to else. The sets' maps are the same ones, pinned
// by the same names, so that nothing but generated code knows of pools.

// poolName is the name of a pool by its number.
func poolName(n int) string { return fmt.Sprintf("l2_sets_%d", n) }

// pooled is where a map is in a pool.
type pooled struct {
	pool, index int
}

// shape is what the maps of a pool have in common: bpf_map_meta_equal() of the kernel.
type shape struct {
	typ               ebpf.MapType
	key, value, flags uint32
}

// pool puts as many of the sets' maps into pools as it takes to refer to no more than
// most, those first of which there are most of one shape. Others are referred to.
func (p *Program) pool(most int) {
	shapes := map[shape][]*ebpf.MapSpec{}
	refs := 0
	for _, s := range p.Sets {
		for _, m := range s.blank() {
			sh := shape{m.Type, m.KeySize, m.ValueSize, m.Flags}
			shapes[sh] = append(shapes[sh], m)
			refs++
		}
	}
	var order [][]*ebpf.MapSpec
	for _, maps := range shapes {
		order = append(order, maps)
	}
	slices.SortFunc(order, func(a, b []*ebpf.MapSpec) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a[0].Name, b[0].Name))
	})
	p.inPool = map[string]pooled{}
	for _, maps := range order {
		if refs <= most {
			return
		}
		for i, m := range maps {
			p.inPool[m.Name] = pooled{len(p.pools), i}
		}
		p.pools = append(p.pools, maps)
		refs -= len(maps) - 1
	}
}

// poolSpecs returns the pools, which name their maps.
func (p *Program) poolSpecs() []*ebpf.MapSpec {
	var specs []*ebpf.MapSpec
	for n, maps := range p.pools {
		m := &ebpf.MapSpec{
			Name: poolName(n), Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4,
			MaxEntries: uint32(len(maps)), InnerMap: maps[0].Copy(),
		}
		for i, set := range maps {
			m.Contents = append(m.Contents, ebpf.MapKV{Key: uint32(i), Value: set.Name})
		}
		specs = append(specs, m)
	}
	return specs
}

// mapInto puts a set's map into R1. Where it is in a pool, R0 to R5 are lost; absent
// is what follows if the pool does not have it, which the verifier wants to know.
func (g *gen) mapInto(name string, absent label) {
	at, ok := g.p.inPool[name]
	if !ok {
		g.emit(asm.LoadMapPtr(asm.R1, 0).WithReference(name))
		return
	}
	g.element(poolName(at.pool), at.index)
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
	g.emit(asm.Mov.Reg(asm.R1, asm.R0))
}
