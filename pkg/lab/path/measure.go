// SPDX-License-Identifier: GPL-2.0-only

package path

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Result is what a run has measured. The first fifth of it does not count but for the
// convergence.
type Result struct {
	Spec     Spec          `json:"path"`
	Duration time.Duration `json:"duration_ns"`
	Flows    []FlowResult  `json:"flows"`
	// Utilisation is the share of the rate that was used, Loss and Marked are shares of
	// packets.
	Utilisation float64 `json:"utilisation"`
	Loss        float64 `json:"loss"`
	Marked      float64 `json:"marked"`
	// Delay has percentiles of the time in the queue.
	Delay Percentiles `json:"delay"`
	// Jain is the index of fairness between the flows: 1 if all have the same, 1/n if
	// one has all.
	Jain float64 `json:"jain"`
	// Convergence is how long after the last flow's begin the index first stays
	// above [fair] for three seconds; less than 0 if never.
	Convergence time.Duration `json:"convergence_ns"`
}

// FlowResult is a flow's part.
type FlowResult struct {
	Flow
	// Rate is of IP packets that went through, in bits a second.
	Rate float64 `json:"rate"`
	Loss float64 `json:"loss"`
	// Seconds are its rates in each second since the run's begin.
	Seconds []float64 `json:"seconds"`
}

// Percentiles of times.
type Percentiles struct {
	P50 time.Duration `json:"p50_ns"`
	P95 time.Duration `json:"p95_ns"`
	P99 time.Duration `json:"p99_ns"`
}

const (
	fair       = 0.9
	fairWindow = time.Second
	fairFor    = 3
)

// Measure runs flows over a path for a time.
func Measure(ctx context.Context, s Spec, flows []Flow, duration time.Duration, seed uint64, ecn string) (r Result, err error) {
	e, err := Start(s, seed)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.Sysctl("net/ipv4/tcp_ecn", ecn); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	begin := time.Now()
	ports := make([]uint16, len(flows))
	errs := make([]error, len(flows))
	var all sync.WaitGroup
	for i, f := range flows {
		all.Go(func() { ports[i], errs[i] = e.send(ctx, f) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	return summarize(s, flows, ports, e.Packets(), begin, duration), nil
}

// send runs a flow until ctx ends, and returns its port; 0 if it has not begun by then.
func (e *Emulation) send(ctx context.Context, f Flow) (uint16, error) {
	select {
	case <-ctx.Done():
		return 0, nil
	case <-time.After(f.After):
	}
	c, err := e.Dial(ctx, f)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	port := uint16(c.LocalAddr().(*net.TCPAddr).Port)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	for chunk := make([]byte, 1<<16); ; {
		if _, err := c.Write(chunk); err != nil {
			if ctx.Err() != nil {
				return port, nil
			}
			return port, err
		}
	}
}

// summarize makes a result of a run's packets.
func summarize(s Spec, flows []Flow, ports []uint16, packets []Packet, begin time.Time, duration time.Duration) Result {
	r := Result{Spec: s, Duration: duration, Flows: make([]FlowResult, len(flows)), Convergence: -1}
	index := map[uint16]int{}
	last := time.Duration(0)
	for i, port := range ports {
		index[port] = i
		r.Flows[i].Flow = flows[i]
		last = max(last, flows[i].After)
	}
	from := max(duration/5, last)
	bytes, sent, lost := make([]float64, len(flows)), make([]int, len(flows)), make([]int, len(flows))
	windows := make([][]float64, int(duration/fairWindow)+1)
	var waits []time.Duration
	marked := 0
	for _, p := range packets {
		i, known := index[p.Port]
		at := p.At.Sub(begin)
		if !known || at >= duration {
			continue
		}
		if w := int(at / fairWindow); !p.Lost {
			if windows[w] == nil {
				windows[w] = make([]float64, len(flows))
			}
			windows[w][i] += float64(p.Bytes)
		}
		if at < from {
			continue
		}
		sent[i]++
		if p.Lost {
			lost[i]++
			continue
		}
		bytes[i] += float64(p.Bytes)
		waits = append(waits, p.Waits)
		if p.Marked {
			marked++
		}
	}
	counted := (duration - from).Seconds()
	allSent, allLost, total := 0, 0, 0.0
	for i := range flows {
		r.Flows[i].Rate, r.Flows[i].Loss = bytes[i]*8/counted, share(lost[i], sent[i])
		r.Flows[i].Seconds = seconds(windows, i, duration)
		allSent, allLost, total = allSent+sent[i], allLost+lost[i], total+bytes[i]
	}
	r.Utilisation, r.Loss, r.Marked = total*8/counted/float64(s.Rate), share(allLost, allSent), share(marked, len(waits))
	r.Delay, r.Jain = percentiles(waits), jain(bytes)
	if at := settled(windows[min(int(last/fairWindow), len(windows)):]); at >= 0 {
		r.Convergence = time.Duration(at) * fairWindow
	}
	return r
}

// seconds are a flow's rates in bits a second; a part of a second at the end is left out.
func seconds(windows [][]float64, flow int, duration time.Duration) []float64 {
	list := make([]float64, int(duration/fairWindow))
	for i := range list {
		if windows[i] != nil {
			list[i] = windows[i][flow] * 8 / fairWindow.Seconds()
		}
	}
	return list
}

func share(part, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

func percentiles(list []time.Duration) (p Percentiles) {
	if len(list) == 0 {
		return p
	}
	slices.Sort(list)
	at := func(share float64) time.Duration { return list[min(int(share*float64(len(list))), len(list)-1)] }
	return Percentiles{at(0.5), at(0.95), at(0.99)}
}

// jain is the index of fairness of shares; 1 if there are none.
func jain(list []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range list {
		sum, squares = sum+v, squares+v*v
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(list)) * squares)
}

// settled is the first window from which on shares are fair for a while; less than 0 if there
// is none.
func settled(windows [][]float64) int {
	run := 0
	for i, w := range windows {
		if w == nil || jain(w) < fair {
			run = 0
			continue
		}
		if run++; run == fairFor {
			return i - fairFor + 1
		}
	}
	return -1
}
