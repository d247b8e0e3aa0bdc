// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opQuota goes on until so many bytes have passed, or from then on.
type opQuota struct {
	index int // in the map of quotas
	bytes uint64
	over  bool
}

// opNamedCount counts the packet at a named counter.
type opNamedCount struct{ index int }

func (opQuota) isOp()      {}
func (opNamedCount) isOp() {}

// object is a named object: all rules that refer to it share its state.
type object struct {
	*nft.Object
	op op
}

const supportedObjects = "counter, quota, limit"

func (l *lowerer) quota(e *nft.ExprQuota) error {
	l.ops = append(l.ops, l.newQuota(e))
	return nil
}

func (c *compiler) newQuota(e *nft.ExprQuota) opQuota {
	o := opQuota{len(c.p.quotas), e.Bytes, e.Over}
	c.p.quotas = append(c.p.quotas, e.Consumed)
	return o
}

// object returns the object of a table, which is made when a rule first asks
// for it.
func (l *lowerer) object(typ nft.ObjectType, name string) (*object, error) {
	t := l.rule.Chain.Table
	src := t.Object(typ, name)
	if src == nil {
		return nil, l.errorf("no object %q", name)
	}
	if o := l.objects[src]; o != nil {
		return o, nil
	}
	o := &object{Object: src}
	switch e := src.Expr.(type) {
	case *nft.ExprCounter:
		o.op = opNamedCount{int(l.compiler.counter(RuleInfo{Table: t.String(), Text: fmt.Sprintf("counter %q", name)}))}
	case *nft.ExprQuota:
		o.op = l.newQuota(e)
	case *nft.ExprLimit:
		limit, err := l.newLimit(e)
		if err != nil {
			return nil, err
		}
		limit.shared = true
		o.op = limit
	default:
		why := foreignObjects[e.ExprName()]
		if why == "" {
			why = "object of this type"
		}
		return nil, refuse(supportedObjects, "%s %q: %s", e.ExprName(), name, why)
	}
	l.objects[src] = o
	return o, nil
}

func (l *lowerer) objref(e *nft.ExprObjref) error {
	if e.Set != "" {
		s := l.rule.Chain.Table.Set(e.Set)
		if s == nil {
			return l.errorf("no map %q", e.Set)
		}
		return l.lookupIn(s, &nft.ExprLookup{Set: e.Set, Reg: e.Reg, Map: true})
	}
	o, err := l.object(e.Type, e.Name)
	if err == nil {
		l.ops = append(l.ops, o.op)
	}
	return err
}

// objectOf returns what an element of a map of objects does: evaluate the
// object, and go on in the rule unless that breaks it.
func (l *lowerer) objectOf(s *nft.Set, e nft.Element) (opVerdict, error) {
	o, err := l.object(s.ObjectType, e.Object)
	return opVerdict{code: nft.VerdictContinue, object: o}, err
}

// quota generates the test, as nft_overquota() of the kernel does it since
// Linux 6.15: the packet that uses the last byte is still within.
func (g *gen) quota(o opQuota, fail label) {
	g.element(quotasMap, o.index)
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), fail)
	g.emit(asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldLen]), asm.Word))
	g.consume(o.bytes, o.over, fail)
}

// consume adds R2 to what was consumed, at R0, and compares it with a quota.
func (g *gen) consume(bytes uint64, over bool, fail label) {
	g.emit(
		asm.Mov.Reg(asm.R1, asm.R2),
		fetchAdd(asm.R0, asm.R1),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadImm(asm.R2, int64(bytes), asm.DWord),
	)
	if over {
		g.jump(asm.JLE.Reg(asm.R1, asm.R2, ""), fail)
	} else {
		g.jump(asm.JGT.Reg(asm.R1, asm.R2, ""), fail)
	}
}

// countAt adds the packet to a counter. The rule stays the one that matched last.
func (g *gen) countAt(index int) {
	absent := g.newLabel()
	g.element(countersMap, index)
	g.jump(asm.JEq.Imm(asm.R0, 0, ""), absent)
	g.emit(
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, regPkt, int16(g.layout.offsets[fieldLen]), asm.Word),
		asm.LoadMem(asm.R1, asm.R0, 8, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.StoreMem(asm.R0, 8, asm.R1, asm.DWord),
	)
	g.bind(absent)
}
