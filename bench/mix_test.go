// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseLengths(t *testing.T) {
	if got, err := parseLengths([]string{"imix"}); err != nil || !slices.Equal(got, imix) {
		t.Errorf("imix: got %v, %v", got, err)
	}
	count := map[int]int{}
	for _, n := range imix {
		count[n]++
	}
	if count[64] != 7 || count[594] != 4 || count[1518] != 1 || len(imix) != 12 {
		t.Errorf("imix is %v", count)
	}
	if got, err := parseLengths([]string{"64", "1518"}); err != nil || !slices.Equal(got, []int{64, 1518}) {
		t.Errorf("two lengths: got %v, %v", got, err)
	}
	for _, bad := range [][]string{{"63"}, {"1519"}, {"x"}, {"imix", "64"}, {"imax"}, slices.Repeat([]string{"64"}, maxCycle+1)} {
		if got, err := parseLengths(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

// TestDraw compares how often flows are drawn with what the distribution says.
func TestDraw(t *testing.T) {
	const flows = 1 << 12
	m := Mix{Zipf: 1.2}
	draws := m.draw(flows)
	if len(draws)&(len(draws)-1) != 0 {
		t.Fatalf("%d draws: not a power of two", len(draws))
	}
	count := map[uint32]int{}
	for _, d := range draws {
		if d >= flows {
			t.Fatalf("flow %d of %d", d, flows)
		}
		count[d]++
	}
	var often []int
	for _, n := range count {
		often = append(often, n)
	}
	slices.SortFunc(often, func(a, b int) int { return b - a })
	whole := 0.0
	for k := 1; k <= flows; k++ {
		whole += math.Pow(float64(k), -m.Zipf)
	}
	for k := 1; k <= 4; k++ {
		want := math.Pow(float64(k), -m.Zipf) / whole
		if got := float64(often[k-1]) / float64(len(draws)); math.Abs(got-want) > 0.05*want {
			t.Errorf("the flow that comes %d. has a part of %.4f, want %.4f", k, got, want)
		}
	}
	if !slices.Equal(draws, m.draw(flows)) {
		t.Error("other draws the second time")
	}
	for _, bad := range []float64{-1, 0.9, 1, 11, math.NaN(), math.Inf(1)} {
		if (Mix{Zipf: bad}).check() == nil {
			t.Errorf("an exponent of %g passes", bad)
		}
	}
}

// TestMix has frames of all lengths of a cycle arrive, of flows that are drawn, and whole:
// checksums are looked at.
func TestMix(t *testing.T) {
	needRoot(t)
	o := testOptions()
	for _, ipv6 := range []bool{false, true} {
		c := Case{Device: &Redirect{}, Flows: 4 * flowsAtAddr, IPv6: ipv6, Mix: Mix{Lengths: imix, Zipf: 1.1}}
		l, err := newLane(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		lengths, targets := map[int]bool{}, map[string]bool{}
		l.options.Duration = 100 * time.Millisecond
		if _, err := l.measure(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if err := <-l.traffic.flood(ctx, o.GenCPU); err != nil {
				t.Fatal(err)
			}
			stop()
			samples, err := l.traffic.takeSamples()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range samples {
				lengths[len(s)] = true
				source, target, err := udpEnds(s)
				if err != nil {
					t.Fatal(err)
				}
				targets[source.String()+target.String()] = true
			}
			if len(lengths) == 3 && len(targets) > 2 {
				break
			}
		}
		if len(lengths) != 3 || len(targets) < 3 {
			t.Errorf("IPv6 %t: frames of %v bytes of %d flows", ipv6, lengths, len(targets))
		}
		// What has another length than the mix is wrong.
		l.Mix = Mix{Lengths: []int{100}}
		if _, err := l.measure(t.Context()); err == nil || !strings.Contains(err.Error(), "bytes long instead of") {
			t.Errorf("IPv6 %t: frames of other lengths pass: %v", ipv6, err)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}
