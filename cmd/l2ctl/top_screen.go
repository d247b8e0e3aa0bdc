// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/randomizedcoder/l2d/internal/tui"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

// screen is what l2ctl top shows, and what was typed.
type screen struct {
	view     observe.View
	err      error // the daemon does not answer
	interval time.Duration

	tab    int // 0: the overview; others: tables from 1 on
	states [9]tabState
	back   []int // tabs that Escape goes back to
	typing bool  // a filter
	help   bool
	paused bool
	quit   bool
	rows   int // that fitted the last time
}

// tabState is how a table is looked at.
type tabState struct {
	sort    int // the column from 1 on; 0: as it comes
	reverse bool
	filter  string
	only    string // the first cell of all lines; empty: any
	cursor  int
}

var helpText = []string{
	"1-8, Tab     a table; 0 the overview",
	"arrows, PgUp, PgDn, Home, End",
	"             move the cursor",
	"Enter        go into it: an interface's queues, a host's flows",
	"Escape       back; takes the filter away",
	"s, r         sort by the next column; reverse",
	"/            show only lines with a text",
	"space        stop the time, and let it go on",
	"q            quit",
}

// key does what a key asks for.
func (s *screen) key(k string) {
	st := &s.states[s.tab]
	switch {
	case s.help:
		s.help = false
	case s.typing:
		s.filterKey(st, k)
	case len(k) == 1 && k >= "0" && k <= "8":
		s.tab, s.back = int(k[0]-'0'), nil
	default:
		s.command(st, k)
	}
}

// filterKey edits a filter.
func (s *screen) filterKey(st *tabState, k string) {
	switch k {
	case tui.Enter:
		s.typing = false
	case tui.Escape:
		s.typing, st.filter = false, ""
	case tui.Backspace:
		_, size := utf8.DecodeLastRuneInString(st.filter)
		st.filter = st.filter[:len(st.filter)-size]
	default:
		if utf8.RuneCountInString(k) == 1 && len(st.filter) < 64 {
			st.filter += k
		}
	}
	st.cursor = 0
}

func (s *screen) command(st *tabState, k string) {
	page := max(1, s.rows-1)
	switch k {
	case "q":
		s.quit = true
	case "?", "h":
		s.help = true
	case " ":
		s.paused = !s.paused
	case tui.Tab, tui.Right:
		s.tab, s.back = (s.tab+1)%len(s.states), nil
	case tui.BackTab, tui.Left:
		s.tab, s.back = (s.tab+len(s.states)-1)%len(s.states), nil
	case tui.Up, "k":
		st.cursor--
	case tui.Down, "j":
		st.cursor++
	case tui.PageUp:
		st.cursor -= page
	case tui.PageDown:
		st.cursor += page
	case tui.Home:
		st.cursor = 0
	case tui.End:
		st.cursor = 1 << 20
	case tui.Enter:
		s.enter(st)
	case tui.Escape:
		s.escape(st)
	}
	if s.tab == 0 {
		return
	}
	switch k {
	case "s":
		st.sort, st.cursor = (st.sort+1)%(len(tables(&s.view)[s.tab-1].columns)+1), 0
	case "r":
		st.reverse = !st.reverse
	case "/":
		s.typing, st.filter = true, ""
	}
}

// enter goes from a line to what it consists of.
func (s *screen) enter(st *tabState) {
	if s.tab == 0 {
		s.tab = 1
		return
	}
	t := tables(&s.view)[s.tab-1]
	lines := t.lines(st)
	if t.into == 0 || st.cursor >= len(lines) || st.cursor < 0 {
		return
	}
	s.back = append(s.back, s.tab)
	s.tab = t.into
	s.states[s.tab] = tabState{only: lines[st.cursor].cells[0].text}
}

func (s *screen) escape(st *tabState) {
	switch {
	case len(s.back) > 0:
		*st = tabState{}
		s.tab, s.back = s.back[len(s.back)-1], s.back[:len(s.back)-1]
	case st.filter != "" || st.only != "":
		*st = tabState{}
	default:
		s.tab = 0
	}
}

// draw makes the lines of a terminal of a size.
func (s *screen) draw(columns, rows int) []tui.Line {
	var lines []tui.Line
	switch {
	case s.help:
		for _, t := range helpText {
			lines = append(lines, tui.Text(tui.Plain, " %s", t))
		}
		lines = append(lines, nil, tui.Text(tui.Dim, " any key goes back"))
	case s.tab == 0:
		lines = s.overview(columns, rows-1)
	default:
		lines = append(s.title(), s.table(columns, rows-3)...)
	}
	lines = lines[:min(len(lines), rows-1)]
	for len(lines) < rows-1 {
		lines = append(lines, nil)
	}
	return append(lines, s.footer(columns))
}

