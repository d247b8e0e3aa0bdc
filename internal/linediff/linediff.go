// SPDX-License-Identifier: GPL-2.0-only

// Package linediff compares texts line by line, for people.
package linediff

import (
	"fmt"
	"strings"
)

const (
	// context is how many lines around those that differ are shown.
	context = 3
	// longest is how many lines that differ are compared with each other: the cost is
	// its square.
	longest = 2000
)

// Of is what becomes of one text on the way to another: the lines that go with
// "- " before them, those that come with "+ ", and some around them with "  ". It
// is empty if the texts do not differ.
func Of(from, to string) string {
	a, b := lines(from), lines(to)
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	if head == len(a) && head == len(b) {
		return ""
	}
	var edits []edit
	for _, l := range a[:head] {
		edits = append(edits, edit{' ', l})
	}
	edits = append(edits, script(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, l := range a[len(a)-tail:] {
		edits = append(edits, edit{' ', l})
	}
	return write(edits)
}

// edit is a line and what becomes of it: '-', '+' or ' '.
type edit struct {
	what rune
	line string
}

// script finds a longest common subsequence. Texts that have too many lines for
// that go and come as a whole.
func script(a, b []string) []edit {
	var out []edit
	if len(a) > longest || len(b) > longest {
		for _, l := range a {
			out = append(out, edit{'-', l})
		}
		for _, l := range b {
			out = append(out, edit{'+', l})
		}
		return out
	}
	// common[i][j] is how many lines a[i:] and b[j:] can share.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// write leaves out what is far from any change, and says how much.
func write(edits []edit) string {
	near := make([]bool, len(edits))
	for i, e := range edits {
		if e.what == ' ' {
			continue
		}
		for j := max(0, i-context); j < min(len(edits), i+context+1); j++ {
			near[j] = true
		}
	}
	var out strings.Builder
	for i := 0; i < len(edits); {
		if near[i] {
			fmt.Fprintf(&out, "%c %s\n", edits[i].what, edits[i].line)
			i++
			continue
		}
		begin := i
		for i < len(edits) && !near[i] {
			i++
		}
		fmt.Fprintf(&out, "  ... %d unchanged\n", i-begin)
	}
	return out.String()
}

func lines(s string) []string {
	s = strings.TrimSuffix(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
