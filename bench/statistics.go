// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// quantile interpolates between the two nearest values, as R does by default
// (type 7). q is from 0 to 1; sorted must not be empty.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// midmean is the mean of what is between the quartiles of at least one sorted value:
// of times by a clock that ticks in tens of nanoseconds, the median is a tick.
func midmean(sorted []float64) float64 {
	cut := len(sorted) / 4
	middle := sorted[cut : len(sorted)-cut]
	sum := 0.0
	for _, v := range middle {
		sum += v
	}
	return sum / float64(len(middle))
}

// median of at least one value.
func median(values []float64) float64 {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// spread is the distance between the quartiles, relative to the median.
func spread(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	m := quantile(s, 0.5)
	if m == 0 {
		return 0
	}
	return (quantile(s, 0.75) - quantile(s, 0.25)) / m
}

const (
	resamples  = 4000
	confidence = 0.95
)

// minRounds is how many repetitions an interval is made of at least: the bootstrap
// knows no values but those that were measured, so that of few is too narrow.
const minRounds = 4

// Ratio compares two devices: the median of the ratios of each round, and where
// 95 % of such medians lie when rounds are drawn again at random. Both ends are 0
// where there are fewer than [minRounds].
type Ratio struct {
	To   string  `json:"to"`
	Mid  float64 `json:"ratio"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// String is the ratio for people.
func (r Ratio) String() string { return r.times(1) }

// times is the ratio for people, so many times as large.
func (r Ratio) times(n float64) string {
	return Interval{n * r.Mid, n * r.Low, n * r.High}.text("%.2f")
}

// ratio compares a with b, which are of the same rounds in the same order: a
// disturbance that lasts hits both and leaves their ratio alone. Rounds where b
// is zero say nothing. The same values give the same interval.
func ratio(to string, a, b []float64) Ratio {
	i := medianInterval(paired(a, b))
	return Ratio{To: to, Mid: i.Mid, Low: i.Low, High: i.High}
}

// paired are the ratios of a to b, round by round.
func paired(a, b []float64) (ratios []float64) {
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// Interval is a median, and where 95 % of the medians lie when values are drawn
// again at random. Both ends are 0 where there are fewer than [minRounds].
type Interval struct {
	Mid  float64 `json:"mid"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// text is the interval for people, each number in a format.
func (i Interval) text(format string) string {
	if i.Low == 0 && i.High == 0 {
		return fmt.Sprintf(format+" (too few turns)", i.Mid)
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", i.Mid, i.Low, i.High)
}

// medianInterval of no values is zero. The same values give the same interval.
func medianInterval(values []float64) Interval {
	n := len(values)
	switch {
	case n == 0:
		return Interval{}
	case n < minRounds:
		return Interval{Mid: median(values)}
	}
	drawn := make([]float64, n)
	low, high := bootstrap(n, func(random *rand.Rand) float64 {
		return median(redraw(random, drawn, values))
	})
	return Interval{Mid: median(values), Low: low, High: high}
}

// change compares the medians of two runs, a's with b's, which share no round:
// the values of each are drawn again by themselves. It is zero where there is
// nothing to compare with.
func change(a, b []float64) Interval {
	if len(a) == 0 || len(b) == 0 || slices.Min(b) <= 0 {
		return Interval{}
	}
	drawnA, drawnB := make([]float64, len(a)), make([]float64, len(b))
	low, high := bootstrap(len(a)+len(b), func(random *rand.Rand) float64 {
		return median(redraw(random, drawnA, a)) / median(redraw(random, drawnB, b))
	})
	return Interval{Mid: median(a) / median(b), Low: low, High: high}
}

// bootstrap is where 95 % of the estimates lie. The same seed gives the same.
func bootstrap(seed int, estimate func(*rand.Rand) float64) (low, high float64) {
	random := rand.New(rand.NewPCG(1, uint64(seed)))
	estimates := make([]float64, resamples)
	for i := range estimates {
		estimates[i] = estimate(random)
	}
	slices.Sort(estimates)
	return quantile(estimates, (1-confidence)/2), quantile(estimates, (1+confidence)/2)
}

// redraw fills to with values drawn from those of from, with replacement.
func redraw(random *rand.Rand, to, from []float64) []float64 {
	for i := range to {
		to[i] = from[random.IntN(len(from))]
	}
	return to
}
