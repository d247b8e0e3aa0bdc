// SPDX-License-Identifier: GPL-2.0-only

package policy

// frame is the stack of generated functions, from the frame pointer down: a
// key, the computed values of a rule, a new element of a set.
type frame struct {
	key    int  // bytes of the longest key
	locals int  // slots of the rule that computes most
	values bool // rules add elements
}

// local is where a byte of the computed values is: one of several slots lies in
// one piece.
func (f *frame) local(index int) int { return -f.key - localSlot*f.locals + index }

// value is where a new element is built.
func (f *frame) value() int { return -f.key - localSlot*f.locals - elemSize - stateSize }

// size is how much stack a function takes at most.
func (f *frame) size() int {
	n := f.key + localSlot*f.locals
	if f.values {
		n += elemSize + stateSize
	}
	return (n + 15) &^ 15
}

// stackLeft is what the dataplane leaves of the kernel's 512 bytes of stack to
// the functions of the ruleset, in bytes: the XDP program and nft_count() take
// 272 together. TestStack fails when that is too much.
const stackLeft = 224

// nesting is how deep functions of chains may call each other, below the one of
// their phase.
func (f *frame) nesting() int { return min(maxNesting, stackLeft/f.size()-1) }

// planFrame looks for the longest key.
func (c *compiler) planFrame() {
	f := &c.p.frame
	f.key = 8 // the index of a map that is an array
	for _, s := range c.p.Sets {
		n := s.keySize()
		if s.Interval {
			n += prefixLen
		}
		f.key = max(f.key, (n+7)&^7)
	}
}
