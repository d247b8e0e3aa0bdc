// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

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
	// steady tells that they are those that XDP does not leave to TC.
	steady bool
}

// maxSpecial is up to how many instructions a hook may have in all its copies.
const maxSpecial = 16000

// and adds a fact.
func (s *special) and(c condition, name string) *special {
	out := *s
	out.facts, out.suffix = append(slices.Clip(s.facts), c), s.suffix+"_"+name
	if s.steady && c.implies(isTCP) {
		out.facts = append(out.facts, steadySegment)
	}
	return &out
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
				s = s.within(o)
			case !holds && !slices.ContainsFunc(out, p.hasEffect):
				return nil
			case !holds:
				return out
			}
			continue
		case *opVerdictMap:
			m := s.reduceMap(o)
			if v, ok := s.verdictOf(m); ok {
				if m.count >= 0 {
					out = append(out, opCount{m.count})
				}
				return append(out, v) // what stands behind is of no verdict
			}
			out = append(out, m)
			continue
		}
		out = append(out, o)
	}
	return out
}

// upTo returns a rule up to the first condition that never holds, with all others,
// for those who want to see them.
func (s *special) upTo(ops []op) []op {
	out := slices.Clone(ops)
	for i, o := range ops {
		switch o := o.(type) {
		case *opMatch:
			if holds, known := s.decide(o); known && !holds {
				return out[:i+1]
			} else if !known {
				s = s.within(o)
			}
		case *opVerdictMap:
			out[i] = s.reduceMap(o)
		}
	}
	return out
}

// within returns what is known behind a condition of a rule.
func (s *special) within(m *opMatch) *special {
	if !s.steady || len(m.keys) != 1 || len(m.elems) == 0 || m.keys[0][0].field != fieldL4proto {
		return s
	}
	return s.and(newCondition(m), "")
}

// reach goes through the rules of a chain, with what is left of each, up to the
// first that always ends the chain.
func (s *special) reach(rules []*rule, p *Program) iter.Seq2[*rule, []op] {
	return func(yield func(*rule, []op) bool) {
		for _, r := range rules {
			ops := s.reduce(r.ops, p)
			if !yield(r, ops) || ends(ops) {
				return
			}
		}
	}
}

// ends tells whether a rule has no conditions, and a verdict that its chain does not
// go on behind.
func ends(ops []op) bool {
	for _, o := range ops {
		switch o := o.(type) {
		case opCount, opNamedCount:
		case opVerdict:
			return slices.Contains([]nft.VerdictCode{nft.VerdictAccept, nft.VerdictDrop, nft.VerdictReturn, nft.VerdictGoto}, o.code)
		default:
			return false
		}
	}
	return false
}

// verdictOf returns the verdict of a map that has no other left.
func (s *special) verdictOf(o *opVerdictMap) (v opVerdict, only bool) {
	switch {
	case o.set >= 0:
		return v, false
	case len(o.cases) == 0 && o.otherwise >= 0:
		v = o.verdicts[o.otherwise]
	case len(o.cases) == 1:
		holds, known := s.decide(o.cases[0].match)
		if !holds || !known {
			return v, false
		}
		v = o.verdicts[o.cases[0].verdict]
	default:
		return v, false
	}
	return v, v.object == nil && v.code != nft.VerdictContinue
}

// reduceMap leaves out the cases that never hold, and the verdicts of no other.
func (s *special) reduceMap(o *opVerdictMap) *opVerdictMap {
	if o.set >= 0 {
		return o
	}
	m := *o
	m.cases = slices.DeleteFunc(slices.Clone(o.cases), func(c verdictCase) bool {
		holds, known := s.decide(c.match)
		return known && !holds
	})
	m.verdicts = nil
	use := func(i *int) {
		v := o.verdicts[*i]
		if *i = slices.Index(m.verdicts, v); *i < 0 {
			*i = len(m.verdicts)
			m.verdicts = append(m.verdicts, v)
		}
	}
	for i := range m.cases {
		use(&m.cases[i].verdict)
	}
	if m.otherwise >= 0 {
		use(&m.otherwise)
	}
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

// What XDP leaves to TC: is_steady() of bpf/l2_xdp.c. Its rules see packets of
// established flows, and of TCP only segments that begin and end nothing.
var (
	isSteady      = isOneOf(fieldCtState, binary.NativeEndian.AppendUint32(nil, ctEstablished))
	isTCP         = isOneOf(fieldL4proto, []byte{unix.IPPROTO_TCP})
	steadySegment = segmentsWith(tcpACK, tcpPSH|tcpURG|tcpECE|tcpCWR)
)

// Flags of TCP, RFC 9293.
const (
	tcpPSH, tcpACK, tcpURG, tcpECE, tcpCWR = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
	tcpFlagsOffset                         = 13
)

// segmentsWith is the fact that a segment has some flags, perhaps some others, and
// no more.
func segmentsWith(all, some byte) condition {
	m := &opMatch{keys: [][]sym{fieldBytes(fieldTH, tcpFlagsOffset, 1)}}
	for flags := range 256 {
		if f := byte(flags); f&^some == all {
			m.elems = append(m.elems, []span{{[]byte{f}, []byte{f}}})
		}
	}
	return newCondition(m)
}

// facts are what is known at a hook, whatever the packet; all that code for XDP needs
// to know even if it is to be general.
func (p *phaseInfo) facts(xdp, general bool) *special {
	s := new(special)
	if xdp && p.seesFlows() {
		s.steady = true
		s = s.and(isSteady, "steady")
	}
	none := ifindexBytes(0)
	switch {
	case general:
	case p.hook == nft.HookPrerouting, p.hook == nft.HookInput, p.hook == nft.HookIngress:
		return s.and(isOneOf(fieldOif, none), "in")
	case p.hook == nft.HookOutput, p.hook == nft.HookEgress:
		return s.and(isOneOf(fieldIif, none), "out")
	}
	return s
}

// seesFlows tells whether XDP runs the function, behind conntrack.
func (p *phaseInfo) seesFlows() bool {
	return slices.Contains(xdpPhases, p.function) && p.function != "policy_prerouting_raw"
}

// dimensions returns how the code of a hook is divided: as long as all copies
// together are small.
func (m *module) dimensions(ph *phase, known *special) []dimension {
	size, values := m.measure(ph, known)
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
func (m *module) measure(ph *phase, known *special) (size int, values map[pktField][][]byte) {
	values = make(map[pktField][][]byte)
	seen := make(map[*chain]bool)
	var visit func(ch *chain)
	visit = func(ch *chain) {
		if size > maxSpecial || ch.function != "" && seen[ch] {
			return
		}
		seen[ch] = true
		for r, ops := range known.reach(ch.rules, m.p) {
			size += r.size
			for _, o := range ops {
				switch o := o.(type) {
				case *opMatch:
					o.tellApart(values)
				case *opVerdictMap:
					for _, c := range o.cases {
						c.match.tellApart(values)
					}
				}
			}
			for _, t := range targetsOf(ops) {
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
