// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/bits"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Set is a set that is a map: its elements can change while it is in use.
type Set struct {
	// Index in [Program.Sets].
	Index  int
	Family nft.Family
	Table  string
	Name   string
	// KeyType as nft writes it, such as "ipv4_addr . inet_service".
	KeyType string
	// Fields of the key, in the layout of nft.
	Fields []nft.Field
	// Interval sets hold prefixes and ranges, as the prefixes of an LPM trie.
	Interval bool
	// Constant sets take no new elements.
	Constant bool
	// Timeouts tells that elements can expire.
	Timeouts bool
	// Timeout of an element that does not say; 0: none.
	Timeout time.Duration
	// MapName is the name of the map.
	MapName string
	// MaxEntries of the map.
	MaxEntries uint32

	fields []keyField
	links  map[string]int
	ranges []nft.Range
	// verdicts that elements of a verdict map can have, by the index that is
	// their value.
	verdicts []opVerdict
	isMap    bool
	// data of a data map's elements: its fields, and how many bytes it has in
	// the registers. A range has its fields twice.
	data    []keyField
	dataLen int
	// states that each element has.
	states []elemState
	// catchAll is the element that holds what no other does; nil: there can be
	// none. It is in a map of its own, of the name anyName.
	catchAll *nft.Element
	anyName  string
	// className is the name of the trie of a set of classes; empty: it is none.
	// keyLen is how long its keys are in the layout of nft.
	classes   bool
	className string
	keyLen    int
	// index of the keys of an LPM trie; nil: not made yet, or out of date.
	index *keyIndex
	// dynamic tells that rules add elements.
	dynamic bool
}

// keyField is a field in the layout of the map's key.
type keyField struct {
	nft.Field
	offset, len int // in bytes
	// hostOrder tells that the field is a number in host byte order.
	hostOrder bool
}

// prefixLen is the length of the number that begins the key of an LPM trie.
const prefixLen = 4

// maxName is the longest name the kernel takes for a map, without its zero.
const maxName = unix.BPF_OBJ_NAME_LEN - 1

// Types whose values are numbers in host byte order, except in interval sets,
// for which nft converts them.
var hostOrderTypes = map[string]bool{
	"mark": true, "iface_index": true, "realm": true, "classid": true, "uid": true, "gid": true,
	"ct_state": true, "ct_status": true, "devgroup": true, "fib_addrtype": true, "iface_type": true,
}

func newSet(index int, src *nft.Set, opt Options) *Set {
	s := &Set{
		Index:    index,
		Family:   src.Table.Family,
		Table:    src.Table.Name,
		Name:     src.Name,
		KeyType:  src.KeyType,
		Fields:   src.Fields,
		Interval: src.Has(nft.SetInterval),
		Constant: (src.Has(nft.SetConstant) || src.Has(nft.SetAnonymous)) && !src.Has(nft.SetDynamic),
		Timeouts: src.Has(nft.SetTimeout),
		Timeout:  src.Timeout,
		links:    opt.Links,
		isMap:    isMap(src) && !isDataMap(src),
		data:     dataFields(src),
		dataLen:  src.DataLen,
		catchAll: catchAll(src),
		ranges:   src.Ranges(),
		keyLen:   src.KeyLen,
		classes:  hasClasses(src),
	}

	at := 0
	for _, f := range src.Fields {
		k := keyField{Field: f, offset: at, len: f.Len}
		if f.Type == "ifname" {
			// The compiler knows interfaces by their index.
			k.len, k.hostOrder = 4, true
		}
		if !s.Interval && (hostOrderTypes[f.Type] || f.Type == "integer" && src.KeyHostOrder) {
			k.hostOrder = true
		}
		s.fields = append(s.fields, k)
		at += (k.len + 3) &^ 3
	}

	s.nameMaps(0)
	initial := uint32(len(s.ranges))
	if s.Interval && !s.classes {
		initial = s.initialPrefixes()
	}
	switch {
	case s.Constant:
		s.MaxEntries = initial
	case opt.Live && !src.Has(nft.SetDynamic):
		// The kernel minds the size. A power of two, so that a set that grows
		// does not have to be made anew with each element.
		s.MaxEntries = max(src.Size, opt.SetSize, 1<<bits.Len32(2*initial))
	case src.Size > 0:
		s.MaxEntries = src.Size
	default:
		s.MaxEntries = opt.SetSize
	}
	s.MaxEntries = max(s.MaxEntries, initial, 1)
	return s
}

