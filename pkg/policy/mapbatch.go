// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"reflect"

	"github.com/cilium/ebpf"
)

// batchSize is how many entries of a map go through one system call.
const batchSize = 4096

// arrays returns a slice of n arrays of size bytes, as which the batch calls of
// cilium/ebpf take keys and values.
func arrays(n int, size uint32) reflect.Value {
	return reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(int(size), reflect.TypeFor[byte]())), n, n)
}

func arraysOf(list [][]byte, size uint32) any {
	s := arrays(len(list), size)
	for i, b := range list {
		reflect.Copy(s.Index(i), reflect.ValueOf(b))
	}
	return s.Interface()
}

// each calls fn for each entry of a map. The slices are reused.
func each(m *ebpf.Map, fn func(key, value []byte) error) error {
	n := min(batchSize, int(m.MaxEntries()))
	keys, values := arrays(n, m.KeySize()), arrays(n, m.ValueSize())
	var cursor ebpf.MapBatchCursor
	for {
		got, err := m.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		for i := range got {
			if err := fn(keys.Index(i).Slice(0, int(m.KeySize())).Bytes(), values.Index(i).Slice(0, int(m.ValueSize())).Bytes()); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// putAll stores entries.
func putAll(m *ebpf.Map, keys, values [][]byte) error {
	for len(keys) > 0 {
		n := min(batchSize, len(keys))
		if _, err := m.BatchUpdate(arraysOf(keys[:n], m.KeySize()), arraysOf(values[:n], m.ValueSize()), nil); err != nil {
			return err
		}
		keys, values = keys[n:], values[n:]
	}
	return nil
}

// deleteAll takes keys out that are there.
func deleteAll(m *ebpf.Map, keys [][]byte) error {
	for len(keys) > 0 {
		n := min(batchSize, len(keys))
		done, err := m.BatchDelete(arraysOf(keys[:n], m.KeySize()), nil)
		switch {
		case err == nil:
			done = n
		case errors.Is(err, ebpf.ErrKeyNotExist):
			done++ // gone already
		default:
			return err
		}
		keys = keys[min(done, len(keys)):]
	}
	return nil
}
