// SPDX-License-Identifier: GPL-2.0-only

package linediff

import (
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	many := strings.Repeat("x\n", 10)
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a\n", "a\n", ""},
		{"a\n", "a", ""},
		{"", "a\nb\n", "+ a\n+ b\n"},
		{"a\nb\n", "", "- a\n- b\n"},
		{"a\nb\nc\nd\n", "a\nx\nc\ne\nd\n", "  a\n- b\n+ x\n  c\n+ e\n  d\n"},
		{"a\nb\nc", "c\na\nb", "+ c\n  a\n  b\n- c\n"},
		{many + "a\n" + many, many + "b\n" + many, "  ... 7 unchanged\n  x\n  x\n  x\n- a\n+ b\n  x\n  x\n  x\n  ... 7 unchanged\n"},
	} {
		if got := Of(c.from, c.to); got != c.want {
			t.Errorf("%q to %q: %q, not %q", c.from, c.to, got, c.want)
		}
	}
}

// TestLong: texts of which too much differs are not compared line by line.
func TestLong(t *testing.T) {
	from := strings.Repeat("a\nb\n", longest)
	got := Of("same\n"+from, "same\nb\na\n")
	if n := strings.Count(got, "\n"); n != 1+2*longest+2 {
		t.Errorf("%d lines", n)
	}
}
