// SPDX-License-Identifier: GPL-2.0-only

package mapdiff

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	same := map[string]string{"a": "1\n", "b": "x"}
	if d := Of(same, map[string]string{"b": "x", "a": "1\n"}); d != nil {
		t.Errorf("%q", d)
	}
	got := Of(same, map[string]string{"c": "3", "a": "1\n2\n"})
	want := []string{"a: was \"1\", is \n1\n2\n", `b: was "x", is nothing`, `c: was nothing, is "3"`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if d := Of(nil, map[string]int{"a": 0}); !slices.Equal(d, []string{`a: was nothing, is "0"`}) {
		t.Errorf("%q", d)
	}
}