// nameMaps gives names to the set's maps. They are the same for a set of the
// same name, place and key in the next ruleset: what was added while this one
// ran is carried over by them. Another attempt makes other names, for when two
// sets' are the same.
func (s *Set) nameMaps(attempt int) {
	name := func(what string) string {
		h := fnv.New32a()
		fmt.Fprintf(h, "%s%v\x00%s\x00%s\x00%s\x00%t\x00%d", what, s.Family, s.Table, s.Name, s.KeyType, s.Interval, attempt)
		if s.isMap {
			fmt.Fprint(h, "\x00map")
		}
		if s.dataLen > 0 {
			fmt.Fprintf(h, "\x00data %d", s.dataLen)
		}
		fmt.Fprintf(h, "\x00%s%v", statesText(s.states), s.verdicts)
		suffix := fmt.Sprintf("_%06x", h.Sum32()&0xffffff)
		id := identifier(s.Name)
		return id[:min(len(id), maxName-len(suffix))] + suffix
	}
	s.MapName = name("")
	if s.catchAll != nil {
		s.anyName = name("any")
	}
	if s.classes {
		s.className = name("classes")
	}
}

// mapNames returns the names of the set's maps.
func (s *Set) mapNames() []string {
	names := []string{s.MapName}
	if s.catchAll != nil {
		names = append(names, s.anyName)
	}
	if s.classes {
		names = append(names, s.className)
	}
	return names
}

// keySize is the length of a key in bytes, without an LPM trie's prefix length.
func (s *Set) keySize() int {
	last := s.fields[len(s.fields)-1]
	if len(s.fields) == 1 {
		return last.len
	}
	return last.offset + (last.len+3)&^3
}

// MapType is the type of the set's map.
func (s *Set) MapType() ebpf.MapType {
	if s.Interval && !s.classes {
		return ebpf.LPMTrie
	}
	return ebpf.Hash
}

var (
	btfU8  = &btf.Int{Name: "__u8", Size: 1, Encoding: btf.Unsigned}
	btfU32 = &btf.Int{Name: "__u32", Size: 4, Encoding: btf.Unsigned}
	btfU64 = &btf.Int{Name: "__u64", Size: 8, Encoding: btf.Unsigned}
)

// specs returns the set's maps with the elements of the ruleset as they are at
// now.
func (s *Set) specs(now uint64) ([]*ebpf.MapSpec, error) {
	specs := s.blank()
	for _, m := range specs {
		if m.Name == s.anyName {
			m.Contents = []ebpf.MapKV{{Key: anyKey, Value: s.initialValue(s.catchAll, now)}}
		}
	}
	if s.classes {
		return specs, s.fillClasses(specs[0], specs[1], now)
	}
	specs[0].Contents = s.contents(now)
	return specs, nil
}

// blank returns the set's maps without elements.
func (s *Set) blank() []*ebpf.MapSpec {
	specs := []*ebpf.MapSpec{s.spec()}
	if s.classes {
		specs = s.classSpecs()
	}
	if s.catchAll == nil {
		return specs
	}
	value := s.valueType()
	return append(specs, &ebpf.MapSpec{
		Name:       s.anyName,
		Type:       ebpf.Hash,
		KeySize:    4,
		ValueSize:  value.Size,
		MaxEntries: 1,
		Flags:      unix.BPF_F_NO_PREALLOC,
		Key:        btfU32,
		Value:      value,
	})
}

