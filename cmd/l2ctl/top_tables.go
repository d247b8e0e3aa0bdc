// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/randomizedcoder/l2d/internal/tui"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

// topTable is a table of l2ctl top.
type topTable struct {
	name, short string
	columns     []column
	rows        []topRow
	none        string // what there is nothing of
	// into is the tab that Enter goes to, with the first cell as the filter; 0: none.
	into int
}

// column of a table. Numbers are to the right.
type column struct {
	name string
	text bool
}

type topRow struct {
	cells []cell
	style tui.Style
}

// cell is what is shown, and what it is sorted by if it is a number.
type cell struct {
	text  string
	value float64
}

func text(s string) cell         { return cell{text: s} }
func count(n float64) cell       { return cell{human(n), n} }
func percent(share float64) cell { return cell{fmt.Sprintf("%.0f%%", 100*share), share} }

// human is a number in at most five characters.
func human(n float64) string {
	for _, unit := range []string{"", "k", "M", "G", "T"} {
		switch {
		case n < 9.95 && n != float64(int(n)):
			return fmt.Sprintf("%.1f%s", n, unit)
		case n < 999.5:
			return fmt.Sprintf("%.0f%s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.0fP", n)
}

// tables are those of a view, in the order of their tabs.
func tables(v *observe.View) []topTable {
	return []topTable{interfaceTable(v), cpuTable(v), dropTable(v), hostTable(v), talkerTable(v), queueTable(v), stationTable(v), stateTable(v)}
}

func interfaceTable(v *observe.View) topTable {
	t := topTable{name: "Interfaces", short: "links", into: 6, columns: []column{{"INTERFACE", true}, {"STATE", true}, {"IN bit/s", false}, {"OUT bit/s", false}, {"IN pkt/s", false}, {"OUT pkt/s", false}, {"LOST/s", false}}}
	for _, i := range v.Interfaces {
		state, style := "up", tui.Plain
		switch {
		case !i.Up:
			state, style = "down", tui.Dim
		case i.XDP:
			state = "up, XDP"
		}
		if i.Lost > 0 {
			style = tui.Warn
		}
		t.rows = append(t.rows, topRow{[]cell{text(i.Name), text(state), count(i.RxBits), count(i.TxBits), count(i.RxPackets), count(i.TxPackets), count(i.Lost)}, style})
	}
	return t
}

func cpuTable(v *observe.View) topTable {
	t := topTable{name: "CPUs, packets a second", short: "CPU", columns: []column{{"CPU", false}, {"BUSY", false}, {"SOFTIRQ", false}, {"BY XDP", false}, {"BY TC", false}, {"ROUTER", false}, {"DROPPED", false}}}
	for _, c := range v.CPUs {
		style := tui.Plain
		if c.Busy > 0.9 {
			style = tui.Warn
		}
		t.rows = append(t.rows, topRow{[]cell{{fmt.Sprint(c.CPU), float64(c.CPU)}, percent(c.Busy), percent(c.Softirq), count(c.XDP), count(c.TC), count(c.Other), count(c.Dropped)}, style})
	}
	return t
}

func dropTable(v *observe.View) topTable {
	t := topTable{name: "Drops by reason", short: "drops", none: "was dropped", columns: []column{{"DROPPED BECAUSE", true}, {"PACKETS/s", false}, {"EVER", false}}}
	for _, d := range v.Drops {
		style := tui.Plain
		if d.Reason == "internal" && d.Rate > 0 {
			style = tui.Bad
		}
		t.rows = append(t.rows, topRow{[]cell{text(strings.ReplaceAll(d.Reason, "_", " ")), count(d.Rate), count(float64(d.Total))}, style})
	}
	return t
}

func hostTable(v *observe.View) topTable {
	t := topTable{name: "Hosts", short: "hosts", into: 5, none: "has flows", columns: []column{{"HOST", true}, {"NAME", true}, {"FLOWS", false}, {"UP bit/s", false}, {"DOWN bit/s", false}}}
	for _, h := range v.Hosts {
		t.rows = append(t.rows, topRow{[]cell{text(h.Address.String()), text(h.Name), {fmt.Sprint(h.Flows), float64(h.Flows)}, count(h.Up), count(h.Down)}, tui.Plain})
	}
	return t
}

func talkerTable(v *observe.View) topTable {
	t := topTable{name: "Flows that move most", short: "flows", none: "has flows", columns: []column{{"HOST", true}, {"PROTO", true}, {"FROM", true}, {"TO", true}, {"FORTH bit/s", false}, {"BACK bit/s", false}}}
	for _, k := range v.Talkers {
		t.rows = append(t.rows, topRow{[]cell{text(k.Host.String()), text(k.Protocol), text(k.Src.String()), text(k.Dst.String()), count(k.Forth), count(k.Back)}, tui.Plain})
	}
	return t
}

func queueTable(v *observe.View) topTable {
	t := topTable{name: "Queues", short: "queue", none: "queues", columns: []column{{"INTERFACE", true}, {"QDISC", true}, {"PARENT", true}, {"DELAY", false}, {"MARKS/s", false}, {"DROPS/s", false}, {"PACKETS/s", false}, {"BYTES WAIT", false}}}
	for _, q := range v.Queues {
		delay := cell{"-", -1}
		if q.Delay >= 0 {
			delay = cell{time.Duration(q.Delay * float64(time.Second)).Round(10 * time.Microsecond).String(), q.Delay}
		}
		style := tui.Plain
		if q.Drops > 0 {
			style = tui.Warn
		}
		t.rows = append(t.rows, topRow{[]cell{text(q.Interface), text(q.Kind), text(q.Parent), delay, count(q.Marks), count(q.Drops), count(q.Packets), count(float64(q.Backlog))}, style})
	}
	return t
}

func stationTable(v *observe.View) topTable {
	t := topTable{name: "Stations", short: "WiFi", none: "is associated", columns: []column{{"STATION", true}, {"NAME", true}, {"RADIO", true}, {"SIGNAL", false}, {"AIRTIME", false}, {"UP bit/s", false}, {"DOWN bit/s", false}, {"RATE", false}, {"RETRY/s", false}}}
	for _, s := range v.Stations {
		signal, style := cell{"-", -1000}, tui.Plain
		if s.Signal != 0 {
			signal = cell{fmt.Sprintf("%d dBm", s.Signal), float64(s.Signal)}
		}
		if s.Signal < weakSignal {
			style = tui.Warn
		}
		t.rows = append(t.rows, topRow{[]cell{text(s.MAC), text(s.Name), text(s.Radio), signal, percent(s.Airtime), count(s.Up), count(s.Down), count(float64(s.SendRate)), count(s.Retries)}, style})
	}
	return t
}

// weakSignal is below what most stations need for more than the slowest rates, in dBm.
const weakSignal = -80

// stateTable has services, radios and sensors.
func stateTable(v *observe.View) topTable {
	t := topTable{name: "Services, radios and temperatures", short: "state", none: "to show", columns: []column{{"SERVICE OR SENSOR", true}, {"STATE", true}, {"", true}}}
	for _, s := range v.Services {
		t.rows = append(t.rows, topRow{[]cell{text(s.Name), text(s.State), text(s.Text)}, tui.Plain})
	}
	for _, r := range v.Radios {
		busy := cell{"on air", 0}
		if r.Busy >= 0 {
			busy = cell{percent(r.Busy).text + " busy", r.Busy}
		}
		t.rows = append(t.rows, topRow{[]cell{text(r.Interface), busy, text(fmt.Sprintf("channel %d, %d stations", r.Channel, r.Stations))}, tui.Plain})
	}
	for _, s := range v.Temperatures {
		style := tui.Plain
		if s.Celsius >= 90 {
			style = tui.Bad
		}
		t.rows = append(t.rows, topRow{[]cell{text(s.Name), {fmt.Sprintf("%.1f °C", s.Celsius), s.Celsius}, text("")}, style})
	}
	return t
}

// lines are the rows that a filter lets through, sorted.
func (t *topTable) lines(st *tabState) []topRow {
	var out []topRow
	for _, r := range t.rows {
		if st.only != "" && r.cells[0].text != st.only {
			continue
		}
		if st.filter == "" || slices.ContainsFunc(r.cells, func(c cell) bool { return strings.Contains(strings.ToLower(c.text), strings.ToLower(st.filter)) }) {
			out = append(out, r)
		}
	}
	if n := st.sort - 1; n >= 0 && n < len(t.columns) {
		slices.SortStableFunc(out, func(a, b topRow) int {
			if t.columns[n].text {
				return strings.Compare(a.cells[n].text, b.cells[n].text)
			}
			return cmp.Compare(b.cells[n].value, a.cells[n].value) // the most first
		})
	}
	if st.reverse {
		slices.Reverse(out)
	}
	return out
}

// widths are those of columns, so that they fit: the widest text columns give way.
func (t *topTable) widths(columns int, rows []topRow) []int {
	w := make([]int, len(t.columns))
	sum := len(w) - 1
	for i, c := range t.columns {
		w[i] = len(c.name) + 1 // room for the mark of the order
		for _, r := range rows {
			w[i] = max(w[i], utf8.RuneCountInString(r.cells[i].text))
		}
		sum += w[i]
	}
	for ; sum > columns; sum-- {
		widest := -1
		for i, c := range t.columns {
			if c.text && w[i] > 5 && (widest < 0 || w[i] > w[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		w[widest]--
	}
	return w
}

// header names the columns, with a mark at the one that it is sorted by.
func (t *topTable) header(widths []int, sorted int, reverse bool) tui.Line {
	var cells []string
	for i, c := range t.columns {
		name := c.name
		if i == sorted-1 {
			name += map[bool]string{false: "v", true: "^"}[reverse]
		}
		cells = append(cells, fit(name, widths[i], c.text))
	}
	return tui.Text(tui.Bold, "%s", strings.Join(cells, " "))
}

func (r *topRow) line(widths []int, columns []column, cursor bool) tui.Line {
	var cells []string
	for i, c := range r.cells {
		cells = append(cells, fit(c.text, widths[i], columns[i].text))
	}
	style := r.style
	if cursor {
		style = tui.Reverse
	}
	return tui.Text(style, "%s", strings.Join(cells, " "))
}

// fit makes a text as wide as its column.
func fit(s string, width int, left bool) string {
	runes := []rune(s)
	if len(runes) > width {
		return string(runes[:max(0, width-1)]) + "~"
	}
	pad := strings.Repeat(" ", width-len(runes))
	if left {
		return s + pad
	}
	return pad + s
}
