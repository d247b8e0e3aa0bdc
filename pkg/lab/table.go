// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Table prints results as they come, at most 100 columns wide.
type Table struct {
	w      io.Writer
	color  bool
	group  string
	passed int
	failed int
	// skipped needs what is not here.
	skipped int
	begin   time.Time
}

// Widths of the columns: check, what it shows, rule that decided; then the result
// and the time.
var columns = [3]int{22, 28, 34}

const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

// NewTable returns a table that goes to w, with colour if asked for.
func NewTable(w io.Writer, color bool) *Table {
	return &Table{w: w, color: color, begin: time.Now()}
}

// Add prints a result.
func (t *Table) Add(r Result) {
	if t.passed+t.failed+t.skipped == 0 {
		t.row(bold, [3][]string{{"check"}, {"what it shows"}, {"the rule that decided (packets)"}}, "", "time")
		fmt.Fprintln(t.w, strings.Repeat("─", 100))
	}
	if r.Group != t.group {
		t.group = r.Group
		fmt.Fprintln(t.w, t.paint(bold, r.Group))
	}
	rules := strings.Join(r.Rules, "; ")
	shows := r.Shows
	if len(r.Notes) > 0 {
		shows += " (" + strings.Join(r.Notes, ", ") + ")"
	}
	color, result := green, "pass"
	switch {
	case r.Pass:
		t.passed++
	case r.Skipped != "":
		color, result = plain, "skip"
		t.skipped++
	default:
		color, result = red, "FAIL"
		t.failed++
	}
	cells := [3][]string{wrapText(r.Name, columns[0]-2), wrapText(shows, columns[1]), wrapText(rules, columns[2])}
	for i := range cells[0] {
		cells[0][i] = "  " + cells[0][i]
	}
	t.row(color, cells, result, fmt.Sprintf("%.1f s", r.Duration.Seconds()))
	for _, line := range wrapText(r.Error+r.Skipped, 94) {
		fmt.Fprintln(t.w, t.paint(color, "    "+line))
	}
}

// End prints the sum and returns whether everything passed.
func (t *Table) End() bool {
	fmt.Fprintln(t.w, strings.Repeat("─", 100))
	color, text := green, fmt.Sprintf("%d checks passed", t.passed)
	if t.skipped > 0 {
		text += fmt.Sprintf(", %d not run", t.skipped)
	}
	if t.failed > 0 {
		color, text = red, fmt.Sprintf("%d of %d checks failed", t.failed, t.failed+t.passed)
	}
	fmt.Fprintf(t.w, "%s in %.0f s\n", t.paint(color, text), time.Since(t.begin).Seconds())
	return t.failed == 0
}

func (t *Table) row(color string, cells [3][]string, result, took string) {
	lines := max(len(cells[0]), len(cells[1]), len(cells[2]), 1)
	for i := range lines {
		var b strings.Builder
		for c, width := range columns {
			text := ""
			if i < len(cells[c]) {
				text = cells[c][i]
			}
			b.WriteString(text)
			b.WriteString(strings.Repeat(" ", width-utf8.RuneCountInString(text)+1))
		}
		if i == 0 {
			b.WriteString(t.paint(color, fmt.Sprintf("%-4s", result)))
			fmt.Fprintf(&b, " %6s", took)
		}
		fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
	}
}

func (t *Table) paint(color, text string) string {
	if !t.color {
		return text
	}
	return color + text + plain
}

// wrapText breaks text into lines of at most width characters, between words
// where it can. Line breaks in the text stay.
func wrapText(text string, width int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			for utf8.RuneCountInString(word) > width {
				if line != "" {
					lines = append(lines, line)
					line = ""
				}
				runes := []rune(word)
				lines, word = append(lines, string(runes[:width])), string(runes[width:])
			}
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				lines = append(lines, line)
				line = word
			}
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