// anyKey is the key of a catch-all element in its map.
const anyKey = uint32(0)

// spec returns the map of a set that is no set of classes, without contents.
func (s *Set) spec() *ebpf.MapSpec {
	key := &btf.Struct{Name: "set_key"}
	at := 0
	add := func(name string, typ btf.Type, size int) {
		key.Members = append(key.Members, btf.Member{Name: name, Type: typ, Offset: btf.Bits(at * 8)})
		at += size
	}
	if s.Interval {
		add("prefixlen", btfU32, prefixLen)
	}
	start := at
	for i, f := range s.fields {
		at = start + f.offset
		name := f.Type
		if len(s.fields) > 1 {
			name = fmt.Sprintf("%s_%d", f.Type, i)
		}
		switch {
		case f.hostOrder && f.len == 4:
			add(name, btfU32, f.len)
		case f.len == 1:
			add(name, btfU8, f.len)
		default:
			add(name, &btf.Array{Index: btfU32, Type: btfU8, Nelems: uint32(f.len)}, f.len)
		}
	}
	key.Size = uint32(start + s.keySize())
	value := s.valueType()
	return &ebpf.MapSpec{
		Name:       s.MapName,
		Type:       s.MapType(),
		KeySize:    key.Size,
		ValueSize:  value.Size,
		MaxEntries: s.MaxEntries,
		Flags:      unix.BPF_F_NO_PREALLOC,
		Key:        key,
		Value:      value,
	}
}

// Now returns the clock that elements expire by: CLOCK_MONOTONIC in ns.
func Now() uint64 {
	var ts unix.Timespec
	// Cannot fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}

// initialElement is an element of the ruleset.
type initialElement struct {
	key     []byte
	element *nft.Element
}

// initialPrefixes counts the entries in the trie of the ruleset's elements.
func (s *Set) initialPrefixes() uint32 {
	n := 0
	for i := range s.ranges {
		n += len(s.entriesOf(&s.ranges[i]))
	}
	return uint32(n)
}

// initial returns the elements of the ruleset, but for a catch-all one. Names of
// interfaces that do not exist are left out: they match nothing.
func (s *Set) initial() []initialElement {
	out := make([]initialElement, 0, len(s.ranges))
	for i := range s.ranges {
		out = append(out, s.entriesOf(&s.ranges[i])...)
	}
	return out
}

// entriesOf returns what an element of the ruleset becomes in the map.
func (s *Set) entriesOf(r *nft.Range) []initialElement {
	if s.classes {
		return []initialElement{{slices.Concat(r.From[:s.keyLen], r.To[:s.keyLen]), &r.Element}}
	}
	if !s.Interval {
		k, ok := s.mapKey(r.From)
		if !ok {
			return nil
		}
		return []initialElement{{k, &r.Element}}
	}
	var out []initialElement
	for _, k := range prefixes(r.From, r.To) {
		out = append(out, initialElement{k, &r.Element})
	}
	return out
}

// mapKey turns a key in the layout of nft into one of the map.
func (s *Set) mapKey(key []byte) ([]byte, bool) {
	out := make([]byte, s.keySize())
	for _, f := range s.fields {
		part := key[f.Offset : f.Offset+f.Len]
		if f.Type == "ifname" {
			index, ok := s.links[string(bytes.TrimRight(part, "\x00"))]
			if !ok {
				return nil, false
			}
			part = ifindexBytes(index)
		}
		copy(out[f.offset:], part)
	}
	return out, true
}

// contents returns the elements of the ruleset as they are at now.
func (s *Set) contents(now uint64) []ebpf.MapKV {
	out := make([]ebpf.MapKV, 0, len(s.ranges))
	for i := range s.ranges {
		for _, e := range s.entriesOf(&s.ranges[i]) {
			out = append(out, ebpf.MapKV{Key: e.key, Value: s.initialValue(e.element, now)})
		}
	}
	return out
}
