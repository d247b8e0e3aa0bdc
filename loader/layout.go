// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// conversion turns bytes of one layout into another's. What both have by the
// same name is copied; what is new is 0.
type conversion struct {
	size   int // of the result
	copied []span
}

// span is bytes that are copied.
type span struct{ to, from, size uint32 }

// apply converts a value; the result is valid until the next call with the same
// buffer.
func (c *conversion) apply(buffer, value []byte) []byte {
	buffer = buffer[:c.size]
	clear(buffer)
	for _, s := range c.copied {
		copy(buffer[s.to:s.to+s.size], value[s.from:])
	}
	return buffer
}

// keeps tells whether values of a size stay as they are.
func (c *conversion) keeps(size uint32) bool {
	return c.size == int(size) && !slices.ContainsFunc(c.copied, func(s span) bool { return s.to != s.from })
}

// newConversion says how to turn a value of one type into one of another. It is
// an error if something could be lost or mean something else: a number that may
// not fit, a value of an enum that is unknown or another's.
func newConversion(to, from btf.Type) (*conversion, error) {
	size, err := btf.Sizeof(to)
	if err != nil {
		return nil, err
	}
	c := &conversion{size: size}
	return c, c.add(to, from, 0, 0)
}

func (c *conversion) add(to, from btf.Type, toOff, fromOff uint32) error {
	to, from = btf.UnderlyingType(to), btf.UnderlyingType(from)
	switch to := to.(type) {
	case *btf.Struct:
		if from, ok := from.(*btf.Struct); ok {
			return c.addStruct(to, from, toOff, fromOff)
		}
	case *btf.Array:
		if from, ok := from.(*btf.Array); ok {
			return c.addArray(to, from, toOff, fromOff)
		}
	case *btf.Enum:
		if from, ok := from.(*btf.Enum); ok {
			if err := sameMeaning(to, from); err != nil {
				return err
			}
			return c.addNumber(toOff, fromOff, to.Size, from.Size)
		}
		if from, ok := from.(*btf.Int); ok {
			return c.addNumber(toOff, fromOff, to.Size, from.Size)
		}
	case *btf.Int:
		switch from := from.(type) {
		case *btf.Int:
			return c.addNumber(toOff, fromOff, to.Size, from.Size)
		case *btf.Enum: // its names are lost, not its values
			return c.addNumber(toOff, fromOff, to.Size, from.Size)
		}
	}
	return fmt.Errorf("%v, not %v", from, to)
}

// addNumber copies an unsigned number, the lower bytes of a wider one.
func (c *conversion) addNumber(toOff, fromOff, to, from uint32) error {
	if from > to {
		return fmt.Errorf("%d bytes, not %d", from, to)
	}
	c.copied = append(c.copied, span{toOff, fromOff, from})
	return nil
}

func (c *conversion) addStruct(to, from *btf.Struct, toOff, fromOff uint32) error {
	old := map[string]btf.Member{}
	for _, m := range membersOf(from.Members) {
		old[m.Name] = m
	}
	for _, m := range membersOf(to.Members) {
		o, ok := old[m.Name]
		if !ok {
			continue
		}
		err := errors.New("a bit field, or without a name")
		if m.BitfieldSize == 0 && o.BitfieldSize == 0 && m.Name != "" {
			err = c.add(m.Type, o.Type, toOff+m.Offset.Bytes(), fromOff+o.Offset.Bytes())
		}
		if err != nil {
			return fmt.Errorf("member %s of struct %s: %w", m.Name, to.Name, err)
		}
	}
	return nil
}

// membersOf are those that code finds by a name: a union without one gives its own.
func membersOf(members []btf.Member) []btf.Member {
	var all []btf.Member
	for _, m := range members {
		u, ok := m.Type.(*btf.Union)
		if m.Name != "" || !ok {
			all = append(all, m)
			continue
		}
		for _, inner := range membersOf(u.Members) {
			inner.Offset += m.Offset
			all = append(all, inner)
		}
	}
	return all
}

