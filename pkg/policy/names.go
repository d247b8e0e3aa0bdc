// SPDX-License-Identifier: GPL-2.0-only

package policy

import "encoding/binary"

// resolveNames turns conditions on names of interfaces into conditions on
// their indexes. An interface that is not among the links, and no interface,
// have an empty name: no rule can name them.
func (c *compiler) resolveNames(m *opMatch) (*opMatch, error) {
	named := m
	for i, key := range named.keys {
		field, ok, err := nameKey(key)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if len(m.keys) == 1 {
			return c.resolveName(m, field, len(key)), nil
		}
		if m, err = c.expandName(m, i, field); err != nil {
			return nil, err
		}
		m.named = named
	}
	return m, nil
}

// nameKey tells whether a key is the (beginning of the) name of an interface,
// and of which.
func nameKey(key []sym) (field pktField, ok bool, err error) {
	names := 0
	for i, s := range key {
		if !s.name {
			continue
		}
		names++
		if int(s.index) != i || s.field != key[0].field {
			return 0, false, refuse("whole names and prefixes of names", "a part of an interface name")
		}
	}
	if names != 0 && names != len(key) {
		return 0, false, refuse("whole names and prefixes of names", "a part of an interface name")
	}
	return key[0].field, names > 0, nil
}

// paddedName returns the first n bytes of a name in a register.
func paddedName(name string, n int) []byte {
	b := make([]byte, ifnameLen)
	copy(b, name)
	return b[:n]
}

func ifindexBytes(index int) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(index))
}

func (c *compiler) resolveName(m *opMatch, field pktField, n int) *opMatch {
	in := func(name string) bool {
		for _, e := range m.elems {
			if e[0].contains(paddedName(name, n)) {
				return true
			}
		}
		return false
	}
	// When nameless interfaces are in the set, list those that are not.
	others := in("")
	out := &opMatch{keys: [][]sym{fieldBytes(field, 0, 4)}, invert: m.invert != others, named: m}
	for _, name := range c.links {
		if in(name) != others {
			i := ifindexBytes(c.p.options.Links[name])
			out.elems = append(out.elems, []span{{i, i}})
		}
	}
	return out
}

// expandName replaces the names in one of several keys: an element becomes one
// for each interface that it names.
func (c *compiler) expandName(m *opMatch, key int, field pktField) (*opMatch, error) {
	out := &opMatch{keys: append([][]sym(nil), m.keys...), invert: m.invert}
	n := len(m.keys[key])
	out.keys[key] = fieldBytes(field, 0, 4)
	for _, e := range m.elems {
		if e[key].contains(paddedName("", n)) {
			return nil, refuse("names", "an empty interface name in a concatenation")
		}
		for _, name := range c.links {
			if !e[key].contains(paddedName(name, n)) {
				continue
			}
			i := ifindexBytes(c.p.options.Links[name])
			elem := append([]span(nil), e...)
			elem[key] = span{i, i}
			out.elems = append(out.elems, elem)
		}
	}
	return out, nil
}
