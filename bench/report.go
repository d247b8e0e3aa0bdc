// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"slices"
)

// Limits beyond which a result says nothing.
const (
	maxSpread = 0.10 // between the quartiles
	minLoad   = 1.02 // offered, relative to what the router took
	minBusy   = 0.50 // of the packet core, by the router
)

// Report is all that a run has found.
type Report struct {
	Environment Environment
	Samples     []Sample
	Micros      []Micro
	Outcomes    []Outcome
	Figures     []Figure
}

// Figure is something that a device tells of itself.
type Figure struct {
	Device string  `json:"device"`
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

// Summary is what the samples of one device come to.
type Summary struct {
	Device string `json:"device"`
	// Rate is packets per second of the packet core, the median; Spread the
	// distance between its quartiles, relative to it.
	Rate   float64 `json:"packets_per_core_second"`
	Spread float64 `json:"spread"`
	// Nanoseconds of the packet core for each packet, the receiver's
	// included.
	Nanoseconds float64 `json:"ns_per_packet"`
	// Medians of packets per second on the clock, of the router's part of
	// a packet core and of the part of packets that it lost.
	Wall float64 `json:"packets_per_second"`
	Busy float64 `json:"busy"`
	Lost float64 `json:"lost"`

	Ratios []Ratio  `json:"ratios,omitempty"`
	Doubts []string `json:"doubts,omitempty"` // why it is inconclusive
}

// Conclusive says whether the figures can be relied on.
func (s Summary) Conclusive() bool { return len(s.Doubts) == 0 }

// Summarize sums the samples up by device, in the order of their first one,
// and compares each device with the references that were measured.
func (r *Report) Summarize(references ...string) []Summary {
	var names []string
	by := map[string][]Sample{}
	for _, s := range r.Samples {
		if _, ok := by[s.Device]; !ok {
			names = append(names, s.Device)
		}
		by[s.Device] = append(by[s.Device], s)
	}
	summaries := make([]Summary, 0, len(names))
	for _, name := range names {
		s := summarize(by[name])
		if r.Environment.Options.shared() {
			s.Doubts = append(s.Doubts, "generators have CPUs of the router")
		}
		for _, to := range references {
			if to != name && len(by[to]) > 0 {
				s.Ratios = append(s.Ratios, ratio(to,
					each(by[name], Sample.Rate), each(by[to], Sample.Rate)))
			}
		}
		summaries = append(summaries, s)
	}
	return summaries
}

func summarize(samples []Sample) Summary {
	rates := each(samples, Sample.Rate)
	s := Summary{
		Device: samples[0].Device,
		Rate:   median(rates),
		Spread: spread(rates),
		Wall:   median(each(samples, Sample.Wall)),
		Busy:   median(each(samples, func(s Sample) float64 { return s.Busy / float64(max(1, s.Cores)) })),
		Lost:   median(each(samples, Sample.Lost)),
	}
	if s.Rate > 0 {
		s.Nanoseconds = 1e9 / s.Rate
	}
	if s.Spread > maxSpread {
		s.Doubts = append(s.Doubts, fmt.Sprintf("spread %.0f %%", 100*s.Spread))
	}
	if load := median(each(samples, Sample.Load)); load < minLoad {
		s.Doubts = append(s.Doubts, "generator too slow")
	}
	if s.Busy < minBusy {
		s.Doubts = append(s.Doubts, fmt.Sprintf("packet core busy only %.0f %%", 100*s.Busy))
	}
	return s
}

func each(samples []Sample, value func(Sample) float64) []float64 {
	return slices.Collect(func(yield func(float64) bool) {
		for _, s := range samples {
			if !yield(value(s)) {
				return
			}
		}
	})
}
