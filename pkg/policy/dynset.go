// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"
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
	// data of a data map's element.
	data []sym
	// invert goes on where the set is full.
	invert bool
}

func (*opDynset) isOp() {}

func (l *lowerer) dynset(e *nft.ExprDynset) error {
	s := l.rule.Chain.Table.Set(e.Set)
	switch {
	case s == nil:
		return l.errorf("no set %q", e.Set)
	case isMap(s) && !isDataMap(s):
		return refuse("sets, maps of data", "adding to a map of verdicts or objects")
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
	o := &opDynset{op: e.Op, keys: keys, timeout: e.Timeout, invert: e.Invert}
	if o.timeout == 0 {
		o.timeout = s.Timeout
	}
	if isDataMap(s) && e.Op != nft.DynsetDelete {
		if o.data, err = l.load(e.DataReg, s.DataLen); err != nil {
			return err
		}
		if slices.ContainsFunc(o.data, func(s sym) bool { return s.name }) {
			return refuse("other data", "names of interfaces as data")
		}
	}
	set := l.p.Sets[l.setMap(s)]
	o.set = set.Index
	if e.Op != nft.DynsetDelete {
		if err := l.dynsetStates(set, s, e); err != nil {
			return err
		}
	}
	l.ops = append(l.ops, o)
	return nil
}

// dynsetStates notes the statements that elements get.
func (l *lowerer) dynsetStates(set *Set, s *nft.Set, e *nft.ExprDynset) error {
	states, err := elemStates(e.Exprs)
	if err != nil {
		return err
	}
	switch {
	case len(states) == 0 && len(s.Exprs) > 0: // they are the set's
	case !set.dynamic && len(states) > 0 && len(s.Exprs) == 0 && len(s.Elements) > 0:
		return refuse("sets that begin empty", "set %s with elements that have no %s", s.Name, e.Exprs[0].ExprName())
	case !set.dynamic && len(s.Exprs) == 0:
		set.states = states
	case !sameStates(set.states, states):
		return refuse("the same ones in all rules, and in the set", "different statements for elements of set %s", s.Name)
	}
	set.dynamic = true
	if n := set.valueSize(); n > maxValue {
		return refuse("less data, fewer statements", "elements of set %s of %d bytes, more than %d", s.Name, n, maxValue)
	}
	return nil
}

// dynset generates what nft_dynset_eval() of the kernel does.
func (g *gen) dynset(o *opDynset, fail label) {
	s := g.p.Sets[o.set]
	absent, have, done := g.newLabel(), g.newLabel(), g.newLabel()
	g.findKey(s, o.keys, absent)
	if o.op == nft.DynsetDelete {
		g.callMap(s, asm.FnMapDeleteElem, absent)
		g.bind(absent)
		return
	}
	there, full := done, fail
	if o.invert {
		there, full = fail, done
	}
	if o.op == nft.DynsetUpdate && o.timeout > 0 {
		stays := g.newLabel()
		g.emit(asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.LoadImm(asm.R2, forever, asm.DWord))
		g.jump(asm.JEq.Imm(asm.R1, 0, ""), stays)
		g.jump(asm.JEq.Reg(asm.R1, asm.R2, ""), stays)
		g.expiry(o.timeout)
		g.emit(asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord))
		g.bind(stays)
	}
	if len(s.states) == 0 {
		g.goTo(there)
	} else {
		g.goTo(have)
	}

	g.bind(absent)
	g.newElement(s, o)
	g.callMap(s, asm.FnMapUpdateElem, full)
	g.jump(asm.JNE.Imm(asm.R0, 0, ""), full)
	if len(s.states) > 0 {
		g.callMap(s, asm.FnMapLookupElem, full)
		g.jump(asm.JEq.Imm(asm.R0, 0, ""), full)
		g.bind(have)
		g.elemStates(s, fail)
	}
	g.fallTo(there, done)
	g.bind(done)
}

// newElement builds an element in p->elem.
func (g *gen) newElement(s *Set, o *opDynset) {
	elem := g.layout.offsets[fieldElem]
	if o.timeout > 0 {
		g.expiry(o.timeout)
	} else {
		g.emit(asm.LoadImm(asm.R1, forever, asm.DWord))
	}
	g.emit(asm.StoreMem(regPkt, int16(elem), asm.R1, asm.DWord))
	if o.data != nil {
		data := slices.Clone(o.data)
		for len(data)%8 != 0 {
			data = append(data, constant(0))
		}
		g.spill(data, elem+dataOffset)
	}
	g.newStates(s)
}

// expiry puts the time at which an element expires into R1.
func (g *gen) expiry(timeout time.Duration) {
	g.emit(
		asm.LoadMem(asm.R1, regPkt, int16(g.layout.offsets[fieldNow]), asm.DWord),
		asm.LoadImm(asm.R2, int64(timeout), asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
	)
}
