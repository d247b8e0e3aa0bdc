// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf"
)

// keyIndex has the keys of an LPM trie in order: by address, the shorter prefix
// first. A trie cannot be asked what is inside a prefix. It is made when an
// element is first added, and kept as long as all changes are known.
type keyIndex struct {
	keys []string // address and prefix length
}

func indexKey(key []byte) string {
	return string(key[prefixLen:]) + string(byte(binary.NativeEndian.Uint32(key)))
}

func trieKey(k string) []byte {
	n := len(k) - 1
	return append(binary.NativeEndian.AppendUint32(nil, uint32(k[n])), k[:n]...)
}

func newKeyIndex(m *ebpf.Map) (*keyIndex, error) {
	x := new(keyIndex)
	err := each(m, func(key, _ []byte) error {
		x.keys = append(x.keys, indexKey(key))
		return nil
	})
	slices.Sort(x.keys)
	return x, err
}

func (x *keyIndex) add(key []byte) {
	if i, found := slices.BinarySearch(x.keys, indexKey(key)); !found {
		x.keys = slices.Insert(x.keys, i, indexKey(key))
	}
}

func (x *keyIndex) remove(key []byte) {
	if i, found := slices.BinarySearch(x.keys, indexKey(key)); found {
		x.keys = slices.Delete(x.keys, i, i+1)
	}
}

// around returns the other keys that a prefix overlaps with: those inside, and
// those that hold it.
func (x *keyIndex) around(key []byte) [][]byte {
	var out [][]byte
	k := indexKey(key)
	i, _ := slices.BinarySearch(x.keys, k)
	for _, other := range x.keys[i:] {
		o := trieKey(other)
		if !prefixesOverlap(key, o) {
			break
		}
		if other != k {
			out = append(out, o)
		}
	}
	// One that holds it is the prefix of its address of some length.
	bits := int(binary.NativeEndian.Uint32(key))
	for n := bits - 1; n >= 0; n-- {
		holds := bytes.Clone(key)
		binary.NativeEndian.PutUint32(holds, uint32(n))
		for b := n; b < 8*(len(key)-prefixLen); b++ {
			holds[prefixLen+b/8] &^= 0x80 >> (b % 8)
		}
		if _, found := slices.BinarySearch(x.keys, indexKey(holds)); found {
			out = append(out, holds)
		}
	}
	return out
}
