// SPDX-License-Identifier: GPL-2.0-only

package web

import (
	"sync"

	"github.com/randomizedcoder/l2d/pkg/observe"
)

const (
	// points is how many are kept: six hours, at one every ten seconds. With
	// mostLinks interfaces these are less than 500 kB.
	points    = 2160
	mostLinks = 16
)

// point is a router at one moment.
type point struct {
	time  int64                  // Unix
	rates [2 * mostLinks]float32 // bits a second in and out, by the number of the interface
	flows, begun, drops,
	busy float32 // the busiest CPU
}

// history is what was in the last hours, in memory: the oldest makes room for the
// newest.
type history struct {
	mu     sync.Mutex
	links  []string
	ring   []point
	next   int
	before *observe.Sample
}

// add takes a sample.
func (h *history) add(s *observe.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.before
	h.before = s
	if before == nil {
		return
	}
	v := observe.Between(before, s)
	p := point{time: v.Time.Unix(), flows: float32(v.Flows.Confirmed), begun: float32(v.Flows.BegunRate)}
	for _, i := range v.Interfaces {
		if n := h.link(i.Name); n >= 0 {
			p.rates[2*n], p.rates[2*n+1] = float32(i.RxBits), float32(i.TxBits)
		}
	}
	for _, d := range v.Drops {
		p.drops += float32(d.Rate)
	}
	for _, c := range v.CPUs {
		p.busy = max(p.busy, float32(c.Busy))
	}
	if len(h.ring) < points {
		h.ring = append(h.ring, p)
		return
	}
	h.ring[h.next] = p
	h.next = (h.next + 1) % points
}

// link is the number of an interface; -1 if there are too many.
func (h *history) link(name string) int {
	for i, l := range h.links {
		if l == name {
			return i
		}
	}
	if len(h.links) == mostLinks {
		return -1
	}
	h.links = append(h.links, name)
	return len(h.links) - 1
}

// series is a history as the page gets it: a list for each value, the oldest first.
type series struct {
	Time  []int64              `json:"time"`
	In    map[string][]float32 `json:"in"`
	Out   map[string][]float32 `json:"out"`
	Flows []float32            `json:"flows"`
	Begun []float32            `json:"begun"`
	Drops []float32            `json:"drops"`
	Busy  []float32            `json:"busy"`
}

func (h *history) series() series {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := series{In: map[string][]float32{}, Out: map[string][]float32{}, Time: []int64{}}
	for i := range h.ring {
		p := &h.ring[(h.next+i)%len(h.ring)]
		s.Time = append(s.Time, p.time)
		s.Flows, s.Begun = append(s.Flows, p.flows), append(s.Begun, p.begun)
		s.Drops, s.Busy = append(s.Drops, p.drops), append(s.Busy, p.busy)
		for n, name := range h.links {
			s.In[name], s.Out[name] = append(s.In[name], p.rates[2*n]), append(s.Out[name], p.rates[2*n+1])
		}
	}
	return s
}
