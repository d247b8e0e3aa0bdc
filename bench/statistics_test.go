// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: got %g, want %g", what, got, want)
	}
}

func TestMedian(t *testing.T) {
	near(t, "odd", median([]float64{9, 1, 5}), 5)
	near(t, "even", median([]float64{4, 1, 3, 2}), 2.5)
	near(t, "one", median([]float64{7}), 7)
}

func TestMedianKeepsOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	median(values)
	spread(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("values are sorted now: %v", values)
	}
}

func TestSpread(t *testing.T) {
	// Quartiles 2 and 4, median 3.
	near(t, "1 to 5", spread([]float64{5, 1, 4, 2, 3}), 2.0/3)
	near(t, "equal", spread([]float64{8, 8, 8}), 0)
	near(t, "zero", spread([]float64{0, 0}), 0)
	// Outliers beyond the quartiles do not count.
	near(t, "outlier", spread([]float64{10, 10, 10, 10, 1000}), 0)
}

func TestRatio(t *testing.T) {
	r := ratio("b", []float64{2, 4, 6, 8, 10}, []float64{4, 8, 12, 16, 20})
	// A disturbance that both feel alike leaves the ratio alone.
	near(t, "ratio", r.Mid, 0.5)
	near(t, "low", r.Low, 0.5)
	near(t, "high", r.High, 0.5)
	if r.To != "b" {
		t.Errorf("compared with %q", r.To)
	}
}

func TestRatioInterval(t *testing.T) {
	a := []float64{10, 11, 9, 10.5, 9.5}
	b := []float64{20, 20, 20, 20, 20}
	r := ratio("b", a, b)
	near(t, "ratio", r.Mid, 0.5)
	if r.Low >= 0.5 || r.Low < 0.45 || r.High <= 0.5 || r.High > 0.55 {
		t.Errorf("interval %g to %g is not around 0.5 within the values", r.Low, r.High)
	}
	if again := ratio("b", a, b); again != r {
		t.Errorf("the same values give %+v, then %+v", r, again)
	}
}

// Few rounds have no interval: there are not enough values to draw.
func TestRatioOfFewRounds(t *testing.T) {
	r := ratio("b", []float64{10, 11, 9}, []float64{20, 20, 20})
	if want := (Ratio{To: "b", Mid: 0.5}); r != want || r.String() != "0.50 (too few turns)" {
		t.Errorf("%s: %+v, want %+v", r, r, want)
	}
}

// A round in which the whole machine was slow counts as much as the others.
func TestRatioIsPaired(t *testing.T) {
	r := ratio("b", []float64{2, 1, 2, 1, 1}, []float64{4, 2, 4.2, 2, 2})
	near(t, "ratio", r.Mid, 0.5)
	if r.Low < 0.47 || r.High > 0.5 {
		t.Errorf("interval %g to %g", r.Low, r.High)
	}
	near(t, "ratio without an idle round", ratio("b", []float64{3, 5}, []float64{6, 0}).Mid, 0.5)
}

func TestRatioOfNothing(t *testing.T) {
	for _, r := range []Ratio{
		ratio("b", nil, nil),
		ratio("b", []float64{1}, []float64{0}),
	} {
		if r != (Ratio{To: "b"}) {
			t.Errorf("got %+v", r)
		}
	}
}

// A stall, and what a clock's tick leaves out, do not move it.
func TestMidmean(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{1, 2, 4}, 7.0 / 3},
		{[]float64{0, 190, 200, 9000}, 195},
		{[]float64{0, 1, 190, 190, 190, 200, 8000, 9000}, 192.5},
	} {
		if got := midmean(tt.values); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.values, got, tt.want)
		}
	}
}
