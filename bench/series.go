// SPDX-License-Identifier: GPL-2.0-only

package bench

// series is one figure of one device over the rounds of a run: what two runs are
// compared by.
type series struct {
	name   string
	unit   string
	higher bool // is better
	flows  int
	values []float64
	doubts []string // why it says nothing
}

// Units of series.
const unitRate = "packets/core-s"

// series of a report, in the order in which they were first measured. Relative to
// a device, if that has a name: each value is a part of that device's of the same
// round.
func (r *Report) series(relativeTo string) []series {
	var out []series
	base := r.rates(relativeTo)
	for _, s := range r.Summarize() {
		samples := r.of(s.Device)
		one := series{
			name: s.Device, unit: unitRate, higher: true, flows: samples[0].Flows,
			values: each(samples, Sample.Rate), doubts: s.Doubts,
		}
		if relativeTo != "" {
			one.unit = "of " + relativeTo
			one.values = paired(one.values, base)
		}
		out = append(out, one)
	}
	return out
}

// of returns the samples of a device, by round.
func (r *Report) of(device string) []Sample {
	var out []Sample
	for _, s := range r.Samples {
		if s.Device == device {
			out = append(out, s)
		}
	}
	return out
}

// rates are those of a device's samples, by round.
func (r *Report) rates(device string) []float64 { return each(r.of(device), Sample.Rate) }
