// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
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

// Ratio compares two devices: the median of the ratios of each round, and where
// 95 % of such medians lie when rounds are drawn again at random.
type Ratio struct {
	To   string  `json:"to"`
	Mid  float64 `json:"ratio"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// ratio compares a with b, which are of the same rounds in the same order: a
// disturbance that lasts hits both and leaves their ratio alone. Rounds where b
// is zero say nothing. The same values give the same interval.
func ratio(to string, a, b []float64) Ratio {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	i := medianInterval(ratios)
	return Ratio{To: to, Mid: i.Mid, Low: i.Low, High: i.High}
}

// Interval is a median, and where 95 % of the medians lie when values are drawn
// again at random.
type Interval struct{ Mid, Low, High float64 }

// medianInterval of no values is zero. The same values give the same interval.
func medianInterval(values []float64) Interval {
	n := len(values)
	if n == 0 {
		return Interval{}
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	medians := make([]float64, resamples)
	drawn := make([]float64, n)
	for i := range medians {
		for j := range drawn {
			drawn[j] = values[random.IntN(n)]
		}
		medians[i] = median(drawn)
	}
	slices.Sort(medians)
	return Interval{
		Mid:  median(values),
		Low:  quantile(medians, (1-confidence)/2),
		High: quantile(medians, (1+confidence)/2),
	}
}
