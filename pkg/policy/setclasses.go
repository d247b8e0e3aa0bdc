// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

/*
 * A set of classes has two maps. That of elements is by their number, from 1:
 * their values, and behind them the first and the last key, as nft lays them
 * out. Number 0 is no element: it says which node is the root. The other map
 * is the trie of classes.
 *
 * A change builds a new tree beside the old one, whose nodes are numbered in the
 * other half of the numbers, makes its root the root, and takes the old tree out
 * when no program can be in it any more. So each packet sees one of them.
 */

const (
	rootKey   = uint32(0)
	nodeHalf  = uint32(1) << 31
	nodeSize  = 4
	fieldAt   = prefixLen + nodeSize // in the key of the trie
	classSize = 4                    // of the trie's value

	dirtyOffset = 4 // in the value of the root
)

// hasClasses tells whether a set is found by classes: where the fields of a
// concatenation are ranges, names have wildcards, or ranges have a state, which
// the prefixes of a trie could not share.
func hasClasses(s *nft.Set) bool {
	return concatRanges(s) || nameRanges(s) || s.Has(nft.SetInterval) && len(s.Exprs) > 0
}

// rangeSize is how long the keys are behind an element's value.
func (s *Set) rangeSize() int { return 2 * s.keyLen }

// longestField is the length of the longest field of the map's key.
func (s *Set) longestField() int {
	n := 0
	for _, f := range s.fields {
		n = max(n, f.len)
	}
	return n
}

// fillClasses gives the maps of a set of classes the elements of the ruleset.
func (s *Set) fillClasses(elements, trie *ebpf.MapSpec, now uint64) error {
	var list []classElement
	elements.Contents = []ebpf.MapKV{{Key: rootKey, Value: s.rootValue(1)}}
	for i, r := range s.ranges {
		id := uint32(i + 1)
		elements.Contents = append(elements.Contents, ebpf.MapKV{Key: id, Value: s.rangeValue(r, now)})
		list = append(list, s.classElement(id, r))
	}
	entries, err := buildClasses(list, 1)
	if err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	for _, e := range entries {
		trie.Contents = append(trie.Contents, ebpf.MapKV{Key: s.classKey(e), Value: e.next})
	}
	return nil
}

// classSpecs returns the maps of a set of classes, that of elements first, without
// contents.
func (s *Set) classSpecs() []*ebpf.MapSpec {
	field := s.longestField()
	bytesOf := func(n int) btf.Type { return &btf.Array{Index: btfU32, Type: btfU8, Nelems: uint32(n)} }
	value := s.valueType()
	value.Name = "range_" + value.Name
	value.Size += uint32(s.rangeSize())
	value.Members = append(value.Members,
		btf.Member{Name: "from", Type: bytesOf(s.keyLen), Offset: btf.Bits(8 * s.valueSize())},
		btf.Member{Name: "to", Type: bytesOf(s.keyLen), Offset: btf.Bits(8 * (s.valueSize() + s.keyLen))})
	value.Size = (value.Size + 7) &^ 7
	trie := &ebpf.MapSpec{
		Name: s.className, Type: ebpf.LPMTrie, KeySize: uint32(fieldAt + field), ValueSize: classSize,
		MaxEntries: 2 * maxClassEntries, Flags: unix.BPF_F_NO_PREALLOC,
		Key: &btf.Struct{Name: "class_key", Size: uint32(fieldAt+field+3) &^ 3, Members: []btf.Member{
			{Name: "prefixlen", Type: btfU32},
			{Name: "node", Type: btfU32, Offset: 8 * prefixLen},
			{Name: "field", Type: bytesOf(field), Offset: 8 * fieldAt},
		}},
		Value: btfU32,
	}
	trie.KeySize = (trie.KeySize + 3) &^ 3
	return []*ebpf.MapSpec{{
		Name: s.MapName, Type: ebpf.Hash, KeySize: 4, ValueSize: value.Size,
		MaxEntries: s.MaxEntries + 1, Flags: unix.BPF_F_NO_PREALLOC, Key: btfU32, Value: value,
	}, trie}
}

// classKey is the key of an entry of the trie.
func (s *Set) classKey(e classEntry) []byte {
	key := binary.NativeEndian.AppendUint32(nil, uint32(8*nodeSize+e.bits))
	key = binary.NativeEndian.AppendUint32(key, e.node)
	return append(key, append(e.value, make([]byte, (s.longestField()+3)&^3-len(e.value))...)...)
}

// rootValue is the value that says which node is the root.
func (s *Set) rootValue(node uint32) []byte {
	v := make([]byte, (s.valueSize()+s.rangeSize()+7)&^7)
	binary.NativeEndian.PutUint32(v, node)
	return v
}