func (c *conversion) addArray(to, from *btf.Array, toOff, fromOff uint32) error {
	if from.Nelems > to.Nelems {
		return fmt.Errorf("%d elements, not %d", from.Nelems, to.Nelems)
	}
	toSize, err := btf.Sizeof(to.Type)
	if err != nil {
		return err
	}
	fromSize, err := btf.Sizeof(from.Type)
	if err != nil {
		return err
	}
	for i := range from.Nelems {
		if err := c.add(to.Type, from.Type, toOff+i*uint32(toSize), fromOff+i*uint32(fromSize)); err != nil {
			return err
		}
	}
	return nil
}

// sameMeaning: each name of the old enum is one of the new, and for the same
// value. A name for their number is not one of them.
func sameMeaning(to, from *btf.Enum) error {
	values := map[string]uint64{}
	for _, v := range to.Values {
		values[v.Name] = v.Value
	}
	for _, v := range from.Values {
		if strings.HasSuffix(v.Name, "_MAX") {
			continue
		}
		if value, ok := values[v.Name]; !ok || value != v.Value {
			return fmt.Errorf("enum %s: another meaning of %d, %s", to.Name, v.Value, v.Name)
		}
	}
	return nil
}

// sameLayout tells whether values of two types are the same bytes, by the same
// names.
func sameLayout(a, b btf.Type) bool { return layoutOf(a) == layoutOf(b) }

// layoutOf describes a type's bytes.
func layoutOf(t btf.Type) string {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return layoutOfMembers(t.Size, t.Members)
	case *btf.Union:
		return "u" + layoutOfMembers(t.Size, t.Members)
	case *btf.Array:
		return fmt.Sprintf("%d[%s]", t.Nelems, layoutOf(t.Type))
	case *btf.Enum:
		return fmt.Sprintf("e%d%v", t.Size, t.Values)
	case *btf.Int:
		return fmt.Sprintf("i%d", t.Size)
	default:
		return fmt.Sprintf("%T", t)
	}
}

func layoutOfMembers(size uint32, members []btf.Member) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d{", size)
	for _, m := range members {
		fmt.Fprintf(&b, "%s@%d/%d:%s,", m.Name, m.Offset, m.BitfieldSize, layoutOf(m.Type))
	}
	return b.String() + "}"
}

// pinnedTypes are the types of a map's keys and values, as they are called in
// the map's specification of this build, and were in the one that made the map.
func pinnedTypes(m *ebpf.Map, spec *ebpf.MapSpec) (key, value btf.Type, err error) {
	types, err := typesOf(m)
	if err != nil {
		return nil, nil, err
	}
	if key, err = typeCalled(types, spec.Key.TypeName()); err != nil {
		return nil, nil, err
	}
	value, err = typeCalled(types, spec.Value.TypeName())
	return key, value, err
}

var errNoTypes = errors.New("no type information")

// typesOf is a map's type information.
func typesOf(m *ebpf.Map) (*btf.Spec, error) {
	info, err := m.Info()
	if err != nil {
		return nil, err
	}
	id, ok := info.BTFID()
	if !ok || id == 0 {
		return nil, errNoTypes
	}
	handle, err := btf.NewHandleFromID(id)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	return handle.Spec(nil)
}

// typeCalled finds a type of a map. A key and a value can have the same one,
// which is there twice then.
func typeCalled(types *btf.Spec, name string) (btf.Type, error) {
	found, err := types.AnyTypesByName(name)
	if err != nil {
		return nil, fmt.Errorf("type %s: %w", name, err)
	}
	return found[0], nil
}

// memberOffset is where a member of a structure begins.
func memberOffset(t btf.Type, name string) (uint32, error) {
	if s, ok := btf.UnderlyingType(t).(*btf.Struct); ok {
		for _, m := range membersOf(s.Members) {
			if m.Name == name {
				return m.Offset.Bytes(), nil
			}
		}
	}
	return 0, fmt.Errorf("%v has no member %s", t, name)
}
