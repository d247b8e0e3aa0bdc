// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// NamedReport is a report and what to call it: its file.
type NamedReport struct {
	Name   string
	Report *Report
}

// section is a run, for the page.
type section struct {
	Name        string
	Environment [][2]string
	Charts      []template.HTML
	Summaries   []Summary
	Groups      []group
	Figures     []Figure
}

// group is the series of one unit, for the page.
type group struct {
	Unit, Better string
	Rows         []groupRow
}

type groupRow struct {
	Name, Median, Spread string
	Rounds               int
	Doubts               string
}

// WriteHTML writes one file for a browser, which needs no other.
func WriteHTML(w io.Writer, reports []NamedReport) error {
	var sections []section
	for _, r := range reports {
		sections = append(sections, newSection(r))
	}
	return page.Execute(w, struct {
		Style    template.CSS
		Sections []section
	}{template.CSS(svgStyle), sections})
}

func newSection(r NamedReport) section {
	s := section{Name: r.Name, Environment: r.Report.Environment.rows(), Figures: r.Report.Figures}
	for _, d := range r.Report.drawings() {
		// All that is text in it is escaped.
		s.Charts = append(s.Charts, template.HTML(d.svg(false)))
	}
	s.Summaries = r.Report.Summarize()
	for _, all := range byUnit(r.Report.series("")) {
		g := group{Unit: all[0].unit, Better: "less is better"}
		if all[0].higher {
			g.Better = "more is better"
		}
		for _, one := range all {
			g.Rows = append(g.Rows, groupRow{
				Name: one.name, Median: number(median(one.values)), Spread: fmt.Sprintf("%.1f %%", 100*spread(one.values)),
				Rounds: len(one.values), Doubts: strings.Join(one.doubts, ", "),
			})
		}
		s.Groups = append(s.Groups, g)
	}
	return s
}

// rows are the environment, for people.
func (e Environment) rows() [][2]string {
	rows := [][2]string{
		{"started", e.Started}, {"command", e.Command}, {"commit", e.Commit}, {"kernel", e.Kernel},
		{"CPU", fmt.Sprintf("%d × %s, %s", e.CPUs, e.CPU, e.Arch)}, {"SMT", e.SMT}, {"isolated CPUs", e.Isolated},
		{"governor", e.Governor}, {"clock source", e.Clock}, {"load before", e.Load},
		{"BPF JIT", e.JIT}, {"BPF JIT hardening", e.Harden},
		{"repetitions", fmt.Sprintf("%d × %s, after %s", e.Options.Repetitions, e.Options.Duration, e.Options.Warmup)},
	}
	for _, m := range []struct {
		name   string
		values map[string]string
	}{{"mitigation", e.Mitigations}, {"offloads", e.Offloads}, {"version", e.Tools}} {
		var keys []string
		for k := range m.values {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			rows = append(rows, [2]string{m.name + ": " + k, m.values[k]})
		}
	}
	return slices.DeleteFunc(rows, func(r [2]string) bool { return r[1] == "" })
}

// byUnit groups series, in the order of each unit's first.
func byUnit(all []series) [][]series {
	var out [][]series
	for _, s := range all {
		i := slices.IndexFunc(out, func(g []series) bool { return g[0].unit == s.unit })
		switch {
		case len(s.values) == 0:
		case i < 0:
			out = append(out, []series{s})
		default:
			out[i] = append(out[i], s)
		}
	}
	return out
}

// drawing is a chart. Standalone, it brings its style along.
type drawing interface{ svg(standalone bool) string }

// drawings are all charts of a report.
func (r *Report) drawings() (out []drawing) {
	for _, c := range r.charts() {
		out = append(out, c)
	}
	for _, c := range r.distributions() {
		out = append(out, c)
	}
	for _, t := range r.timelines() {
		out = append(out, t)
	}
	return out
}

// charts of a report: each unit's values, the time that a packet takes, and the
// ratios to the references.
func (r *Report) charts() []chart {
	var out []chart
	for _, g := range byUnit(r.series("")) {
		out = append(out, valueChart(g))
		if g[0].unit != unitRate {
			continue
		}
		for i := range g {
			g[i] = g[i].time()
		}
		out = append(out, valueChart(g))
	}
	for _, to := range references {
		if c := r.ratioChart(to); len(c.rows) > 0 {
			out = append(out, c)
		}
	}
	if c := r.busyChart(); len(c.rows) > 0 {
		out = append(out, c)
	}
	return out
}

// busyChart is how much of the packet core's time each tool took.
func (r *Report) busyChart() chart {
	c := chart{title: "part of the packet core's time, median and each repetition", bars: true}
	var tools []string
	busy := map[string]map[string][]float64{} // by tool and device
	for _, o := range r.Outcomes {
		if o.Busy == 0 {
			continue // not told
		}
		if busy[o.Tool] == nil {
			tools, busy[o.Tool] = append(tools, o.Tool), map[string][]float64{}
		}
		busy[o.Tool][o.Device] = append(busy[o.Tool][o.Device], o.Busy)
	}
	for _, tool := range tools {
		for _, device := range r.toolDevices() {
			if v := busy[tool][device]; len(v) > 0 {
				c.rows = append(c.rows, chartRow{label: device + ": " + tool, value: fmt.Sprintf("%.0f %%", 100*median(v)), mid: median(v), dots: v})
			}
		}
	}
	return c
}

func valueChart(all []series) chart {
	c := chart{title: all[0].unit + ", median and each repetition; grey: inconclusive", bars: true}
	for _, s := range all {
		if len(s.values) > 0 {
			m := median(s.values)
			c.rows = append(c.rows, chartRow{label: s.name, value: number(m), mid: m, dots: s.values, doubtful: len(s.doubts) > 0})
		}
	}
	return c
}

// ratioChart compares devices with a reference that has been measured with the
// same: devices have what that is behind their names.
func (r *Report) ratioChart(reference string) chart {
	c := chart{title: "times " + reference + ", with 95 % intervals; grey: inconclusive", mark: 1}
	for _, s := range r.Summarize() {
		device, label, _ := strings.Cut(s.Device, " ")
		to := strings.TrimSpace(reference + " " + label)
		if device == reference {
			continue
		}
		i := ratio(to, r.rates(s.Device), r.rates(to))
		if i.Mid > 0 {
			c.rows = append(c.rows, chartRow{
				label: s.Device, value: i.String(),
				mid: i.Mid, low: i.Low, high: i.High, doubtful: !s.Conclusive(),
			})
		}
	}
	return c
}

// time is what a packet takes, of a series of rates.
func (s series) time() series {
	t := s
	t.unit, t.higher, t.values = "ns/packet", false, nil
	for _, v := range s.values {
		if v > 0 {
			t.values = append(t.values, 1e9/v)
		}
	}
	return t
}
