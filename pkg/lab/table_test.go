// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestWrapText(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"one two three", []string{"one two", "three"}},
		{"exactly8 next", []string{"exactly8", "next"}},
		{"2001:db8:1234::1 x", []string{"2001:db8", ":1234::1", "x"}},
		{"a\nb", []string{"a", "b"}},
	} {
		if got := wrapText(c.text, 8); !slices.Equal(got, c.want) {
			t.Errorf("%q in 8 columns: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	table := NewTable(&out, false)
	rule := fwOut6.String() + " (+140326)"
	table.Add(Result{Group: "g", Name: "a check with a long name", Shows: "what is shown, at length", Rules: []string{rule, rule}, Pass: true, Duration: 12345 * time.Millisecond})
	table.Add(Result{Group: "g", Name: "another", Error: strings.Repeat("a long reason ", 30)})
	table.Add(Result{Group: "g", Name: "a third", Skipped: "it needs what is not here"})
	if table.End() {
		t.Error("a table with a failure ends well")
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"pass 12.3 s", "FAIL", "1 of 2 checks failed", "a long reason", "skip", "needs what is not here"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colour that was not asked for")
	}
}