// rangeValue is the value of an element of the ruleset.
func (s *Set) rangeValue(r nft.Range, now uint64) []byte {
	return s.withRange(s.initialValue(&r.Element, now), r)
}

func (s *Set) withRange(value []byte, r nft.Range) []byte {
	v := append(append(slices.Clip(value), r.From[:s.keyLen]...), r.To[:s.keyLen]...)
	return append(v, make([]byte, -len(v)&7)...)
}

// rangeOf returns the keys of an element.
func (s *Set) rangeOf(value []byte) nft.Range {
	keys := value[s.valueSize():]
	return nft.Range{From: bytes.Clone(keys[:s.keyLen]), To: bytes.Clone(keys[s.keyLen : 2*s.keyLen])}
}

// classElement returns the spans of an element in the fields of the map's key.
func (s *Set) classElement(id uint32, r nft.Range) classElement {
	e := classElement{id: id}
	for _, f := range s.fields {
		in := span{r.From[f.Offset : f.Offset+f.Len], r.To[f.Offset : f.Offset+f.Len]}
		if f.Type == "ifname" {
			e.fields = append(e.fields, s.interfacesIn(in))
		} else {
			e.fields = append(e.fields, []span{in})
		}
	}
	return e
}

// interfacesIn returns the indexes of the interfaces whose names are in a span.
// No interface, and one that is not known, have an empty name.
func (s *Set) interfacesIn(names span) []span {
	others := names.contains(paddedName("", ifnameLen))
	var indexes []span
	for name, index := range s.links {
		if names.contains(paddedName(name, ifnameLen)) != others {
			i := ifindexBytes(index)
			indexes = append(indexes, span{i, i})
		}
	}
	indexes = joinSpans(indexes)
	if others {
		return complement(indexes, 4)
	}
	return indexes
}

// classSet is a set of classes in hand: all its elements.
type classSet struct {
	*Set
	elements, trie *ebpf.Map
	root           uint32
	ids            []uint32 // ascending: the first of several holds
	values         map[uint32][]byte
	changed, dirty bool
}

func (s *Set) openClasses(maps Maps) (*classSet, error) {
	c := &classSet{Set: s, elements: maps[s.MapName], trie: maps[s.className], values: map[uint32][]byte{}}
	err := each(c.elements, func(key, value []byte) error {
		if id := binary.NativeEndian.Uint32(key); id == rootKey {
			c.root, c.dirty = binary.NativeEndian.Uint32(value), value[dirtyOffset] != 0
		} else {
			c.ids = append(c.ids, id)
			c.values[id] = bytes.Clone(value)
		}
		return nil
	})
	slices.Sort(c.ids)
	if err == nil && c.root == 0 {
		err = errors.New("no root")
	}
	return c, err
}

// find returns the number of the element with exactly these keys; 0: none.
func (c *classSet) find(r nft.Range) uint32 {
	for _, id := range c.ids {
		if is := c.rangeOf(c.values[id]); bytes.Equal(is.From, r.From[:c.keyLen]) && bytes.Equal(is.To, r.To[:c.keyLen]) {
			return id
		}
	}
	return 0
}

// put stores an element.
func (c *classSet) put(r nft.Range, value []byte) error {
	id := c.find(r)
	if id == 0 {
		if uint32(len(c.ids)) >= c.MaxEntries {
			return setFullError(c.MaxEntries)
		}
		id = 1
		if n := len(c.ids); n > 0 {
			id = c.ids[n-1] + 1
		}
		c.ids = append(c.ids, id)
		c.changed = true
	}
	value = c.withRange(value, r)
	c.values[id] = value
	return c.elements.Put(id, value)
}

// remove takes out elements. They match nothing from then on.
func (c *classSet) remove(ids ...uint32) error {
	for _, id := range ids {
		if err := c.elements.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		delete(c.values, id)
		c.changed = true
	}
	c.ids = slices.DeleteFunc(c.ids, func(id uint32) bool { return slices.Contains(ids, id) })
	return nil
}

// expired returns the elements that have expired.
func (c *classSet) expired(now uint64) []uint32 {
	return slices.DeleteFunc(slices.Clone(c.ids), func(id uint32) bool { return !isExpired(c.values[id], now) })
}

