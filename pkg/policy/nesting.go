// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Limits of the inlining of regular chains.
const (
	inlineRules = 8 // a chain of at most so many rules may be copied
	inlineCalls = 8 // to at most so many places
	// maxNesting is how many functions may be on the stack below that of a
	// phase: of chains, and of the parts of divided chains. The kernel allows
	// 8 frames, of which the dataplane, the phase and the counter take the
	// rest.
	maxNesting = 5
	// maxRule is how many instructions a rule may have with those of the
	// chains that are inlined into it: what a conditional jump reaches, and
	// some.
	maxRule = 8000
	// maxInlined is how many instructions a chain may have with those of the
	// chains that are inlined into it.
	maxInlined = 500000
)

// plan decides which regular chains become functions: those that several rules
// jump to, unless they are small, and those that would make a rule too long.
func (c *compiler) plan() error {
	if err := c.checkJumps(); err != nil {
		return err
	}
	m := &module{p: c.p, layout: plainLayout()}
	for i, ch := range c.p.sortedChains() {
		ch.number = i
		g := m.gen()
		g.outline = true
		sc := g.inFunction()
		for r, ops := range g.known.reach(ch.rules, c.p) {
			r.size = -g.size
			g.rule(r, ops, sc)
			r.size += g.size
		}
		ch.size = g.size
	}
	for _, ch := range c.p.chains {
		for _, r := range ch.rules {
			for _, t := range r.targets() {
				c.p.chains[t].calls++
			}
		}
	}
	for _, ch := range c.p.sortedChains() {
		if ch.calls > 1 && (len(ch.rules) > inlineRules || ch.calls > inlineCalls || c.jumps(ch)) {
			c.outline(ch)
		}
	}
	c.shorten()
	return c.flatten()
}

// maxJumps is how deep chains may jump to each other: NFT_JUMP_STACK_SIZE of
// include/net/netfilter/nf_tables.h.
const maxJumps = 16

// checkJumps refuses what no kernel takes: chains that jump to themselves, by
// others or not, and jumps that are too deep.
func (c *compiler) checkJumps() error {
	n := newNesting(c)
	depths := make(map[*chain]int) // -1: on the way
	var visit func(ch *chain) (int, error)
	visit = func(ch *chain) (int, error) {
		switch d, ok := depths[ch]; {
		case d < 0:
			return 0, fmt.Errorf("table %v chain %s: its jumps lead back to it", ch.src.Table, ch.src.Name)
		case ok:
			return d, nil
		}
		depths[ch] = -1
		deepest := 0
		for _, t := range n.callees(ch) {
			d, err := visit(t)
			if err != nil {
				return 0, err
			}
			deepest = max(deepest, d+1)
		}
		depths[ch] = deepest
		if deepest > maxJumps {
			return 0, fmt.Errorf("table %v chain %s: jumps are %d deep, more than %d", ch.src.Table, ch.src.Name, deepest, maxJumps)
		}
		return deepest, nil
	}
	for _, ch := range c.p.sortedChains() {
		if _, err := visit(ch); err != nil {
			return err
		}
	}
	return nil
}

// outline makes a chain a function.
func (c *compiler) outline(ch *chain) {
	ch.function = fmt.Sprintf("nft_%d_%s", ch.number, identifier(ch.src.Name))
}

// shorten makes functions of the largest chains that are inlined into rules
// which are too long with them.
func (c *compiler) shorten() {
	n := newNesting(c)
	done := make(map[*chain]bool)
	var visit func(ch *chain)
	visit = func(ch *chain) {
		if done[ch] {
			return
		}
		done[ch] = true
		for _, r := range ch.rules {
			var inlined []*chain
			size := 0
			for _, src := range r.targets() {
				t := c.p.chains[src]
				visit(t)
				if t.function == "" && !slices.Contains(inlined, t) {
					inlined = append(inlined, t)
					size += n.size(t)
				}
			}
			slices.SortStableFunc(inlined, func(a, b *chain) int { return n.size(b) - n.size(a) })
			for _, t := range inlined {
				if size <= maxRule {
					break
				}
				c.outline(t)
				size -= n.size(t)
			}
		}
	}
	for _, ch := range c.p.sortedChains() {
		visit(ch)
	}
}

