// SPDX-License-Identifier: GPL-2.0-only

package policy

// pktField is a member of struct pkt that generated code reads.
type pktField uint8

const (
	fieldNone pktField = iota
	fieldTuple
	fieldNH
	fieldTH
	fieldIif
	fieldOif
	fieldLen
	fieldMark
	fieldCtState
	fieldNat
	fieldRule
	fieldReject
	fieldSendBy
	fieldSendTo
	fieldProtocol
	fieldL4proto
	fieldNfproto
	fieldThLen
	fieldPktType
	fieldHook
	fieldNow
	fieldPriority
	fieldZone
	fieldZoneDirs
	fieldRegs // values that the rule has computed
	fieldKey  // where the key of a lookup is built
	fieldElem // where a new element is built
	fieldNatRange
	fieldCount
)

// Members of struct pkt and their lengths in bytes, as bpf/lib/types.h has them.
var pktFields = [fieldCount]struct {
	name string
	len  int
}{
	fieldTuple:    {"tuple", 40},
	fieldNH:       {"nh", 40},
	fieldTH:       {"th", 20},
	fieldIif:      {"iif", 4},
	fieldOif:      {"oif", 4},
	fieldLen:      {"len", 4},
	fieldMark:     {"mark", 4},
	fieldCtState:  {"ct_state", 4},
	fieldNat:      {"nat", 4},
	fieldRule:     {"rule", 4},
	fieldReject:   {"reject", 4},
	fieldSendBy:   {"send_by", 4},
	fieldSendTo:   {"send_to", 1},
	fieldProtocol: {"protocol", 2},
	fieldL4proto:  {"l4proto", 1},
	fieldNfproto:  {"nfproto", 1},
	fieldThLen:    {"th_len", 1},
	fieldPktType:  {"pkt_type", 1},
	fieldHook:     {"hook", 1},
	fieldNow:      {"now", 8},
	fieldPriority: {"priority", 4},
	fieldZone:     {"zone", 2},
	fieldZoneDirs: {"zone_dirs", 1},
	fieldRegs:     {"regs", regSlots * regSlot},
	fieldKey:      {"key", 72},
	fieldElem:     {"elem", maxValue},
	fieldNatRange: {"nat_range", natRangeLen},
}

// sym is what is known of a byte: (packet byte & and) ^ xor. A constant has no
// field and and == 0.
type sym struct {
	field pktField
	// name tells that the byte is one of the name of the interface whose index
	// is the field.
	name     bool
	index    uint8 // of the byte in the field, or in the name
	and, xor byte
}

func constant(b byte) sym { return sym{xor: b} }

func constants(data []byte) []sym {
	s := make([]sym, len(data))
	for i, b := range data {
		s[i] = constant(b)
	}
	return s
}

// fieldBytes returns n bytes of a field, from the given one on.
func fieldBytes(f pktField, from, n int) []sym {
	s := make([]sym, n)
	for i := range s {
		s[i] = sym{field: f, index: uint8(from + i), and: 0xff}
	}
	return s
}

const ifnameLen = 16

// ifname returns the name of the interface whose index is the field.
func ifname(f pktField) []sym {
	s := fieldBytes(f, 0, ifnameLen)
	for i := range s {
		s[i].name = true
	}
	return s
}

// bitwise returns (s & and) ^ xor.
func (s sym) bitwise(and, xor byte) sym {
	s.and &= and
	s.xor = s.xor&and ^ xor
	if s.and == 0 {
		return constant(s.xor)
	}
	return s
}

// registers are the data registers: 16 words of 4 bytes. A byte without a value
// is nil in set.
type registers struct {
	bytes [64]sym
	set   [64]bool
}

// store puts a value in registers from a word on and fills the rest of the
// last word with zeros, as the kernel does.
func (r *registers) store(word int, v []sym) bool {
	at := word * 4
	if at+(len(v)+3)&^3 > len(r.bytes) {
		return false
	}
	for len(v)%4 != 0 {
		v = append(v, constant(0))
	}
	for i, s := range v {
		r.bytes[at+i], r.set[at+i] = s, true
	}
	return true
}

// load returns n bytes from a word on, or nil if one of them has no value.
func (r *registers) load(word, n int) []sym {
	at := word * 4
	if at+n > len(r.bytes) {
		return nil
	}
	for i := range n {
		if !r.set[at+i] {
			return nil
		}
	}
	return append([]sym(nil), r.bytes[at:at+n]...)
}