// commit has packets see what has changed, all of it at once.
func (c *classSet) commit() error {
	if !c.changed {
		return nil
	}
	list := make([]classElement, len(c.ids))
	for i, id := range c.ids {
		list[i] = c.classElement(id, c.rangeOf(c.values[id]))
	}
	root := nodeHalf
	if c.root >= nodeHalf {
		root = 1
	}
	entries, err := buildClasses(list, root)
	if err != nil {
		return err
	}
	old := c.root
	if err := c.begin(root); err != nil {
		return err
	}
	keys, values := make([][]byte, len(entries)), make([][]byte, len(entries))
	for i, e := range entries {
		keys[i], values[i] = c.classKey(e), binary.NativeEndian.AppendUint32(nil, e.next)
	}
	if err := putAll(c.trie, keys, values); err != nil {
		return err
	}
	if err := c.setRoot(root, true); err != nil {
		return err
	}
	waitForPrograms()
	if err := c.clear(old); err != nil {
		return err
	}
	c.changed = false
	return c.setRoot(root, false)
}

// begin makes room for a tree, and takes out what a commit left that did not
// come to its end.
func (c *classSet) begin(root uint32) error {
	if c.dirty {
		if err := c.clear(root); err != nil {
			return err
		}
	}
	return c.setRoot(c.root, true)
}

// setRoot stores the root. dirty tells that there may be nodes which it does not
// reach.
func (c *classSet) setRoot(root uint32, dirty bool) error {
	v := c.rootValue(root)
	if dirty {
		v[dirtyOffset] = 1
	}
	c.root, c.dirty = root, dirty
	return c.elements.Put(rootKey, v)
}

// clear takes the nodes of the half of the numbers out of the trie that a node
// is in.
func (c *classSet) clear(node uint32) error {
	var keys [][]byte
	err := each(c.trie, func(key, _ []byte) error {
		if n := binary.NativeEndian.Uint32(key[prefixLen:]); (n >= nodeHalf) == (node >= nodeHalf) {
			keys = append(keys, bytes.Clone(key))
		}
		return nil
	})
	return errors.Join(err, deleteAll(c.trie, keys))
}

// waitForPrograms returns when all programs have ended that run now.
func waitForPrograms() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL: synchronize_rcu()
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		// Not on kernels with nohz_full. A program is done with a packet in
		// much less.
		time.Sleep(100 * time.Millisecond)
	}
}

// overlapping returns an element that a range overlaps with, as far as
// nft_pipapo_insert() of the kernel looks: it finds one that holds the first
// key, or the last. Of elements that can expire all are found, as the first one
// would hide those behind it.
func (c *classSet) overlapping(r nft.Range, now uint64) (nft.Range, bool) {
	for _, id := range c.ids {
		is := c.rangeOf(c.values[id])
		if isExpired(c.values[id], now) || bytes.Equal(is.From, r.From) && bytes.Equal(is.To, r.To) {
			continue
		}
		if c.overlaps(is, r) {
			return is, true
		}
	}
	return nft.Range{}, false
}

// overlaps tells whether two elements may not be in the set both.
func (s *Set) overlaps(is, r nft.Range) bool {
	first, last, any := true, true, true
	for _, f := range s.Fields {
		part := func(b []byte) []byte { return b[f.Offset : f.Offset+f.Len] }
		in := span{part(is.From), part(is.To)}
		first = first && in.contains(part(r.From))
		last = last && in.contains(part(r.To))
		any = any && bytes.Compare(in.lo, part(r.To)) <= 0 && bytes.Compare(part(r.From), in.hi) <= 0
	}
	return first || last || any && s.Timeouts
}

// addRange is Add of a set of classes.
func (s *Set) addRange(maps Maps, element, key string, value []byte, now uint64) error {
	r, err := s.parseKeyRange(key)
	if err != nil {
		return err
	}
	c, err := s.openClasses(maps)
	if err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	if err := c.remove(c.expired(now)...); err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	if is, ok := c.overlapping(r, now); ok {
		return fmt.Errorf("set %v: element %q overlaps with %s", s, element, s.keyRangeText(is))
	}
	before := c.find(r)
	if err = c.put(r, value); err == nil {
		if err = c.commit(); err != nil && before == 0 {
			err = errors.Join(err, c.elements.Delete(c.ids[len(c.ids)-1]))
		}
	}
	if err != nil {
		return fmt.Errorf("set %v: element %q: %w", s, element, err)
	}
	return nil
}

// deleteRange is Delete of a set of classes.
func (s *Set) deleteRange(maps Maps, element, key string) error {
	r, err := s.parseKeyRange(key)
	if err != nil {
		return err
	}
	c, err := s.openClasses(maps)
	if err != nil {
		return fmt.Errorf("set %v: %w", s, err)
	}
	id := c.find(r)
	if id == 0 {
		return fmt.Errorf("set %v: element %q: %w", s, element, ebpf.ErrKeyNotExist)
	}
	if err = c.remove(id); err == nil {
		err = c.commit()
	}
	if err != nil {
		return fmt.Errorf("set %v: element %q: %w", s, element, err)
	}
	return nil
}

