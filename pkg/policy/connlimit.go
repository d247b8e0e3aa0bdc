// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// connlimit is a ct count statement.
type connlimit struct {
	count uint32
	over  bool
}

// opConnlimit goes on as long as the statement has met at most so many living
// connections, or once it has met more.
type opConnlimit struct {
	connlimit
	id int // of the statement, among those of rules
}

func (opConnlimit) isOp() {}

func connlimitOf(e *nft.ExprConnlimit) connlimit { return connlimit{e.Count, e.Over} }

func (l *lowerer) connlimit(e *nft.ExprConnlimit) error {
	l.ops = append(l.ops, opConnlimit{connlimitOf(e), l.p.connlimits})
	l.p.connlimits++
	return nil
}

// connMaps are the maps of bpf/lib/conn_count.h, whose size is that for rulesets
// that count connections.
var connMaps = []string{"l2_conn_members", "l2_conn_slots", "l2_conn_counts"}

// connFrames are the callbacks of nft_ct_count().
const connFrames = 1

// What nft_ct_count() of bpf/lib/conn_count.h returns.
const (
	connWithin = 0
	connOver   = 1
)

// connlimitOfRule generates a statement of a rule.
func (g *gen) connlimitOfRule(o opConnlimit, fail label, sc *scope) {
	g.emit(asm.Mov.Imm(asm.R2, int32(o.id)))
	g.connlimit(o.connlimit, fail, sc)
}

// connlimit generates a statement whose number is in R2.
func (g *gen) connlimit(c connlimit, fail label, sc *scope) {
	g.emit(
		asm.Mov.Reg(asm.R1, regPkt),
		asm.LoadImm(asm.R3, int64(c.count), asm.DWord),
		asm.Call.Label("nft_ct_count"),
	)
	matches, breaks := int32(connWithin), int32(connOver)
	if c.over {
		matches, breaks = breaks, matches
	}
	on := g.newLabel()
	g.jump(asm.JEq.Imm32(asm.R0, matches, ""), on)
	g.jump(asm.JEq.Imm32(asm.R0, breaks, ""), fail)
	sc.drop() // it could not be counted
	g.bind(on)
}

// Elements number themselves by the time at which they are made, in ns, and
// below that by the CPU; statements of rules have the numbers before all times.
const connIDShift = 10

// newConnID generates the number of a new element's statement, in R0.
func (g *gen) newConnID() {
	const id = asm.R8
	g.emit(
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(id, asm.R0),
		asm.LSh.Imm(id, connIDShift),
		asm.FnGetSmpProcessorId.Call(),
		asm.Or.Reg(asm.R0, id),
	)
}

var connIDs struct {
	sync.Mutex
	last uint64
}

// beginConnID writes the number of a statement of an element that is made now.
func beginConnID(state []byte, now uint64) {
	connIDs.Lock()
	defer connIDs.Unlock()
	connIDs.last = max(connIDs.last+1, now<<connIDShift)
	binary.NativeEndian.PutUint64(state, connIDs.last)
}

// connState returns where in its value an element has the number of a ct count
// statement; 0: it has none.
func (s *Set) connState() int {
	for i := range s.states {
		if s.states[i].conns != nil {
			return s.stateOffset() + stateSize*i
		}
	}
	return 0
}

// countsConns tells whether the ruleset has ct count statements.
func (p *Program) countsConns() bool {
	return p.connlimits > 0 || slices.ContainsFunc(p.Sets, func(s *Set) bool { return s.connState() > 0 })
}
