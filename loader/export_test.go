// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// StackChain is a program's deepest chain of calls.
type StackChain struct {
	Depth int // bytes of stack
	// Frames are its functions from the program on, each with its bytes.
	Frames []string
}

// StackChains returns the deepest chain of each program of cfg, by its name.
func StackChains(cfg Config) (map[string]StackChain, error) {
	specs, err := objects()
	if err != nil {
		return nil, err
	}
	l := &loaded{maps: map[string]*ebpf.Map{}}
	defer l.close()
	chains := map[string]StackChain{}
	if err := prepareAll(specs, &cfg, 0); err != nil {
		return nil, err
	}
	for _, spec := range specs {
		maps, err := l.makeMaps(spec)
		if err != nil {
			return nil, err
		}
		defer closeMaps(maps)
		for _, p := range partsOf(spec, maps) {
			if chains[p.program], err = p.stackChain(); err != nil {
				return nil, err
			}
		}
	}
	return chains, nil
}

// stackChain loads a program. Its frames are those of the kernel's log, its calls
// those of the program as the kernel has it: only those that can happen.
func (p part) stackChain() (StackChain, error) {
	program, err := p.verify(ebpf.LogLevelStats)
	if err != nil {
		return StackChain{}, err
	}
	defer program.Close()
	depths, err := stackDepths(program.VerifierLog)
	if err != nil {
		return StackChain{}, fmt.Errorf("program %s: %w", p.program, err)
	}
	info, err := program.Info()
	if err != nil {
		return StackChain{}, err
	}
	insns, err := info.Instructions()
	if err != nil {
		return StackChain{}, err
	}
	g := callsOf(insns)
	if len(g.names) != len(depths) {
		return StackChain{}, fmt.Errorf("program %s has %d functions, and %d frames", p.program, len(g.names), len(depths))
	}
	return g.deepest(0, depths), nil
}

var stackDepthLine = regexp.MustCompile(`(?m)^stack depth ([\d+]+)`)

// stackDepths are the bytes of stack of each function of a program, in order.
func stackDepths(log string) ([]int, error) {
	m := stackDepthLine.FindStringSubmatch(log)
	if m == nil {
		return nil, fmt.Errorf("no stack depth in the verifier's log: %s", log)
	}
	var depths []int
	for s := range strings.SplitSeq(m[1], "+") {
		d, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		depths = append(depths, d)
	}
	return depths, nil
}

// calls are the functions of a program, in order, and which others each calls.
type calls struct {
	names []string
	to    [][]int
}

func callsOf(insns asm.Instructions) calls {
	var g calls
	for _, ins := range insns {
		if f := btf.FuncMetadata(&ins); f != nil {
			g.names = append(g.names, f.Name)
			g.to = append(g.to, nil)
		}
		last := len(g.to) - 1
		switch {
		case ins.IsFunctionCall():
			// Of a JITed program it is the function's number.
			g.to[last] = append(g.to[last], int(ins.Constant))
		case ins.IsLoadOfFunctionPointer():
			g.to[last] = append(g.to[last], int(ins.Constant>>32))
		}
	}
	return g
}

// deepest is the deepest chain from the function on. As check_max_stack_depth() of
// the kernel counts it: a frame is a multiple of 16 bytes.
func (g calls) deepest(function int, depths []int) StackChain {
	var below StackChain
	for _, to := range g.to[function] {
		if c := g.deepest(to, depths); c.Depth > below.Depth {
			below = c
		}
	}
	frame := (max(depths[function], 1) + 15) &^ 15
	return StackChain{
		Depth:  frame + below.Depth,
		Frames: append([]string{fmt.Sprintf("%s %d", g.names[function], frame)}, below.Frames...),
	}
}