// removeRanges takes out the elements whose value the function selects.
func (s *Set) removeRanges(maps Maps, selects func(value []byte) bool) (int, error) {
	c, err := s.openClasses(maps)
	if err != nil {
		return 0, err
	}
	gone := slices.DeleteFunc(slices.Clone(c.ids), func(id uint32) bool { return !selects(c.values[id]) })
	if err := c.remove(gone...); err != nil {
		return 0, err
	}
	return len(gone), c.commit()
}

// updateRanges is Update of a set of classes, and Sync, which takes out all that
// do not come.
func (s *Set) updateRanges(maps Maps, gone, come []nft.Range, only bool) error {
	c, err := s.openClasses(maps)
	if err != nil {
		return err
	}
	now := Now()
	keep := map[uint32]bool{}
	remove := c.expired(now)
	for _, r := range gone {
		if id := c.find(r); id != 0 {
			remove = append(remove, id)
		}
	}
	known := slices.Clone(c.ids)
	if err := c.remove(remove...); err != nil {
		return err
	}
	for _, r := range come {
		if !s.holds(&r.Element) {
			return ErrRecompile
		}
		value := s.initialValue(&r.Element, now)
		if id := c.find(r); id != 0 {
			at := s.stateOffset()
			copy(value[at:], c.values[id][at:s.valueSize()])
		}
		if err := c.put(r, value); err != nil {
			return s.full(err)
		}
		keep[c.find(r)] = true
	}
	if only {
		stale := slices.DeleteFunc(known, func(id uint32) bool { return keep[id] })
		if err := c.remove(stale...); err != nil {
			return err
		}
	}
	return c.commit()
}

// listRanges returns the elements as text, in their order.
func (s *Set) listRanges(maps Maps, now uint64) ([]SetElement, error) {
	c, err := s.openClasses(maps)
	if err != nil {
		return nil, err
	}
	var out []SetElement
	for _, id := range c.ids {
		if v := c.values[id]; !isExpired(v, now) {
			out = append(out, s.listed(s.keyRangeText(s.rangeOf(v)), v, now))
		}
	}
	return out, nil
}

// parseKeyRange parses the key of an element: in each field a value, a prefix, a
// range, or a name with a wildcard.
func (s *Set) parseKeyRange(key string) (nft.Range, error) {
	parts := strings.Split(key, concatSeparator)
	if len(parts) != len(s.fields) {
		return nft.Range{}, s.elementError(key, fmt.Errorf("%d parts", len(parts)))
	}
	r := nft.Range{From: make([]byte, s.keyLen), To: make([]byte, s.keyLen)}
	for i, f := range s.fields {
		text := strings.TrimSpace(parts[i])
		from, to, err := s.parseSpan(f, text)
		if f.Type == "ifname" {
			from, to, err = parseNames(text)
		}
		if err != nil {
			return r, s.elementError(key, err)
		}
		copy(r.From[f.Offset:], from)
		copy(r.To[f.Offset:], to)
	}
	return r, nil
}

// parseNames parses a name of an interface, with or without a wildcard.
func parseNames(text string) (from, to []byte, err error) {
	text = strings.Trim(text, `"`)
	name, wild := strings.CutSuffix(text, "*")
	if len(name) >= ifnameLen || name == "" || strings.Contains(name, "*") {
		return nil, nil, errors.New("not the name of an interface")
	}
	from = paddedName(name, ifnameLen)
	to = bytes.Clone(from)
	for i := len(name); wild && i < ifnameLen; i++ {
		to[i] = 0xff
	}
	return from, to, nil
}

// keyRangeText is the text of an element's key.
func (s *Set) keyRangeText(r nft.Range) string {
	parts := make([]string, len(s.fields))
	for i, f := range s.fields {
		from, to := r.From[f.Offset:f.Offset+f.Len], r.To[f.Offset:f.Offset+f.Len]
		parts[i] = s.spanText(f, from, to)
	}
	return strings.Join(parts, concatSeparator)
}

func (s *Set) spanText(f keyField, from, to []byte) string {
	if f.Type == "ifname" {
		name := string(bytes.TrimRight(from, "\x00"))
		if !bytes.Equal(from, to) {
			name += "*"
		}
		return fmt.Sprintf("%q", name)
	}
	print := textOf(f).print
	first := print(s, f, from)
	if bytes.Equal(from, to) {
		return first
	}
	if keys := prefixes(from, to); len(keys) == 1 && strings.HasPrefix(f.Type, "ip") && strings.HasSuffix(f.Type, "_addr") {
		return fmt.Sprintf("%s/%d", first, binary.NativeEndian.Uint32(keys[0]))
	}
	return first + "-" + print(s, f, to)
}