// flatten inlines chains where functions would be nested too deep: always the
// one of a path that is too deep whose copies add least.
func (c *compiler) flatten() error {
	for {
		n := newNesting(c)
		var cheapest *chain
		var least int
		for _, ch := range c.p.sortedChains() {
			if size := n.size(ch); size > maxInlined {
				return fmt.Errorf("table %v chain %s: its jumps are nested so deep that they would have to be copied: %d instructions, more than %d", ch.src.Table, ch.src.Name, size, maxInlined)
			}
			if ch.function == "" || n.above(ch)+n.below(ch) <= maxNesting {
				continue
			}
			if cost := n.size(ch) * ch.calls; cheapest == nil || cost < least {
				cheapest, least = ch, cost
			}
		}
		if cheapest == nil {
			return nil
		}
		cheapest.function = ""
	}
}

func (c *compiler) jumps(ch *chain) bool {
	for _, r := range ch.rules {
		if len(r.targets()) > 0 {
			return true
		}
	}
	return false
}

// nesting measures how chains call each other, as they are inlined now. The
// kernel has checked that there are no loops.
type nesting struct {
	chains  map[*nft.Chain]*chain
	sets    []*Set
	callers map[*chain][]*chain
	sizes   map[*chain]int
	ups     map[*chain]int
	downs   map[*chain]int
}

func newNesting(c *compiler) *nesting {
	n := &nesting{
		chains:  c.p.chains,
		sets:    c.p.Sets,
		callers: make(map[*chain][]*chain),
		sizes:   make(map[*chain]int), ups: make(map[*chain]int), downs: make(map[*chain]int),
	}
	for _, ch := range c.p.chains {
		for _, t := range n.callees(ch) {
			n.callers[t] = append(n.callers[t], ch)
		}
	}
	return n
}

// callees returns the chains that a chain jumps or goes to, as often as it
// does.
func (n *nesting) callees(ch *chain) []*chain {
	var out []*chain
	for _, r := range ch.rules {
		for _, t := range r.targets() {
			out = append(out, n.chains[t])
		}
	}
	return out
}

// size returns how many instructions a chain has with those inlined into it.
func (n *nesting) size(ch *chain) int {
	return memoize(n.sizes, ch, func() int {
		size := ch.size
		for _, t := range n.callees(ch) {
			if t.function == "" && size <= maxInlined {
				size += n.size(t)
			}
		}
		return size
	})
}

// own returns how many frames a chain takes itself: one as a function, and one
// for the part of it that runs when it is divided.
func (n *nesting) own(ch *chain) int {
	frames := 0
	if ch.function != "" {
		frames++
	}
	if (ch.src.Base != nil || ch.function != "") && n.size(ch) > maxFunction {
		frames++
	}
	return frames
}

// frames returns how deep the functions of the dataplane that a chain's rules ask
// call others.
func (n *nesting) frames(ch *chain) int {
	deepest := 0
	element := func(set int) {
		if set >= 0 && n.sets[set].connState() > 0 {
			deepest = max(deepest, connFrames)
		}
	}
	for _, r := range ch.rules {
		for _, o := range r.ops {
			switch o := o.(type) {
			case *opAsk:
				deepest = max(deepest, o.frames)
			case *opWrite:
				deepest = max(deepest, o.frames)
			case opConnlimit:
				deepest = max(deepest, connFrames)
			case *opLookup:
				element(o.set)
			case *opDynset:
				element(o.set)
			case *opData:
				element(o.set)
			case *opVerdictMap:
				element(o.set)
			}
		}
	}
	return deepest
}

// above returns how many frames there are at most when a chain runs, with its
// own.
func (n *nesting) above(ch *chain) int {
	return memoize(n.ups, ch, func() int {
		deepest := 0
		for _, t := range n.callers[ch] {
			deepest = max(deepest, n.above(t))
		}
		return deepest + n.own(ch)
	})
}

// below returns how many frames a chain needs at most below its own.
func (n *nesting) below(ch *chain) int {
	return memoize(n.downs, ch, func() int {
		deepest := n.frames(ch)
		for _, t := range n.callees(ch) {
			deepest = max(deepest, n.below(t)+n.own(t))
		}
		return deepest
	})
}

func memoize(known map[*chain]int, ch *chain, compute func() int) int {
	if v, ok := known[ch]; ok {
		return v
	}
	v := compute()
	known[ch] = v
	return v
}
