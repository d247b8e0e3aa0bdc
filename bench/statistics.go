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

// Ratio compares two devices: the medians, and where 95 % of the ratios lie
// when rounds are drawn again at random.
type Ratio struct {
	To   string  `json:"to"`
	Mid  float64 `json:"ratio"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// ratio compares a with b, which are of the same rounds in the same order: a
// disturbance that lasts hits both. Nothing in it is left to chance: the same
// values give the same interval.
func ratio(to string, a, b []float64) Ratio {
	n := min(len(a), len(b))
	if n == 0 || median(b) == 0 {
		return Ratio{To: to}
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	ratios := make([]float64, 0, resamples)
	x, y := make([]float64, n), make([]float64, n)
	for range resamples {
		for i := range n {
			round := random.IntN(n)
			x[i], y[i] = a[round], b[round]
		}
		if m := median(y); m > 0 {
			ratios = append(ratios, median(x)/m)
		}
	}
	slices.Sort(ratios)
	return Ratio{
		To:   to,
		Mid:  median(a) / median(b),
		Low:  quantile(ratios, (1-confidence)/2),
		High: quantile(ratios, (1+confidence)/2),
	}
}
