// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of a chart, in pixels.
const (
	chartWidth = 820
	labelWidth = 240
	valueWidth = 160
	rowHeight  = 26
	axisHeight = 40
	maxLabel   = 34 // characters
)

// chart has a row for each device, and an axis of values from left to right.
type chart struct {
	title string // with the unit
	rows  []chartRow
	mark  float64 // a line across all rows; 0: none
	bars  bool    // from zero to the middle, else a dot there
}

// chartRow is a device's middle, interval and single values.
type chartRow struct {
	label, value   string
	mid, low, high float64 // low and high are 0 where there is no interval
	dots           []float64
	doubtful       bool
}

// svgStyle follows the reader's choice of light or dark, in a page and by itself. Colours are
// said twice instead of once as custom properties, which not all that draws SVG knows.
const svgStyle = `
svg.chart{font:13px system-ui,sans-serif}
svg.chart text{fill:#1c2024}svg.chart .dim{fill:#80868c}svg.chart .grid{stroke:#dfe3e6}svg.chart .mark{stroke:#80868c;stroke-dasharray:4 3}
svg.chart .bar{fill:#4a83c5}svg.chart .doubt{fill:#b9bec4}svg.chart .dot{fill:#16324f;fill-opacity:.7}svg.chart .range{stroke:#16324f;stroke-width:2}
@media(prefers-color-scheme:dark){
svg.chart text{fill:#e6e8ea}svg.chart .dim{fill:#8d949b}svg.chart .grid{stroke:#33383d}svg.chart .mark{stroke:#8d949b}
svg.chart .bar{fill:#4f8fd8}svg.chart .doubt{fill:#5d646b}svg.chart .dot{fill:#d5e6f8}svg.chart .range{stroke:#d5e6f8}}
`

// svg draws the chart. Standalone, it brings its style along.
func (c chart) svg(standalone bool) string {
	height := 24 + rowHeight*len(c.rows) + axisHeight
	var b strings.Builder
	beginSVG(&b, c.title, height, standalone)
	scale := c.scale()
	bottom := height - axisHeight
	scale.grid(&b, bottom)
	for i, r := range c.rows {
		c.row(&b, r, scale, 24+rowHeight*i)
	}
	if c.mark > 0 {
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" y1="24" x2="%.1[1]f" y2="%d"/>`, scale.x(c.mark), bottom)
	}
	b.WriteString("</svg>")
	return b.String()
}

// beginSVG writes what a chart begins with. Standalone, it brings its style along.
func beginSVG(b *strings.Builder, title string, height int, standalone bool) {
	fmt.Fprintf(b, `<svg class="chart" xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`, chartWidth, height)
	if standalone {
		fmt.Fprintf(b, "<style>%s</style>", svgStyle)
	}
	fmt.Fprintf(b, `<title>%s</title><text x="0" y="15">%[1]s</text>`, html.EscapeString(title))
}

func (c chart) row(b *strings.Builder, r chartRow, scale scale, y int) {
	middle := y + rowHeight/2
	fmt.Fprintf(b, `<g><title>%s</title>`, html.EscapeString(r.label))
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, middle+4, html.EscapeString(cut(r.label)))
	class := "bar"
	if r.doubtful {
		class = "doubt"
	}
	x := scale.x(r.mid)
	if c.bars {
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, class, labelWidth, y+5, x-labelWidth, rowHeight-10)
	}
	if r.high > 0 {
		fmt.Fprintf(b, `<line class="range" x1="%.1f" y1="%d" x2="%.1f" y2="%[2]d"/>`, scale.x(r.low), middle, scale.x(r.high))
	}
	if !c.bars {
		fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%d" r="5"/>`, class, x, middle)
	}
	for _, v := range r.dots {
		fmt.Fprintf(b, `<circle class="dot" cx="%.1f" cy="%d" r="2"/>`, scale.x(v), middle)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text></g>`, chartWidth-valueWidth+8, middle+4, html.EscapeString(r.value))
}

// scale maps values from zero on to pixels.
type scale struct{ max float64 }

func (c chart) scale() scale {
	s := scale{max: c.mark}
	for _, r := range c.rows {
		s.max = max(s.max, r.mid, r.high)
		for _, v := range r.dots {
			s.max = max(s.max, v)
		}
	}
	if !(s.max > 0) || math.IsInf(s.max, 0) {
		s.max = 1
	}
	return s
}

func (s scale) x(v float64) float64 {
	if !(v > 0) { // NaN included
		return labelWidth
	}
	return labelWidth + min(v/s.max, 1)*(chartWidth-labelWidth-valueWidth)
}

// grid draws the axis of values below a chart, and its lines.
func (s scale) grid(b *strings.Builder, bottom int) {
	for _, v := range ticks(s.max) {
		x := s.x(v)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="24" x2="%.1[1]f" y2="%d"/>`, x, bottom)
		fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, bottom+16, number(v))
	}
}

// ticks are round numbers from zero to the greatest, three to eight of them.
func ticks(greatest float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(greatest)))
	for _, part := range []float64{0.1, 0.2, 0.5, 1} {
		if greatest/(step*part) <= 7 {
			step *= part
			break
		}
	}
	var out []float64
	for i := range 8 {
		if v := float64(i) * step; v <= greatest*(1+1e-9) {
			out = append(out, v)
		}
	}
	return out
}

// number is a value for people, with the prefix of a power of a thousand.
func number(v float64) string {
	for _, p := range []struct {
		factor float64
		prefix string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= p.factor {
			return fmt.Sprintf("%.3g %s", v/p.factor, p.prefix)
		}
	}
	return fmt.Sprintf("%.3g", v)
}

// cut shortens a label to its place.
func cut(s string) string {
	if r := []rune(s); len(r) > maxLabel {
		return string(r[:maxLabel-1]) + "…"
	}
	return s
}
