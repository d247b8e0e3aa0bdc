// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// op is a step of a lowered rule.
type op interface{ isOp() }

// tcOnly is an op that an XDP program cannot do. A ruleset with one in a chain
// that forwarded packets meet leaves all packets to TC: half of a way cannot be
// taken back.
type tcOnly interface {
	op
	// why says what XDP lacks.
	why() string
}

// span is a range of byte strings of one length, both ends included.
type span struct{ lo, hi []byte }

func (s span) single() bool { return bytes.Equal(s.lo, s.hi) }

func (s span) contains(v []byte) bool {
	return bytes.Compare(s.lo, v) <= 0 && bytes.Compare(v, s.hi) <= 0
}

// opMatch goes on if one of elems holds the keys; each element has a span for
// each key.
type opMatch struct {
	keys   [][]sym
	elems  [][]span
	invert bool
	// named is the condition as it was before names of interfaces became
	// indexes; nil when there were none.
	named *opMatch
}

// opLookup goes on if the set, which is a map, has the keys.
type opLookup struct {
	keys   [][]sym
	set    int // index in Program.Sets
	invert bool
}

// opTransport goes on if the packet has that many bytes of transport header.
type opTransport struct{ end int }

// opLimit goes on if the limit lets it.
type opLimit struct {
	index int
	// shared with other rules.
	shared bool
}

// opCount counts the packet at the rule.
type opCount struct{ index int }

// opLog reports the packet.
type opLog struct {
	index int
	// socket is the first of the two slots for the user and the group of its
	// socket; -1: they are not asked for.
	socket int
}

// opVerdict ends the rule.
type opVerdict struct {
	code  nft.VerdictCode
	chain *nft.Chain // of jump and goto
	// object is evaluated before, where a map of objects led to it.
	object *object
}

func (*opMatch) isOp()    {}
func (*opLookup) isOp()   {}
func (opTransport) isOp() {}
func (opLimit) isOp()     {}
func (opCount) isOp()     {}
func (opLog) isOp()       {}
func (opVerdict) isOp()   {}

// rule is a lowered rule.
type rule struct {
	src   *nft.Rule
	index uint32 // counter
	ops   []op
	// size is how many instructions it has, without those of the chains that it
	// jumps to.
	size int
}

// targets returns the chains that the rule jumps or goes to, as often as it
// does.
func (r *rule) targets() []*nft.Chain { return targetsOf(r.ops) }

func targetsOf(ops []op) []*nft.Chain {
	var out []*nft.Chain
	add := func(v opVerdict) {
		if v.chain != nil {
			out = append(out, v.chain)
		}
	}
	for _, o := range ops {
		switch o := o.(type) {
		case opVerdict:
			add(o)
		case *opVerdictMap:
			for _, v := range o.verdicts {
				add(v)
			}
		}
	}
	return out
}
