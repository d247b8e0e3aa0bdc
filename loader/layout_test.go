// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// Types for layouts.
func number(size uint32) btf.Type { return &btf.Int{Name: "number", Size: size} }

func bytesOf(n uint32) btf.Type {
	return &btf.Array{Index: number(4), Type: number(1), Nelems: n}
}

// structure has its members one behind the other.
func structure(members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: "s", Members: members}
	for i := range members {
		members[i].Offset = btf.Bits(8 * s.Size)
		size, err := btf.Sizeof(members[i].Type)
		if err != nil {
			panic(err)
		}
		s.Size += uint32(size)
	}
	return s
}

func enum(values ...btf.EnumValue) btf.Type { return &btf.Enum{Name: "e", Size: 4, Values: values} }

func TestConversion(t *testing.T) {
	old := structure(
		btf.Member{Name: "a", Type: number(2)},
		btf.Member{Name: "gone", Type: number(2)},
		btf.Member{Name: "list", Type: bytesOf(3)},
		btf.Member{Name: "inner", Type: structure(btf.Member{Name: "x", Type: number(1)})},
	)
	for _, c := range []struct {
		name string
		to   btf.Type
		want []byte // of 1, 2, 3, ...
		err  string
	}{
		{"the same", old, []byte{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		{"another order, something new, wider", structure(
			btf.Member{Name: "inner", Type: structure(btf.Member{Name: "new", Type: number(1)}, btf.Member{Name: "x", Type: number(2)})},
			btf.Member{Name: "list", Type: bytesOf(4)},
			btf.Member{Name: "a", Type: number(4)},
		), []byte{0, 8, 0, 5, 6, 7, 0, 1, 2, 0, 0}, ""},
		{"narrower", structure(btf.Member{Name: "a", Type: number(1)}), nil, "member a of struct s: 2 bytes, not 1"},
		{"shorter", structure(btf.Member{Name: "list", Type: bytesOf(2)}), nil, "3 elements, not 2"},
		{"another kind", structure(btf.Member{Name: "list", Type: number(4)}), nil, "member list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conv, err := newConversion(c.to, old)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			buffer := bytes.Repeat([]byte{0xff}, conv.size)
			if got := conv.apply(buffer, []byte{1, 2, 3, 4, 5, 6, 7, 8}); !bytes.Equal(got, c.want) {
				t.Errorf("%v, not %v", got, c.want)
			}
			if same := sameLayout(c.to, old); same != (c.to == old) {
				t.Errorf("the same layout: %v", same)
			}
		})
	}
}

func TestEnumConversion(t *testing.T) {
	old := enum(btf.EnumValue{Name: "A", Value: 0}, btf.EnumValue{Name: "B", Value: 1}, btf.EnumValue{Name: "E_MAX", Value: 2})
	for _, c := range []struct {
		name string
		to   btf.Type
		ok   bool
	}{
		{"one more", enum(btf.EnumValue{Name: "A", Value: 0}, btf.EnumValue{Name: "B", Value: 1}, btf.EnumValue{Name: "C", Value: 2}, btf.EnumValue{Name: "E_MAX", Value: 3}), true},
		{"another order", enum(btf.EnumValue{Name: "B", Value: 0}, btf.EnumValue{Name: "A", Value: 1}, btf.EnumValue{Name: "E_MAX", Value: 2}), false},
		{"one less", enum(btf.EnumValue{Name: "A", Value: 0}, btf.EnumValue{Name: "E_MAX", Value: 1}), false},
	} {
		if _, err := newConversion(c.to, old); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestByteConversion: a number is taken for an enum of its size and the other way round, also
// where it has become one of several in a union.
func TestByteConversion(t *testing.T) {
	state := &btf.Enum{Name: "state", Size: 1, Values: []btf.EnumValue{{Name: "A", Value: 0}, {Name: "B", Value: 7}}}
	union := &btf.Union{Size: 1, Members: []btf.Member{{Name: "state", Type: number(1)}, {Name: "a_state", Type: state}}}
	plain := structure(btf.Member{Name: "before", Type: number(1)}, btf.Member{Name: "state", Type: number(1)}, btf.Member{Name: "behind", Type: number(1)})
	named := structure(btf.Member{Name: "before", Type: number(1)}, btf.Member{Name: "state", Type: state}, btf.Member{Name: "behind", Type: number(1)})
	one := &btf.Struct{Name: "s", Size: 3, Members: []btf.Member{
		{Name: "behind", Type: number(1)}, {Type: union, Offset: 8}, {Name: "before", Type: number(1), Offset: 16},
	}}
	for _, c := range []struct {
		name     string
		to, from *btf.Struct
		want     []byte
	}{
		{"number to enum", named, plain, []byte{1, 7, 3}},
		{"enum to number", plain, named, []byte{1, 7, 3}},
		{"number to union", one, plain, []byte{3, 7, 1}},
		{"union to number", plain, one, []byte{3, 7, 1}},
		{"union to enum", named, one, []byte{3, 7, 1}},
		{"union to union", one, one, []byte{1, 7, 3}},
	} {
		conv, err := newConversion(c.to, c.from)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := conv.apply(make([]byte, 3), []byte{1, 7, 3}); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if same := sameLayout(c.to, c.from); same != (c.to == c.from) {
			t.Errorf("%s: the same layout: %v", c.name, same)
		}
	}
	if at, err := memberOffset(one, "a_state"); at != 1 || err != nil {
		t.Errorf("a member of a union is at %d: %v", at, err)
	}
}
