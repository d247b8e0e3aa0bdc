// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// A hook's code is generated once for each family and each interface that its
// rules name, as far as that stays small: rules that cannot match there are left
// out, and conditions that always hold there are not tested.

// special is what is known of the packets that some code sees.
type special struct {
	facts []condition
	// suffix tells functions of one kind of packets from those of others.
	suffix string
}

// maxSpecial is up to how many instructions a hook may have in all its copies.
const maxSpecial = 16000

// and adds a fact.
func (s *special) and(c condition, name string) *special {
	return &special{append(slices.Clip(s.facts), c), s.suffix + "_" + name}
}

// isOneOf is the fact that a field has one of some values.
func isOneOf(f pktField, values ...[]byte) condition {
	m := &opMatch{keys: [][]sym{fieldBytes(f, 0, pktFields[f].len)}}
	for _, v := range values {
		m.elems = append(m.elems, []span{{v, v}})
	}
	return newCondition(m)
}

// isNoneOf is the fact that a field has none of some values.
func isNoneOf(f pktField, values ...[]byte) condition {
	c := isOneOf(f, values...)
	c.spans = complement(c.spans, len(c.key))
	return c
}

// decide tells whether a condition always holds, or never.
func (s *special) decide(m *opMatch) (holds, known bool) {
	if len(m.keys) != 1 || len(m.elems) == 0 {
		return false, false
	}
	c := newCondition(m)
	for _, f := range s.facts {
		switch {
		case f.implies(c):
			return true, true
		case f.excludes(c):
			return false, true
		}
	}
	return false, false
}

// reduce returns what is left of a rule. Behind a condition that never holds
// nothing is; what is before it is done all the same, as a limit counts.
func (s *special) reduce(ops []op, p *Program) []op {
	if s == nil || len(s.facts) == 0 {
		return ops
	}
	var out []op
	for _, o := range ops {
		switch o := o.(type) {
		case *opMatch:
			holds, known := s.decide(o)
			switch {
			case !known:
				out = append(out, o)
			case !holds && !slices.ContainsFunc(out, p.hasEffect):
				return nil
			case !holds:
				return out
			}
			continue
		case *opVerdictMap:
			out = append(out, s.reduceMap(o))
			continue
		}
		out = append(out, o)
	}
	return out
}

// reduceMap leaves out the cases that never hold.
func (s *special) reduceMap(o *opVerdictMap) *opVerdictMap {
	if o.set >= 0 {
		return o
	}
	m := *o
	m.cases = slices.DeleteFunc(slices.Clone(o.cases), func(c verdictCase) bool {
		holds, known := s.decide(c.match)
		return known && !holds
	})
	return &m
}

// hasEffect tells whether an operation does more than look. A lookup does where
// elements have statements.
func (p *Program) hasEffect(o op) bool {
	switch o := o.(type) {
	case *opMatch, opTransport, *opFact, *opFind, *opAsk:
		return false
	case *opLookup:
		return len(p.Sets[o.set].states) > 0
	case *opCompute:
		return o.kind == computeNext
	}
	return true
}

// dimension is a field by whose values the code of a hook is divided.
type dimension struct {
	field  pktField
	name   string
	values [][]byte
}

// facts are what is known at a hook, whatever the packet.
func (p *phaseInfo) facts() *special {
	none := ifindexBytes(0)
	switch p.hook {
	case nft.HookPrerouting, nft.HookInput, nft.HookIngress:
		return new(special).and(isOneOf(fieldOif, none), "in")
	case nft.HookOutput, nft.HookEgress:
		return new(special).and(isOneOf(fieldIif, none), "out")
	}
	return new(special)
}

// dimensions returns how the code of a hook is divided: as long as all copies
// together are small.
func (m *module) dimensions(ph *phase) []dimension {
	size, values := m.measure(ph)
	// Frames there are of more than two families.
	if size == 0 || isDeviceHook(ph.hook) {
		return nil
	}
	var out []dimension
	for _, d := range []dimension{
		{fieldNfproto, "family", [][]byte{{byte(nft.FamilyIPv4)}, {byte(nft.FamilyIPv6)}}},
		{fieldIif, "iif", values[fieldIif]},
		{fieldOif, "oif", values[fieldOif]},
		{fieldL4proto, "proto", values[fieldL4proto]},
	} {
		copies := len(d.values)
		if d.field != fieldNfproto {
			copies++ // for the others
		}
		if copies > 1 && size*copies <= maxSpecial {
			size *= copies
			out = append(out, d)
		}
	}
	return out
}

// measure returns how many instructions a hook has, with the functions that it
// calls, and the values of fields that its rules tell apart.
func (m *module) measure(ph *phase) (size int, values map[pktField][][]byte) {
	values = make(map[pktField][][]byte)
	seen := make(map[*chain]bool)
	var visit func(ch *chain)
	visit = func(ch *chain) {
		if size > maxSpecial || ch.function != "" && seen[ch] {
			return
		}
		seen[ch] = true
		size += ch.size
		for _, r := range ch.rules {
			for _, o := range r.ops {
				switch o := o.(type) {
				case *opMatch:
					o.tellApart(values)
				case *opVerdictMap:
					for _, c := range o.cases {
						c.match.tellApart(values)
					}
				}
			}
			for _, t := range r.targets() {
				visit(m.p.chains[t])
			}
		}
	}
	for _, ch := range ph.chains {
		visit(ch)
	}
	for f := range values {
		slices.SortFunc(values[f], bytes.Compare)
	}
	return size, values
}

// tellApart notes the values of a field that a condition on all of it has.
func (m *opMatch) tellApart(values map[pktField][][]byte) {
	if len(m.keys) != 1 {
		return
	}
	key := m.keys[0]
	f := key[0].field
	if f == fieldNone || key[0].name || len(key) != pktFields[f].len || !isPlain(key) {
		return
	}
	for _, e := range m.elems {
		v := e[0].lo
		if e[0].single() && !slices.ContainsFunc(values[f], func(w []byte) bool { return bytes.Equal(v, w) }) {
			values[f] = append(values[f], v)
		}
	}
}

// divided generates code for each kind of packets by the dimensions, which ends
// the function. body generates it.
func (m *module) divided(g *gen, dims []dimension, s *special, body func(*special) error) error {
	if len(dims) == 0 {
		return body(s)
	}
	d, rest := dims[0], dims[1:]
	n := pktFields[d.field].len
	values := d.values
	if d.field == fieldNfproto {
		values = values[:len(values)-1] // there is no third
	}
	for _, v := range values {
		other := g.newLabel()
		// Not all ways lead here with the number in the register.
		g.emit(asm.LoadMem(regHigh, regPkt, int16(g.layout.offsets[d.field]), sizes[n]))
		g.branch(asm.JNE, regHigh, littleEndian.toNumber(v), n, other)
		if err := m.divided(g, rest, s.and(isOneOf(d.field, v), d.nameOf(v)), body); err != nil {
			return err
		}
		g.bind(other)
	}
	if d.field == fieldNfproto {
		v := d.values[len(d.values)-1]
		return m.divided(g, rest, s.and(isOneOf(d.field, v), d.nameOf(v)), body)
	}
	return m.divided(g, rest, s.and(isNoneOf(d.field, d.values...), "no_"+d.nameOf(d.values...)), body)
}

// nameOf is the part of a function's name that tells of values.
func (d dimension) nameOf(values ...[]byte) string {
	name := d.name
	for _, v := range values {
		name += fmt.Sprintf("_%d", littleEndian.toNumber(v))
	}
	return name
}
