// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"slices"
	"testing"
)

func TestBits(t *testing.T) {
	for _, test := range []struct {
		list []int
		bits []byte
	}{
		{nil, []byte{}},
		{[]int{0}, []byte{1}},
		{[]int{1, 8, 15}, []byte{2, 0x81}},
		{[]int{23}, []byte{0, 0, 0x80}},
	} {
		if got := toBits(test.list); !slices.Equal(got, test.bits) {
			t.Errorf("%v: %v, want %v", test.list, got, test.bits)
		}
		if got := ofBits(test.bits); !slices.Equal(got, test.list) {
			t.Errorf("%v: %v, want %v", test.bits, got, test.list)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/usr/sbin/radvd": "/usr/sbin/radvd", "": `""`, "a b": `"a b"`, `a"b\c`: `"a\"b\\c"`, "100%": `"100%%"`, "$HOME": `"$$HOME"`,
	} {
		if got := quoteAll([]string{in}); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
