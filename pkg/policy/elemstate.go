// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// elemState is a statement that each element of a set has for itself: a limit,
// a quota, a counter or a count of connections.
type elemState struct {
	limit   *LimitInfo
	quota   *nft.ExprQuota
	counter bool
	conns   *connlimit
}

// stateSize is the length of a statement's state in an element's value, in
// bytes: a limit's bucket is a time, a quota's the bytes consumed, a counter's
// packets and bytes; connections are counted elsewhere, under a number.
const stateSize = 16

const supportedState = "limit, quota, counter, ct count"

// elemStates reads the statements of a set's elements.
func elemStates(exprs []nft.Expr) ([]elemState, error) {
	var states []elemState
	for _, e := range exprs {
		switch e := e.(type) {
		case *nft.ExprCounter:
			states = append(states, elemState{counter: true})
		case *nft.ExprQuota:
			states = append(states, elemState{quota: &nft.ExprQuota{Bytes: e.Bytes, Over: e.Over}})
		case *nft.ExprLimit:
			info, err := limitInfo(e)
			if err != nil {
				return nil, err
			}
			states = append(states, elemState{limit: &info})
		case *nft.ExprConnlimit:
			if slices.ContainsFunc(states, func(s elemState) bool { return s.conns != nil }) {
				return nil, refuse("one of them", "two ct count for each element")
			}
			c := connlimitOf(e)
			states = append(states, elemState{conns: &c})
		default:
			return nil, refuse(supportedState, "%s for each element", e.ExprName())
		}
	}
	return states, nil
}

func sameStates(a, b []elemState) bool { return reflect.DeepEqual(a, b) }

// statesText tells statements apart.
func statesText(states []elemState) string {
	var b strings.Builder
	for _, s := range states {
		switch {
		case s.counter:
			b.WriteString("counter ")
		case s.quota != nil:
			fmt.Fprintf(&b, "quota %+v ", *s.quota)
		case s.limit != nil:
			fmt.Fprintf(&b, "limit %+v ", *s.limit)
		case s.conns != nil:
			fmt.Fprintf(&b, "ct count %+v ", *s.conns)
		}
	}
	return b.String()
}

// begin writes the state of a new element: a limit's bucket is full.
func (s *elemState) begin(state []byte, now uint64) {
	if s.limit != nil {
		binary.NativeEndian.PutUint64(state, now-s.limit.TokensMax)
	}
	if s.conns != nil {
		beginConnID(state, now)
	}
}

// restore writes the state that the ruleset says an element has.
func (s *elemState) restore(state []byte, e nft.Expr) {
	switch e := e.(type) {
	case *nft.ExprCounter:
		binary.NativeEndian.PutUint64(state, e.Packets)
		binary.NativeEndian.PutUint64(state[8:], e.Bytes)
	case *nft.ExprQuota:
		binary.NativeEndian.PutUint64(state, e.Consumed)
	}
}

// text returns the state as nft lists it; empty when there is nothing to see.
func (s *elemState) text(state []byte) string {
	n := binary.NativeEndian.Uint64(state)
	switch {
	case s.counter:
		return fmt.Sprintf(" counter packets %d bytes %d", n, binary.NativeEndian.Uint64(state[8:]))
	case s.quota != nil:
		return fmt.Sprintf(" quota used %d bytes", n)
	}
	return ""
}

// newStates builds the states of a new element in p->elem.
func (g *gen) newStates(s *Set) {
	at := g.layout.offsets[fieldElem] + s.stateOffset()
	for i := range s.states {
		g.emit(asm.Mov.Imm(asm.R0, 0))
		if l := s.states[i].limit; l != nil {
			g.emit(
				asm.FnKtimeGetNs.Call(),
				asm.LoadImm(asm.R1, int64(l.TokensMax), asm.DWord),
				asm.Sub.Reg(asm.R0, asm.R1),
			)
		}
		if s.states[i].conns != nil {
			g.newConnID()
		}
		g.emit(
			asm.StoreMem(regPkt, int16(at+stateSize*i), asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, 0),
			asm.StoreMem(regPkt, int16(at+stateSize*i+8), asm.R0, asm.DWord),
		)
	}
}

// regElem points to an element's value, or to a state in it.
const regElem = asm.R7

// elemStates evaluates the states of the element at R0, one after the other
// until one breaks the rule.
func (g *gen) elemStates(s *Set, fail label) {
	if len(s.states) == 0 {
		return
	}
	g.emit(asm.Mov.Reg(regElem, asm.R0))
	for i := range s.states {
		g.elemState(&s.states[i], int16(s.stateOffset()+stateSize*i), fail)
	}
}

// elemState evaluates one state, at an offset from regElem.
func (g *gen) elemState(s *elemState, at int16, fail label) {
	length := asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldLen]), asm.Word)
	switch {
	case s.counter:
		g.emit(
			asm.Mov.Imm(asm.R1, 1), addAtomic(regElem, asm.R1, at),
			length, addAtomic(regElem, asm.R2, at+8),
		)
	case s.quota != nil:
		g.emit(asm.Mov.Reg(asm.R0, regElem), asm.Add.Imm(asm.R0, int32(at)), length)
		g.consume(s.quota.Bytes, s.quota.Over, fail)
	case s.limit != nil:
		g.bucket(s.limit, at, fail)
	case s.conns != nil:
		g.emit(asm.LoadMem(asm.R2, regElem, at, asm.DWord))
		g.connlimit(*s.conns, fail, g.scope)
	}
}

// bucketTries is how often a packet tries to take tokens from a bucket that
// other CPUs take from at the same time; then it counts as one too many.
const bucketTries = 4

// bucket takes tokens from the bucket at an offset from regElem. What nft_limit.c
// keeps as tokens at a time is kept as the time at which the bucket was empty,
// which a compare-and-exchange can replace: now minus the tokens.
func (g *gen) bucket(l *LimitInfo, at int16, fail label) {
	// No helper is called once cost is there.
	const now, cost = asm.R8, asm.R1
	within, over := g.newLabel(), g.newLabel()
	g.emit(asm.FnKtimeGetNs.Call(), asm.Mov.Reg(now, asm.R0))
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
			asm.LoadMem(asm.R0, regElem, at, asm.DWord),
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
		g.emit(cmpXchg(regElem, asm.R2, at))
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