// title are the first lines of all tabs: one, and one more if something is wrong.
func (s *screen) title() []tui.Line {
	v := &s.view
	l := tui.Line{{Text: "l2d " + v.Version, Style: tui.Bold}, {Text: fmt.Sprintf(" on %s  %s  ", v.Host, v.Time.Local().Format(time.TimeOnly))}}
	switch {
	case s.err != nil:
		l = append(l, tui.Span{Text: "does not answer: " + s.err.Error(), Style: tui.Bad})
	case !v.Attached:
		l = append(l, tui.Span{Text: "DETACHED: nothing is enforced", Style: tui.Bad})
	case s.paused:
		l = append(l, tui.Span{Text: "stopped", Style: tui.Warn})
	case v.Interval == 0:
		l = append(l, tui.Span{Text: "rates in a moment", Style: tui.Dim})
	}
	lines := []tui.Line{l}
	if len(v.Problems) > 0 {
		text := v.Problems[0]
		if n := len(v.Problems) - 1; n > 0 {
			text = fmt.Sprintf("%s (and %d more: l2ctl status)", text, n)
		}
		lines = append(lines, tui.Text(tui.Bad, "! %s", text))
	}
	return lines
}

func (s *screen) footer(columns int) tui.Line {
	if s.typing {
		return tui.Line{{Text: "/" + s.states[s.tab].filter}, {Text: " ", Style: tui.Reverse}}
	}
	names := []string{"0 all"}
	for i, t := range tables(&s.view) {
		names = append(names, fmt.Sprintf("%d %s", i+1, t.short))
	}
	var l tui.Line
	used := 0
	for i, n := range names {
		style := tui.Plain
		if i == s.tab {
			style = tui.Reverse
		}
		l = append(l, tui.Span{Text: n, Style: style}, tui.Span{Text: " "})
		used += len(n) + 1
	}
	if used+13 <= columns {
		l = append(l, tui.Span{Text: "? help q quit", Style: tui.Dim})
	}
	return l
}

// summary is the state of the flow tables and the sensors.
func (s *screen) summary() tui.Line {
	f := &s.view.Flows
	drops := 0.0
	for _, d := range s.view.Drops {
		drops += d.Rate
	}
	fill := float64(f.Confirmed) / float64(max(1, f.MaxConfirmed))
	style := tui.Plain
	if fill > 0.8 {
		style = tui.Bad
	}
	l := tui.Line{
		{Text: fmt.Sprintf("flows %d (%.0f%%)", f.Confirmed, 100*fill), Style: style},
		{Text: fmt.Sprintf(" half open %d  new %s/s  NAT ports %d  drops %s/s", f.HalfOpen, human(f.BegunRate), f.Mappings, human(drops))},
	}
	if t := s.view.Temperatures; len(t) > 0 {
		hot := slices.MaxFunc(t, func(a, b observe.Temperature) int { return int(a.Celsius - b.Celsius) })
		l = append(l, tui.Span{Text: fmt.Sprintf("  %.0f°C %s", hot.Celsius, hot.Name)})
	}
	return l
}

// overview has something of each table, as the lines allow.
func (s *screen) overview(columns, rows int) []tui.Line {
	lines := append(s.title(), s.summary())
	all := tables(&s.view)
	left := rows - len(lines)
	shown := make([]int, len(all)) // lines of each, without the header
	for i, t := range all {
		if len(t.rows) > 0 && left >= 2 {
			shown[i] = 1
			left -= 2
		}
	}
	for more := true; more && left > 0; {
		more = false
		for i, t := range all {
			if shown[i] > 0 && shown[i] < len(t.rows) && left > 0 {
				shown[i]++
				left--
				more = true
			}
		}
	}
	for i, t := range all {
		if shown[i] == 0 {
			continue
		}
		widths := t.widths(columns, t.rows)
		lines = append(lines, t.header(widths, 0, false))
		for _, r := range t.rows[:shown[i]] {
			lines = append(lines, r.line(widths, t.columns, false))
		}
	}
	return lines
}

// table is one tab.
func (s *screen) table(columns, rows int) []tui.Line {
	t := tables(&s.view)[s.tab-1]
	st := &s.states[s.tab]
	list := t.lines(st)
	st.cursor = max(0, min(st.cursor, len(list)-1))
	s.rows = max(1, rows-1)
	title := fmt.Sprintf("%s: %d", t.name, len(list))
	if st.only != "" {
		title += " of " + st.only
	}
	if st.filter != "" {
		title += fmt.Sprintf(" of %d, with %q", len(t.rows), st.filter)
	}
	widths := t.widths(columns, t.rows)
	out := []tui.Line{tui.Text(tui.Bold, "%s", title), t.header(widths, st.sort, st.reverse)}
	first := max(0, st.cursor-s.rows+1)
	for i := first; i < min(len(list), first+s.rows); i++ {
		out = append(out, list[i].line(widths, t.columns, i == st.cursor))
	}
	if len(list) == 0 {
		out = append(out, tui.Text(tui.Dim, "%s", strings.TrimSpace("nothing "+t.none)))
	}
	return out
}
