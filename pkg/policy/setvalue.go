// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

/*
 * The value of an element, in the map of its set:
 *
 *	struct set_elem of bpf/lib/types.h
 *	of a verdict map: the index of its verdict, 4 bytes, and 4 unused;
 *	of a data map: its data as in the registers, padded to 8 bytes
 *	the states of its statements, 16 bytes each
 */

// elemSize is the size of struct set_elem of bpf/lib/types.h.
const elemSize = 8

// Where an element's verdict, or its data, is in its value, in bytes.
const (
	verdictOffset = elemSize
	dataOffset    = elemSize
)

// maxValue is the size of pkt.elem in bytes, where rules build new elements.
const maxValue = 104

// stateOffset is where the states of an element begin in its value, in bytes.
func (s *Set) stateOffset() int {
	switch {
	case s.isMap:
		return verdictOffset + 8
	case s.dataLen > 0:
		return dataOffset + (s.dataLen+7)&^7
	}
	return elemSize
}

// valueSize is the size of an element's value in bytes.
func (s *Set) valueSize() int { return s.stateOffset() + stateSize*len(s.states) }

// valueType returns the BTF of an element's value.
func (s *Set) valueType() *btf.Struct {
	value := &btf.Struct{Name: "set_elem", Size: uint32(s.valueSize()), Members: []btf.Member{
		{Name: "expires", Type: btfU64},
	}}
	add := func(name string, typ btf.Type, offset int) {
		value.Members = append(value.Members, btf.Member{Name: name, Type: typ, Offset: btf.Bits(offset * 8)})
	}
	words := func(n int) btf.Type { return &btf.Array{Index: btfU32, Type: btfU64, Nelems: uint32(n / 8)} }
	switch {
	case s.isMap:
		value.Name = "verdict_elem"
		add("verdict", btfU32, verdictOffset)
		add("unused", btfU32, verdictOffset+4)
	case s.dataLen > 0:
		value.Name = "data_elem"
		add("data", words(s.stateOffset()-dataOffset), dataOffset)
	}
	if len(s.states) > 0 {
		value.Name = "stateful_" + value.Name
		add("state", words(s.valueSize()-s.stateOffset()), s.stateOffset())
	}
	return value
}

// value returns the value of a new element.
func (s *Set) value(expires uint64, verdict int, data []byte, now uint64) []byte {
	v := make([]byte, s.valueSize())
	binary.NativeEndian.PutUint64(v, expires)
	switch {
	case s.isMap:
		binary.NativeEndian.PutUint32(v[verdictOffset:], uint32(verdict))
	case s.dataLen > 0:
		copy(v[dataOffset:], data)
	}
	for i := range s.states {
		s.states[i].begin(v[s.stateOffset()+stateSize*i:], now)
	}
	return v
}

// verdictOf returns the index of an element's verdict; -1: it is not known.
func (s *Set) verdictOf(e *nft.Element) int {
	return slices.IndexFunc(s.verdicts, func(v opVerdict) bool { return v.isOf(*e) })
}

// initialValue returns the value of an element of the ruleset whose life begins,
// or goes on, at now.
func (s *Set) initialValue(e *nft.Element, now uint64) []byte {
	life := e.Expires
	if life == 0 {
		life = e.Timeout
	}
	if life == 0 {
		life = s.Timeout
	}
	var expires uint64
	if life > 0 {
		expires = now + uint64(life)
	}
	v := s.value(expires, s.verdictOf(e), e.Data, now)
	for i := range s.states {
		if i < len(e.Exprs) {
			s.states[i].restore(v[s.stateOffset()+stateSize*i:], e.Exprs[i])
		}
	}
	return v
}
