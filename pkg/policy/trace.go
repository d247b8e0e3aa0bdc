// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// TraceMap is the queue where a [Traced] program notes its steps, as uint32.
const TraceMap = "policy_trace"

// maxTrace is how many steps of one packet there is room for.
const maxTrace = 1 << 16

const (
	traceFunction = "nft_trace"
	// Of a note: the step's place in its rule, and the counter index of that above it.
	traceOpBits = 8
	traceOpMask = 1<<traceOpBits - 1
	// traceMatched stands for the place behind all conditions, where a rule counts.
	traceMatched = traceOpMask
)

// Traced is a program that notes each step of each rule before it takes it. It
// decides as the program without, and has no code for kinds of packets: all rules
// that a packet meets are there to be seen. It is for packets that somebody asks
// about, not for traffic: nothing takes the notes away.
type Traced struct {
	*Program
	plain *Program
	rules map[uint32]*rule
}

// Traced returns the program with such notes.
func (p *Program) Traced() *Traced {
	t := *p
	t.traced = true
	out := &Traced{Program: &t, plain: p, rules: make(map[uint32]*rule)}
	for _, ch := range p.chains {
		for _, r := range ch.rules {
			out.rules[r.index] = r
		}
	}
	return out
}

// Hash implements loader.Policy.
func (t *Traced) Hash() [32]byte { return t.plain.Hash() }

// Splice implements loader.Policy.
func (t *Traced) Splice(spec *ebpf.CollectionSpec) error {
	spec.Maps[TraceMap] = &ebpf.MapSpec{Name: TraceMap, Type: ebpf.Queue, ValueSize: 4, MaxEntries: maxTrace}
	return t.Program.Splice(spec)
}

// TracedRule is what a packet met of a rule, or of a base chain's policy.
type TracedRule struct {
	RuleInfo
	// Matched: all conditions held, and the rule did what it says.
	Matched bool
	// Why is the condition that did not hold; empty if all did.
	Why string
}

// Met puts notes together, in the order of time, to the rules that the packet met.
func (t *Traced) Met(notes []uint32) []TracedRule {
	var out []TracedRule
	for i, n := range notes {
		index, at := n>>traceOpBits, int(n&traceOpMask)
		r := t.rules[index]
		if r == nil || at == 0 {
			out = append(out, TracedRule{RuleInfo: t.Program.Rules[index]})
		}
		last := &out[len(out)-1]
		switch {
		case at == traceMatched:
			last.Matched = true
		case !last.Matched && at < len(r.ops) && (i+1 == len(notes) || notes[i+1]>>traceOpBits != index || notes[i+1]&traceOpMask == 0):
			// It did not come to the next step.
			last.Why = t.condition(r.ops[at])
		}
	}
	return out
}

// trace notes a step.
func (g *gen) trace(index uint32, at int) {
	if g.p.traced {
		g.call(traceFunction, int(index)<<traceOpBits|min(at, traceMatched-1))
	}
}

// countedInPlace is the greatest number of rules and policies that XDP counts without a
// call, which is 8 ns faster and four times the instructions. To TC they are nothing.
const countedInPlace = 256

// count counts the packet at a rule, or at a base chain's policy.
func (g *gen) count(index int) {
	switch {
	case g.m.early:
		g.call("nft_note", index)
	case g.layout.xdp && !g.p.traced && len(g.p.Rules) <= countedInPlace:
		g.emit(asm.StoreImm(regPkt, int16(g.layout.offsets[fieldRule]), int64(index), asm.Word))
		g.countAt(index)
	default:
		g.call("nft_count", index)
	}
	if g.p.traced {
		g.call(traceFunction, index<<traceOpBits|traceMatched)
	}
}

// traceFunctionOf is the function that does so, with the type of one that takes
// the same arguments.
func traceFunctionOf(functions []function) (function, error) {
	at := slices.IndexFunc(functions, func(f function) bool { return f.name == "nft_count" })
	if at < 0 {
		return function{}, fmt.Errorf("no function nft_count")
	}
	const note = -4
	insns := asm.Instructions{
		asm.StoreMem(asm.RFP, note, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference(TraceMap),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, note),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnMapPushElem.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}
	typ := btf.FuncMetadata(&functions[at].insns[0]).Type
	return withType(function{traceFunction, insns}, &btf.Func{Name: traceFunction, Type: typ, Linkage: btf.GlobalFunc}), nil
}

