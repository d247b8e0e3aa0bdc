// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"slices"
)

// series is one figure of one device over the rounds of a run: what two runs are
// compared by.
type series struct {
	name   string
	unit   string
	higher bool // is better
	flows  int
	mix    string // of frames and flows
	values []float64
	doubts []string // why it says nothing
}

// Units of series.
const (
	unitRate  = "packets/core-s"
	unitMicro = "ns/run"
)

// series of a report, in the order in which they were first measured. Relative to
// one of them, if that has a name: each value is a part of that one's of the same
// round, and what has another unit is left out.
func (r *Report) series(relativeTo string) []series {
	all := slices.Concat(r.rateSeries(), r.microSeries(), r.toolSeries())
	if relativeTo == "" {
		return all
	}
	base, ok := find(all, relativeTo)
	if !ok {
		return nil
	}
	var out []series
	for _, s := range all {
		if s.unit == base.unit {
			s.unit, s.values = "of "+relativeTo, paired(s.values, base.values)
			out = append(out, s)
		}
	}
	return out
}

// rateSeries are the rates of devices.
func (r *Report) rateSeries() (out []series) {
	for _, s := range r.Summarize() {
		samples := r.of(s.Device)
		out = append(out, series{
			name: s.Device, unit: unitRate, higher: true, flows: samples[0].Flows, mix: samples[0].Mix,
			values: each(samples, Sample.Rate), doubts: s.Doubts,
		})
	}
	return out
}

// microSeries are the times of paths.
func (r *Report) microSeries() (out []series) {
	at := map[string]int{}
	for _, m := range r.Micros {
		i, ok := at[m.Path]
		if !ok {
			i = len(out)
			at[m.Path] = i
			out = append(out, series{name: m.Path, unit: unitMicro})
		}
		out[i].values = append(out[i].values, m.Nanoseconds)
	}
	for i, s := range out {
		if p := spread(s.values); p > maxSpread {
			out[i].doubts = []string{fmt.Sprintf("spread %.0f %%", 100*p)}
		}
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
