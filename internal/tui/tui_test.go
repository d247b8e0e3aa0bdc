// SPDX-License-Identifier: GPL-2.0-only

package tui

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		idle bool
		keys []string
		rest string
	}{
		{"q", false, []string{"q"}, ""},
		{"\x1b[A\x1bOB2", false, []string{Up, Down, "2"}, ""},
		{"\x1b", false, nil, "\x1b"},
		{"\x1b", true, []string{Escape}, ""},
		{"\x1b[", false, nil, "\x1b["},
		{"\x1b[5", false, nil, "\x1b[5"},
		{"\x1b[5~", false, []string{PageUp}, ""},
		{"\x1b[15~x", false, []string{"x"}, ""}, // F5 is no key of ours
		{"\r\x7f\t\x1b[Z", false, []string{Enter, Backspace, Tab, BackTab}, ""},
		{"ä\x01b", false, []string{"ä", "b"}, ""},
	} {
		keys, rest := parse(c.in, c.idle)
		if !slices.Equal(keys, c.keys) || rest != c.rest {
			t.Errorf("%q: %q and %q, want %q and %q", c.in, keys, rest, c.keys, c.rest)
		}
	}
}

func TestRender(t *testing.T) {
	l := Line{{"abc", Bold}, {"d\x1b[31mef", Plain}, {"red", Bad}}
	for _, c := range []struct {
		columns int
		colour  bool
		want    string
	}{
		{80, false, "\x1b[1mabc\x1b[0md?[31mefred"},
		{80, true, "\x1b[1mabc\x1b[0md?[31mef\x1b[31mred\x1b[0m"},
		{4, false, "\x1b[1mabc\x1b[0md"},
		{2, false, "\x1b[1mab\x1b[0m"},
	} {
		if got := l.Render(c.columns, c.colour); got != c.want {
			t.Errorf("%d columns: %q, want %q", c.columns, got, c.want)
		}
	}
	if got := l.String(); got != "abcd?[31mefred" {
		t.Errorf("%q", got)
	}
}
