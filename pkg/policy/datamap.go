// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opData puts the data of the element that holds the keys into slots of
// p->regs; without such an element the rule does not match.
type opData struct {
	// cases in the order they are tried: a constant map.
	cases []verdictCase
	// data of the cases, and of the catch-all element, if otherwise >= 0.
	data      [][]byte
	otherwise int
	// keys are looked up in set, a map of the program, when set >= 0.
	keys [][]sym
	set  int
	slot int
	len  int // bytes
}

func (*opData) isOp() {}

// isDataMap tells whether elements have data.
func isDataMap(s *nft.Set) bool { return s.Has(nft.SetMap) && s.DataLen > 0 }

// dataMap lowers a lookup whose result goes to data registers.
func (l *lowerer) dataMap(s *nft.Set, keys [][]sym, dst nft.Register) error {
	slot, err := l.reserve(s.DataLen)
	if err != nil {
		return err
	}
	o := &opData{set: -1, otherwise: -1, slot: slot, len: s.DataLen}
	if isCode(s) {
		err = l.dataCases(o, s, keys)
	} else if err = checkMap(s); err == nil {
		if o.keys, err = mapKeys(keys); err == nil {
			o.set = l.setMap(s)
		}
	}
	if err != nil {
		return err
	}
	l.ops = append(l.ops, o)
	return l.store(dst, fieldBytes(fieldRegs, regSlot*slot, s.DataLen))
}

// dataCases makes code of a constant map.
func (l *lowerer) dataCases(o *opData, s *nft.Set, keys [][]sym) error {
	index := func(e nft.Element) (int, error) {
		if len(e.Data) != s.DataLen {
			return 0, l.errorf("map %s: an element with %d bytes of data, not %d", s.Name, len(e.Data), s.DataLen)
		}
		i := slices.IndexFunc(o.data, func(d []byte) bool { return bytes.Equal(d, e.Data) })
		if i < 0 {
			i = len(o.data)
			o.data = append(o.data, e.Data)
		}
		return i, nil
	}
	for _, r := range s.Ranges() {
		match, err := l.resolveNames(&opMatch{keys: keys, elems: [][]span{fieldSpans(s, r)}})
		if err != nil {
			return err
		}
		i, err := index(r.Element)
		if err != nil {
			return err
		}
		o.cases = append(o.cases, verdictCase{match, i})
	}
	if e := catchAll(s); e != nil {
		i, err := index(*e)
		if err != nil {
			return err
		}
		o.otherwise = i
	}
	return nil
}

// data generates the lookup. The rest of the last register is zero, as
// nft_data_copy() of the kernel leaves it.
func (g *gen) data(o *opData, fail label) {
	if o.set >= 0 {
		g.find(o.set, o.keys, fail)
		for at := 0; at < o.len; at += regSlot {
			g.emit(
				asm.LoadMem(asm.R1, asm.R0, int16(dataOffset+at), asm.DWord),
				asm.StoreMem(regPkt, g.slot(o.slot+at/regSlot), asm.R1, asm.DWord),
			)
		}
		if s := g.p.Sets[o.set]; s.states != nil {
			g.elemStates(s, fail)
		}
		return
	}
	labels := make([]label, len(o.data))
	for i := range labels {
		labels[i] = g.newLabel()
	}
	miss := fail
	if o.otherwise >= 0 {
		miss = labels[o.otherwise]
	}
	g.cases(o.cases, labels, miss)
	done := g.newLabel()
	for i, d := range o.data {
		g.bind(labels[i])
		for at := 0; at < len(d); at += regSlot {
			v := littleEndian.toNumber(d[at:min(at+regSlot, len(d))])
			g.emit(
				asm.LoadImm(asm.R1, int64(v), asm.DWord),
				asm.StoreMem(regPkt, g.slot(o.slot+at/regSlot), asm.R1, asm.DWord),
			)
		}
		g.goTo(done)
	}
	g.bind(done)
}
