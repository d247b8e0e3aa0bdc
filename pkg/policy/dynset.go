// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"reflect"
	"time"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opDynset adds the keys to a set, or takes them away. The rule does not go on
// where the set is full, or the element's state breaks it.
type opDynset struct {
	op      nft.DynsetOp
	keys    [][]sym
	set     int // index in Program.Sets
	timeout time.Duration
}

func (*opDynset) isOp() {}

// elemState is what each element of a set has of its own: a limit, a quota or a
// counter.
type elemState struct {
	limit   *LimitInfo
	quota   *nft.ExprQuota
	counter bool
}

// Where the state of an element is in its value, in bytes, and how long it is:
// a limit's bucket is a time, a quota's the bytes consumed, a counter's packets
// and bytes.
const (
	stateOffset = elemSize
	stateSize   = 16
)

const supportedState = "limit, quota, counter"

// elemState reads the expressions of a set's elements, of which there can be
// one.
func (c *compiler) elemState(exprs []nft.Expr) (*elemState, error) {
	if len(exprs) == 0 {
		return nil, nil
	}
	if len(exprs) > 1 {
		return nil, refuse(supportedState, "elements with more than one statement")
	}
	switch e := exprs[0].(type) {
	case *nft.ExprCounter:
		return &elemState{counter: true}, nil
	case *nft.ExprQuota:
		return &elemState{quota: &nft.ExprQuota{Bytes: e.Bytes, Over: e.Over}}, nil
	case *nft.ExprLimit:
		info, err := limitInfo(e)
		return &elemState{limit: &info}, err
	}
	return nil, refuse(supportedState, "%s for each element", exprs[0].ExprName())
}

func (l *lowerer) dynset(e *nft.ExprDynset) error {
	s := l.rule.Chain.Table.Set(e.Set)
	switch {
	case s == nil:
		return l.errorf("no set %q", e.Set)
	case e.Data || isMap(s):
		return refuse("add, update and delete of sets", "adding to a map")
	case e.Invert:
		return refuse("add, update, delete", "an inverted update of a set")
	case e.Op > nft.DynsetDelete:
		return refuse("add, update, delete", "operation %d on a set", e.Op)
	}
	if err := checkSet(s); err != nil {
		return err
	}
	if err := checkMap(s); err != nil {
		return err
	}
	keys, err := l.setKeys(s, e.Reg)
	if err != nil {
		return err
	}
	if keys, err = mapKeys(keys); err != nil {
		return err
	}
	state, err := l.elemState(e.Exprs)
	if err != nil {
		return err
	}
	set := l.p.Sets[l.setMap(s)]
	switch {
	case e.Op == nft.DynsetDelete || state == nil && set.state == nil && !set.dynamic:
	case state == nil && len(s.Exprs) > 0:
	case set.dynamic && !reflect.DeepEqual(set.state, state):
		return refuse("the same one in all rules", "different statements for elements of set %s", s.Name)
	case state != nil && len(s.Elements) > 0:
		return refuse("sets that begin empty", "set %s with elements that have no %s", s.Name, e.Exprs[0].ExprName())
	case state != nil:
		set.state = state
	}
	if e.Op != nft.DynsetDelete {
		set.dynamic = true
	}
	timeout := e.Timeout
	if timeout == 0 {
		timeout = s.Timeout
	}
	l.ops = append(l.ops, &opDynset{e.Op, keys, set.Index, timeout})
	return nil
}

// dynset generates what nft_dynset_eval() of the kernel does.
func (g *gen) dynset(o *opDynset, fail label) {
	s := g.p.Sets[o.set]
	value := int16(g.layout.offsets[fieldElem])
	absent, have, done := g.newLabel(), g.newLabel(), g.newLabel()
	g.find(o.set, o.keys, absent)
	if o.op == nft.DynsetDelete {
		g.callMap(s, asm.FnMapDeleteElem)
		g.bind(absent)
		return
	}
	if o.op == nft.DynsetUpdate && o.timeout > 0 {
		forever := g.newLabel()
		g.emit(asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord))
		g.jump(asm.JEq.Imm(asm.R1, 0, ""), forever)
		g.expiry(o.timeout)
		g.emit(asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord))
		g.bind(forever)
	}
	if s.state == nil {
		g.goTo(done)
	} else {
		g.goTo(have)
	}

	g.bind(absent)
	if o.timeout > 0 {
		g.expiry(o.timeout)
	} else {
		g.emit(asm.Mov.Imm(asm.R1, 0))
	}
	g.emit(asm.StoreMem(regPkt, value, asm.R1, asm.DWord))
	if s.state != nil {
		g.newState(s.state)
	}
	g.emit(
		asm.Mov.Reg(asm.R3, regPkt),
		asm.Add.Imm(asm.R3, int32(value)),
		asm.Mov.Imm(asm.R4, 0),
	)
	g.callMap(s, asm.FnMapUpdateElem)
	g.jump(asm.JNE.Imm(asm.R0, 0, ""), fail)
	if s.state != nil {
		g.callMap(s, asm.FnMapLookupElem)
		g.jump(asm.JEq.Imm(asm.R0, 0, ""), fail)
		g.bind(have)
		g.elemState(s.state, fail)
	}
	g.bind(done)
}

