// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestOverTime: a part of the run has the mean of its probes, and no point without one.
func TestOverTime(t *testing.T) {
	got := overTime([]probe{{0, 1}, {1, 3}, {2, 10}, {98, 20}, {99, 40}, {100, 7}}, 100)
	want := []point{{0.01, 2}, {0.03, 10}, {0.99, (20 + 40 + 7) / 3.0}}
	if !slices.EqualFunc(got, want, func(a, b point) bool { return math.Abs(a[0]-b[0])+math.Abs(a[1]-b[1]) < 1e-9 }) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTimeline draws the median of the rounds of each device, from the least time on.
func TestTimeline(t *testing.T) {
	r := &Report{}
	for round, delay := range []float64{10, 30, 20} {
		r.Outcomes = append(r.Outcomes, Outcome{Device: "l2d<", Tool: "ping", Round: round, Busy: 0.5, Measures: []Measure{
			{Name: "p50", Unit: "µs", Over: []point{{0.5, delay}, {0.75, 2 * delay}}},
		}})
	}
	lines := r.timelines()
	if len(lines) != 1 || len(lines[0].lines) != 1 || !slices.Equal(lines[0].lines[0].points, []point{{0.5, 20}, {0.75, 40}}) {
		t.Fatalf("%+v", lines)
	}
	svg := lines[0].svg(true)
	wellFormed(t, svg)
	// Half of the run and of the height, three quarters and all of it.
	if want := `points="450.0,144.0 555.0,24.0"`; !strings.Contains(svg, want) {
		t.Errorf("no %s in\n%s", want, svg)
	}
	if busy := r.busyChart(); len(busy.rows) != 1 || busy.rows[0].mid != 0.5 {
		t.Errorf("the packet core: %+v", busy)
	}
}

// TestCheckOver: points that no run can have are refused.
func TestCheckOver(t *testing.T) {
	for _, over := range [][]point{{{0.5, 1}, {0.4, 1}}, {{0, 1}}, {{1, 1}}, {{0.5, -1}}, {{math.NaN(), 1}}, {{0.5, math.Inf(1)}}, make([]point, timeParts+1)} {
		if err := (Measure{Name: "p50", Over: over}).checkOver(); err == nil {
			t.Errorf("%v is no error", over)
		}
	}
}
