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