// condition is a step that a packet did not get past, in words.
func (t *Traced) condition(o op) string {
	switch o := o.(type) {
	case *opMatch:
		return t.matchText(o)
	case *opLookup:
		not := "is not"
		if o.invert {
			not = "is"
		}
		return fmt.Sprintf("%s %s in set %v", keysText(o.keys), not, t.Sets[o.set])
	case opTransport:
		return fmt.Sprintf("the packet has no transport header of %d bytes", o.end)
	case opLimit:
		return "the limit"
	case *opPolice:
		return "the policer marks the packet and does not drop it"
	case opQuota:
		return "the quota"
	case opConnlimit:
		return "the number of connections"
	case *opFind:
		return "the packet does not have the header or option"
	case *opVerdictMap:
		return "the map has no element for it"
	case *opData:
		return "the map has no element for it"
	case *opDynset:
		return "the set does not take the element"
	}
	return "a value that the packet does not have"
}

// maxWhy is how many elements of a condition are shown.
const maxWhy = 4

func (t *Traced) matchText(o *opMatch) string {
	if o.named != nil {
		o = o.named
	}
	not := "is not"
	if o.invert {
		not = "is"
	}
	var elems []byte
	for i, e := range o.elems {
		if i > 0 {
			elems = append(elems, ", "...)
		}
		if i == maxWhy {
			elems = fmt.Appendf(elems, "or one of %d more", len(o.elems)-i)
			break
		}
		for j, s := range e {
			if j > 0 {
				elems = append(elems, concatSeparator...)
			}
			elems = append(elems, spanText(o.keys[j], s)...)
		}
	}
	return fmt.Sprintf("%s %s %s", keysText(o.keys), not, elems)
}

func keysText(keys [][]sym) string {
	var b []byte
	for i, k := range keys {
		if i > 0 {
			b = append(b, concatSeparator...)
		}
		b = append(b, keyText(k)...)
	}
	return string(b)
}

// knownKey is a key that has a name of its own: bytes of a member of struct pkt,
// from one on.
type knownKey struct {
	field   pktField
	at, len int
}

var knownKeys = map[knownKey]string{
	{fieldNfproto, 0, 1}: "nfproto", {fieldL4proto, 0, 1}: "l4proto", {fieldIif, 0, 4}: "iif", {fieldOif, 0, 4}: "oif",
	{fieldMark, 0, 4}: "mark", {fieldCtState, 0, 4}: "ct state", {fieldLen, 0, 4}: "length", {fieldPktType, 0, 1}: "pkttype",
	{fieldProtocol, 0, 2}: "protocol", {fieldPriority, 0, 4}: "priority",
	{fieldNH, 12, 4}: "ip saddr", {fieldNH, 16, 4}: "ip daddr", {fieldNH, 8, 1}: "ip ttl", {fieldNH, 9, 1}: "ip protocol",
	{fieldNH, 8, 16}: "ip6 saddr", {fieldNH, 24, 16}: "ip6 daddr", {fieldNH, 6, 1}: "ip6 nexthdr", {fieldNH, 7, 1}: "ip6 hoplimit",
	{fieldTH, 0, 2}: "sport", {fieldTH, 2, 2}: "dport", {fieldTH, 0, 1}: "icmp type", {fieldTH, 1, 1}: "icmp code",
	{fieldTH, 13, 1}: "tcp flags",
}

// keyText names what a condition looks at.
func keyText(key []sym) string {
	first := key[0]
	if first.name {
		if first.field == fieldIif {
			return "iifname"
		}
		return "oifname"
	}
	mask := make([]byte, len(key))
	whole := true
	for i, s := range key {
		mask[i] = s.and
		whole = whole && s.and == 0xff
	}
	name, ok := knownKeys[knownKey{first.field, int(first.index), len(key)}]
	if !ok {
		name = fmt.Sprintf("%s, bytes %d to %d,", pktFields[first.field].name, first.index, int(first.index)+len(key)-1)
		if first.field == fieldRegs {
			name = "what the rule computes"
		}
	}
	if !whole && first.field != fieldNone {
		name += fmt.Sprintf(" & 0x%x", mask)
	}
	return name
}

// spanText writes the values of a key.
func spanText(key []sym, s span) string {
	text := func(v []byte) string {
		k := knownKey{key[0].field, int(key[0].index), len(key)}
		switch {
		case key[0].name:
			return printString(nil, keyField{}, v)
		case k.field == fieldNH && (k.len == 4 || k.len == 16):
			return printAddr(nil, keyField{}, v)
		case k.field == fieldNH || k.field == fieldTH || k.len == 1 || k.field == fieldProtocol:
			if k == (knownKey{fieldL4proto, 0, 1}) {
				return fieldTexts["inet_proto"].print(nil, keyField{len: 1}, v)
			}
			if len(v) <= 8 {
				return fmt.Sprint(bigEndian.toNumber(v))
			}
		case len(v) == 4:
			return fmt.Sprintf("0x%x", binary.NativeEndian.Uint32(v))
		}
		return fmt.Sprintf("0x%x", v)
	}
	if s.single() {
		return text(s.lo)
	}
	return text(s.lo) + "-" + text(s.hi)
}
