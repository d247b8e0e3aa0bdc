// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// timeParts is how many parts of a run keep a point each of what single probes found.
const timeParts = 50

// point is when in a run, from its beginning at 0 to its end at 1, and what was found then.
type point [2]float64

// probe is the number of a single one, which are sent at a steady pace, and what it found.
type probe struct {
	number int
	value  float64
}

// overTime is the mean of the answered probes of each part of a run that sent so many. A
// part without an answer has no point.
func overTime(answered []probe, sent int) (out []point) {
	var sum, n [timeParts]float64
	for _, p := range answered {
		part := min(p.number*timeParts/max(1, sent), timeParts-1)
		sum[part] += p.value
		n[part]++
	}
	for i := range timeParts {
		if n[i] > 0 {
			out = append(out, point{(float64(i) + 0.5) / timeParts, sum[i] / n[i]})
		}
	}
	return out
}

// timeline is a chart of what was found in the course of a run.
type timeline struct {
	title string
	lines []timelineCurve
}

// timelineCurve is one device's: the median of each part over its rounds.
type timelineCurve struct {
	label  string
	points []point
}

// timelines are the charts of all tools that tell what single probes found.
func (r *Report) timelines() (out []timeline) {
	for _, f := range r.toolFigures() {
		t := timeline{title: fmt.Sprintf("%s: %s of a probe, after so many percent of the run", f.tool, f.unit)}
		for _, device := range r.toolDevices() {
			if p := r.pointsOf(device, f); len(p) > 0 {
				t.lines = append(t.lines, timelineCurve{device, p})
			}
		}
		if len(t.lines) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// pointsOf are the middles of a device's rounds; none if a figure has no points.
func (r *Report) pointsOf(device string, f toolFigure) (out []point) {
	at := map[float64][]float64{}
	for _, o := range r.Outcomes {
		for _, m := range o.Measures {
			if o.Device != device || o.Tool != f.tool || m.Name != f.name {
				continue
			}
			for _, p := range m.Over {
				at[p[0]] = append(at[p[0]], p[1])
			}
		}
	}
	for _, when := range slices.Sorted(maps.Keys(at)) {
		out = append(out, point{when, median(at[when])})
	}
	return out
}

// svg draws the chart.
func (t timeline) svg(standalone bool) string {
	var greatest float64
	for _, l := range t.lines {
		for _, p := range l.points {
			greatest = max(greatest, p[1])
		}
	}
	if greatest <= 0 {
		greatest = 1
	}
	across := scale{max: 100}
	height := 24 + curveHeight + axisHeight
	var b strings.Builder
	beginSVG(&b, t.title, height, standalone)
	bottom := 24 + curveHeight
	across.grid(&b, bottom)
	y := func(v float64) float64 { return float64(bottom) - curveHeight*v/greatest }
	for _, v := range ticks(greatest) {
		drawLevel(&b, y(v), number(v))
	}
	for i, l := range t.lines {
		var points []string
		for _, p := range l.points {
			points = append(points, fmt.Sprintf("%.1f,%.1f", across.x(p[0]*across.max), y(p[1])))
		}
		drawCurve(&b, i, l.label, points)
	}
	b.WriteString("</svg>")
	return b.String()
}

// checkOver refuses points that are not in the course of a run.
func (m Measure) checkOver() error {
	if len(m.Over) > timeParts {
		return fmt.Errorf("%s: %d points of %d parts", m.Name, len(m.Over), timeParts)
	}
	last := 0.0
	for _, p := range m.Over {
		// Written so that what is no number is refused as well.
		if !(p[0] > last && p[0] < 1 && p[1] >= 0 && p[1] < 1e12) {
			return errors.New(m.Name + ": its points are not in the course of a run")
		}
		last = p[0]
	}
	return nil
}
