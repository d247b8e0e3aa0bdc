// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// How many quantiles are kept of a distribution: the hundredths, and both ends.
const quantiles = 101

// distribution is the quantiles of sorted values, from the least to the greatest.
func distribution(sorted []float64) []float64 {
	out := make([]float64, quantiles)
	for i := range out {
		out[i] = quantile(sorted, float64(i)/(quantiles-1))
	}
	return out
}

// curves is a chart of distributions: which part of the values is at most what.
type curves struct {
	title string
	lines []curve
}

// curve is one device's: the median of each quantile over its rounds.
type curve struct {
	label  string
	values []float64
}

const (
	curveHeight = 240
	// The slowest hundredth would squeeze all others together.
	curveTop = quantiles - 2
)

// curveColours tell lines apart, on light and on dark.
var curveColours = []string{"#4a83c5", "#d9822b", "#3d9970", "#b0508f", "#888"}

// distributions are the charts of all tools that measure times of single probes.
func (r *Report) distributions() (out []curves) {
	for _, f := range r.toolFigures() {
		c := curves{title: fmt.Sprintf("%s: part of the probes that took at most so many %s", f.tool, f.unit)}
		for _, device := range r.toolDevices() {
			if v := r.quantilesOf(device, f); v != nil {
				c.lines = append(c.lines, curve{device, v})
			}
		}
		if len(c.lines) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// quantilesOf is the middle of a device's rounds, nil if a figure has none.
func (r *Report) quantilesOf(device string, f toolFigure) []float64 {
	var rounds [][]float64
	for _, o := range r.Outcomes {
		for _, m := range o.Measures {
			if o.Device == device && o.Tool == f.tool && m.Name == f.name && len(m.Quantiles) == quantiles {
				rounds = append(rounds, m.Quantiles)
			}
		}
	}
	if len(rounds) == 0 {
		return nil
	}
	out := make([]float64, quantiles)
	for i := range out {
		at := make([]float64, len(rounds))
		for n := range rounds {
			at[n] = rounds[n][i]
		}
		out[i] = median(at)
	}
	return out
}

// svg draws the chart.
func (c curves) svg(standalone bool) string {
	var greatest float64
	for _, l := range c.lines {
		greatest = max(greatest, l.values[curveTop])
	}
	s := scale{max: greatest}
	if greatest <= 0 {
		s.max = 1
	}
	height := 24 + curveHeight + axisHeight
	var b strings.Builder
	beginSVG(&b, c.title, height, standalone)
	bottom := 24 + curveHeight
	s.grid(&b, bottom)
	for i := range 5 {
		drawLevel(&b, float64(bottom-curveHeight*i/4), fmt.Sprintf("%d %%", 25*i))
	}
	for i, l := range c.lines {
		var points []string
		for n, v := range l.values[:curveTop+1] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", s.x(v), float64(bottom)-float64(curveHeight*n)/(quantiles-1)))
		}
		drawCurve(&b, i, l.label, points)
	}
	b.WriteString("</svg>")
	return b.String()
}

// drawLevel draws what is at a height of a chart with lines, across it.
func drawLevel(b *strings.Builder, y float64, label string) {
	fmt.Fprintf(b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1[2]f"/>`, labelWidth, y, chartWidth-valueWidth)
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%.1f" text-anchor="end">%s</text>`, labelWidth-8, y+4, label)
}

// drawCurve draws the line with a number through its points, and says beside the chart whose it is.
func drawCurve(b *strings.Builder, number int, label string, points []string) {
	colour := curveColours[number%len(curveColours)]
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`, colour, strings.Join(points, " "))
	fmt.Fprintf(b, `<text x="%d" y="%d" style="fill:%s">%s</text>`, chartWidth-valueWidth+8, 40+18*number, colour, html.EscapeString(cut(label)))
}

// checkQuantiles refuses what is no distribution.
func (m Measure) checkQuantiles() error {
	if m.Quantiles == nil {
		return nil
	}
	if len(m.Quantiles) != quantiles || !slices.IsSorted(m.Quantiles) || m.Quantiles[0] < 0 {
		return fmt.Errorf("%s: its quantiles are no distribution", m.Name)
	}
	return nil
}