// expiry puts the time at which an element expires into R1.
func (g *gen) expiry(timeout time.Duration) {
	g.emit(
		asm.LoadMem(asm.R1, regPkt, int16(g.layout.offsets[fieldNow]), asm.DWord),
		asm.LoadImm(asm.R2, int64(timeout), asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
	)
}

// newState builds the state of a new element: a limit's bucket is full.
func (g *gen) newState(s *elemState) {
	state := int16(g.layout.offsets[fieldElem] + stateOffset)
	g.emit(asm.Mov.Imm(asm.R0, 0))
	if s.limit != nil {
		g.emit(
			asm.FnKtimeGetNs.Call(),
			asm.LoadImm(asm.R1, int64(s.limit.TokensMax), asm.DWord),
			asm.Sub.Reg(asm.R0, asm.R1),
		)
	}
	g.emit(
		asm.StoreMem(regPkt, state, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.StoreMem(regPkt, state+8, asm.R0, asm.DWord),
	)
}

// elemState evaluates the state of the element at R0.
func (g *gen) elemState(s *elemState, fail label) {
	length := asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldLen]), asm.Word)
	switch {
	case s.counter:
		g.emit(
			asm.Mov.Imm(asm.R1, 1), addAtomic(asm.R0, asm.R1, stateOffset),
			length, addAtomic(asm.R0, asm.R2, stateOffset+8),
		)
	case s.quota != nil:
		g.emit(asm.Add.Imm(asm.R0, stateOffset), length)
		g.consume(s.quota.Bytes, s.quota.Over, fail)
	case s.limit != nil:
		g.bucket(s.limit, fail)
	}
}

// bucketTries is how often a packet tries to take tokens from a bucket that
// other CPUs take from at the same time; then it counts as one too many.
const bucketTries = 4

// bucket takes tokens from the bucket of the element at R0. What nft_limit.c
// keeps as tokens at a time is kept as the time at which the bucket was empty,
// which a compare-and-exchange can replace: now minus the tokens.
func (g *gen) bucket(l *LimitInfo, fail label) {
	// No helper is called once cost is there.
	const value, now, cost = asm.R7, asm.R8, asm.R1
	within, over := g.newLabel(), g.newLabel()
	g.emit(asm.Mov.Reg(value, asm.R0), asm.FnKtimeGetNs.Call(), asm.Mov.Reg(now, asm.R0))
	g.emit(asm.LoadImm(cost, int64(l.Nsecs), asm.DWord))
	if l.Bytes {
		g.emit(
			asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldLen]), asm.Word),
			asm.Mul.Reg(cost, asm.R2),
		)
	}
	g.emit(asm.LoadImm(asm.R2, int64(l.Rate), asm.DWord), asm.Div.Reg(cost, asm.R2))
	for range bucketTries {
		fresh := g.newLabel()
		g.emit(
			asm.LoadMem(asm.R0, value, stateOffset, asm.DWord),
			asm.Mov.Reg(asm.R5, asm.R0),
			asm.Mov.Reg(asm.R3, now),
			asm.LoadImm(asm.R4, int64(l.TokensMax), asm.DWord),
			asm.Sub.Reg(asm.R3, asm.R4),
			asm.Mov.Reg(asm.R2, asm.R0),
		)
		g.jump(asm.JSGE.Reg(asm.R2, asm.R3, ""), fresh)
		g.emit(asm.Mov.Reg(asm.R2, asm.R3))
		g.bind(fresh)
		g.emit(asm.Add.Reg(asm.R2, cost))
		g.jump(asm.JSGT.Reg(asm.R2, now, ""), over)
		g.emit(cmpXchg(value, asm.R2, stateOffset))
		g.jump(asm.JEq.Reg(asm.R0, asm.R5, ""), within)
	}
	g.bind(over)
	if !l.Over {
		g.goTo(fail)
		g.bind(within)
		return
	}
	on := g.newLabel()
	g.goTo(on)
	g.bind(within)
	g.goTo(fail)
	g.bind(on)
}

// addAtomic adds src to 8 bytes.
func addAtomic(dst, src asm.Register, offset int16) asm.Instruction {
	return asm.AddAtomic.Mem(dst, src, asm.DWord, offset)
}

// cmpXchg replaces 8 bytes by src if they are as R0, and puts what they were
// into R0.
func cmpXchg(dst, src asm.Register, offset int16) asm.Instruction {
	ins := asm.CmpXchg.Mem(dst, src, asm.DWord, offset)
	ins.Constant = int64(asm.CmpXchg >> 8) // see fetchAdd
	return ins
}
