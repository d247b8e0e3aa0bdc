// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

/*
 * Classes are how elements that are ranges in several fields are found, and
 * names with a wildcard. One longest-prefix trie holds the nodes of a decision
 * tree, of which each level is about a field: its key is a node, and a prefix of
 * the field's values; its value the next node, or in the last field an element.
 * So a lookup takes one step a field, however many elements there are.
 *
 * In a node's field the ranges of the elements that are left divide the values
 * into intervals; intervals with the same elements lead to the same node. The
 * tree has as many nodes as there are different such sets of elements: one for
 * each element where ranges are apart, more where they lie in each other.
 */

// classEntry is an entry of the trie.
type classEntry struct {
	node  uint32
	bits  int // of the field
	value []byte
	next  uint32
}

const (
	// maxClassEntries is how many entries the trie of a set has at most.
	maxClassEntries = 1 << 20
	// maxClassWork bounds the time that finding them takes.
	maxClassWork = 1 << 27
)

var errClasses = errors.New("its ranges lie in each other too often: less elements with wide ranges in one field and narrow ones in another are possible")

// classElement is an element: in each field the spans that it holds.
type classElement struct {
	id     uint32
	fields [][]span
}

// classBuilder makes the entries of a set's trie.
type classBuilder struct {
	elements []classElement // the first of several holds
	entries  []classEntry
	nodes    map[string]uint32
	next     uint32
	work     int
}

// buildClasses returns the entries whose nodes are numbered from first, which is
// the root.
func buildClasses(elements []classElement, first uint32) ([]classEntry, error) {
	if len(elements) == 0 {
		return nil, nil
	}
	b := &classBuilder{elements: elements, nodes: map[string]uint32{}, next: first}
	all := make([]int, len(elements))
	for i := range all {
		all[i] = i
	}
	if _, err := b.node(0, all); err != nil {
		return nil, err
	}
	return b.entries, nil
}

// node returns the node at a level for some elements, in their order.
func (b *classBuilder) node(level int, active []int) (uint32, error) {
	key := binary.AppendUvarint(nil, uint64(level))
	for _, i := range active {
		key = binary.AppendUvarint(key, uint64(i))
	}
	if n, ok := b.nodes[string(key)]; ok {
		return n, nil
	}
	n := b.next
	b.next++
	b.nodes[string(key)] = n
	return n, b.divide(n, level, active)
}

// edge is where the span of an element begins, or the first value behind it.
type edge struct {
	at      []byte
	element int
	ends    bool
}

// divide adds the entries of a node.
func (b *classBuilder) divide(node uint32, level int, active []int) error {
	var edges []edge
	for _, i := range active {
		for _, s := range b.elements[i].fields[level] {
			edges = append(edges, edge{s.lo, i, false})
			if behind, ok := step(s.hi, 1); ok {
				edges = append(edges, edge{behind, i, true})
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return bytes.Compare(a.at, b.at) })

	var held []int // sorted
	var begun []byte
	var to uint32 // where the interval leads that has begun
	flush := func(end []byte) error {
		if to == 0 {
			return nil
		}
		last, ok := step(end, -1)
		if end == nil {
			last, ok = bytes.Repeat([]byte{0xff}, len(begun)), true
		}
		if !ok {
			return nil
		}
		return b.add(node, begun, last, to)
	}
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && bytes.Equal(edges[i].at, at); i++ {
			j, found := slices.BinarySearch(held, edges[i].element)
			switch {
			case edges[i].ends && found:
				held = slices.Delete(held, j, j+1)
			case !edges[i].ends && !found:
				held = slices.Insert(held, j, edges[i].element)
			}
		}
		if b.work += len(held) + 1; b.work > maxClassWork {
			return errClasses
		}
		next, err := b.lead(level, held)
		if err != nil {
			return err
		}
		if next == to {
			continue
		}
		if err := flush(at); err != nil {
			return err
		}
		begun, to = at, next
	}
	return flush(nil)
}

// lead returns where the elements lead that are left behind a field; 0: nowhere.
func (b *classBuilder) lead(level int, held []int) (uint32, error) {
	switch {
	case len(held) == 0:
		return 0, nil
	case level == len(b.elements[held[0]].fields)-1:
		return b.elements[held[0]].id, nil
	}
	return b.node(level+1, held)
}

func (b *classBuilder) add(node uint32, from, to []byte, next uint32) error {
	for _, k := range prefixes(from, to) {
		b.entries = append(b.entries, classEntry{node, int(binary.NativeEndian.Uint32(k)), k[prefixLen:], next})
	}
	if len(b.entries) > maxClassEntries {
		return fmt.Errorf("it takes more than %d entries: %w", maxClassEntries, errClasses)
	}
	return nil
}
