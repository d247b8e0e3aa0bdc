// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/cilium/ebpf"
)

// fillBatch is how many elements of a set go through one system call.
const fillBatch = 4096

// takeContents takes the elements that sets begin with out of the maps to make. The
// library would store each by a system call of its own: a million of them take seconds.
func takeContents(maps map[string]*ebpf.MapSpec) map[string][]ebpf.MapKV {
	taken := map[string][]ebpf.MapKV{}
	for name, m := range maps {
		if (m.Type == ebpf.Hash || m.Type == ebpf.LPMTrie) && areBytes(m.Contents) {
			taken[name] = m.Contents
			m.Contents = nil
		}
	}
	return taken
}

// areBytes tells whether there are entries, and all are bytes.
func areBytes(contents []ebpf.MapKV) bool {
	return len(contents) > 0 && !slices.ContainsFunc(contents, func(kv ebpf.MapKV) bool {
		_, key := kv.Key.([]byte)
		_, value := kv.Value.([]byte)
		return !key || !value
	})
}

// fill stores entries, which are bytes.
func fill(m *ebpf.Map, contents []ebpf.MapKV) error {
	for chunk := range slices.Chunk(contents, fillBatch) {
		keys, values := byteArrays(len(chunk), m.KeySize()), byteArrays(len(chunk), m.ValueSize())
		for i, kv := range chunk {
			reflect.Copy(keys.Index(i), reflect.ValueOf(kv.Key))
			reflect.Copy(values.Index(i), reflect.ValueOf(kv.Value))
		}
		if _, err := m.BatchUpdate(keys.Interface(), values.Interface(), nil); err != nil {
			return fmt.Errorf("elements: %w", err)
		}
	}
	return nil
}

// byteArrays is a slice of n arrays of size bytes, as which the library takes the keys
// and values of many entries.
func byteArrays(n int, size uint32) reflect.Value {
	return reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(int(size), reflect.TypeFor[byte]())), n, n)
}
