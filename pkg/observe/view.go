// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"cmp"
	"slices"
	"time"
)

// View is a router over an interval: rates are for a second.
type View struct {
	Time time.Time `json:"time"`
	// Interval in seconds; 0: there is one sample, and no rates.
	Interval     float64         `json:"interval"`
	Host         string          `json:"host"`
	Version      string          `json:"version"`
	Attached     bool            `json:"attached"`
	Problems     []string        `json:"problems"`
	Interfaces   []InterfaceRate `json:"interfaces"`
	CPUs         []CPURate       `json:"cpus"`
	Drops        []DropRate      `json:"drops"`
	Flows        FlowRates       `json:"flows"`
	Hosts        []Host          `json:"hosts"`
	Talkers      []Talker        `json:"talkers"`
	Queues       []QueueRate     `json:"queues"`
	Radios       []RadioRate     `json:"radios"`
	Stations     []StationRate   `json:"stations"`
	Services     []Service       `json:"services"`
	Temperatures []Temperature   `json:"temperatures"`
}

// InterfaceRate is what an interface moves.
type InterfaceRate struct {
	Name      string  `json:"name"`
	Up        bool    `json:"up"`
	XDP       bool    `json:"xdp"`
	RxBits    float64 `json:"rx_bits"`
	TxBits    float64 `json:"tx_bits"`
	RxPackets float64 `json:"rx_packets"`
	TxPackets float64 `json:"tx_packets"`
	Lost      float64 `json:"lost"`
}

// CPURate is what a CPU handles, in packets, and how much of its time it works.
type CPURate struct {
	CPU     int     `json:"cpu"`
	XDP     float64 `json:"xdp"`
	TC      float64 `json:"tc"`
	Other   float64 `json:"other"`
	Dropped float64 `json:"dropped"`
	Busy    float64 `json:"busy"`    // 0 to 1
	Softirq float64 `json:"softirq"` // 0 to 1
}

// DropRate is a reason for drops.
type DropRate struct {
	Reason string  `json:"reason"`
	Rate   float64 `json:"rate"`
	Total  uint64  `json:"total"` // since the dataplane was first attached
}

// FlowRates is the flow table and how it changes.
type FlowRates struct {
	Flows
	BegunRate   float64 `json:"begun_rate"`
	ExpiredRate float64 `json:"expired_rate"`
}

// RadioRate is how a radio's channel is used.
type RadioRate struct {
	Interface string  `json:"interface"`
	Channel   int     `json:"channel"`
	Stations  int     `json:"stations"`
	Busy      float64 `json:"busy"` // 0 to 1, by whomever; -1: the driver does not tell
}

// StationRate is what a station moves.
type StationRate struct {
	Radio    string  `json:"radio"`
	MAC      string  `json:"mac"`
	Name     string  `json:"name,omitempty"`
	Signal   int     `json:"signal"`    // dBm; 0 is not known
	SendRate int     `json:"send_rate"` // of the last frame to it, bits a second
	Up       float64 `json:"up"`        // bits a second from it
	Down     float64 `json:"down"`      // bits a second to it
	Retries  float64 `json:"retries"`
	Airtime  float64 `json:"airtime"` // 0 to 1, of the radio's time
}

// QueueRate is what a qdisc, or the queues of a radio's stations, do.
type QueueRate struct {
	Interface string  `json:"interface"`
	Parent    string  `json:"parent"`
	Kind      string  `json:"kind"`
	Packets   float64 `json:"packets"`
	Drops     float64 `json:"drops"`
	Marks     float64 `json:"marks"`
	Backlog   uint64  `json:"backlog"`
	Delay     float64 `json:"delay"`
}

// Between is what happened from one sample to a later one. Without the first there
// are no rates.
func Between(before, now *Sample) View {
	v := View{
		Time: now.Time, Host: now.Host, Version: now.Version, Attached: now.Attached, Problems: now.Problems,
		Hosts: now.Hosts, Talkers: now.Talkers, Services: now.Services, Temperatures: now.Temperatures,
	}
	if before == nil {
		before = now
	}
	v.Interval = max(0, now.Time.Sub(before.Time).Seconds())
	r := rate{v.Interval}
	links := by(before.Interfaces, func(i *Interface) string { return i.Name })
	for _, i := range now.Interfaces {
		b := links(i.Name, &i)
		v.Interfaces = append(v.Interfaces, InterfaceRate{
			Name: i.Name, Up: i.Up, XDP: i.XDP, RxBits: 8 * r.of(b.RxBytes, i.RxBytes), TxBits: 8 * r.of(b.TxBytes, i.TxBytes),
			RxPackets: r.of(b.RxPackets, i.RxPackets), TxPackets: r.of(b.TxPackets, i.TxPackets), Lost: r.of(b.Lost, i.Lost),
		})
	}
	cpus := by(before.CPUs, func(c *CPU) int { return c.CPU })
	for _, c := range now.CPUs {
		b := cpus(c.CPU, &c)
		v.CPUs = append(v.CPUs, CPURate{
			CPU: c.CPU, XDP: r.of(b.XDP, c.XDP), TC: r.of(b.TC, c.TC), Other: r.of(b.Other, c.Other), Dropped: r.of(b.Dropped, c.Dropped),
			Busy: share(b.Busy, c.Busy, b.Ticks, c.Ticks), Softirq: share(b.Softirq, c.Softirq, b.Ticks, c.Ticks),
		})
	}
	for reason, n := range now.Drops {
		if n > 0 {
			v.Drops = append(v.Drops, DropRate{reason, r.of(before.Drops[reason], n), n})
		}
	}
	slices.SortFunc(v.Drops, func(a, b DropRate) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(b.Total, a.Total), cmp.Compare(a.Reason, b.Reason))
	})
	v.Flows = FlowRates{now.Flows, r.of(before.Flows.Begun, now.Flows.Begun), r.of(before.Flows.Expired, now.Flows.Expired)}
	queues := by(before.Queues, func(q *Queue) [3]string { return [3]string{q.Interface, q.Parent, q.Kind} })
	for _, q := range now.Queues {
		b := queues([3]string{q.Interface, q.Parent, q.Kind}, &q)
		v.Queues = append(v.Queues, QueueRate{
			Interface: q.Interface, Parent: q.Parent, Kind: q.Kind, Packets: r.of(b.Packets, q.Packets), Drops: r.of(b.Drops, q.Drops),
			Marks: r.of(b.Marks, q.Marks), Backlog: q.Backlog, Delay: q.Delay,
		})
	}
	radios := by(before.Radios, func(r *Radio) string { return r.Interface })
	for _, n := range now.Radios {
		b := radios(n.Interface, &n)
		busy := -1.0
		if n.Active > 0 {
			busy = share(b.Busy, n.Busy, b.Active, n.Active)
		}
		v.Radios = append(v.Radios, RadioRate{n.Interface, n.Channel, n.Stations, busy})
	}
	stations := by(before.Stations, func(s *Station) [2]string { return [2]string{s.Radio, s.MAC} })
	for _, n := range now.Stations {
		b := stations([2]string{n.Radio, n.MAC}, &n)
		v.Stations = append(v.Stations, StationRate{
			Radio: n.Radio, MAC: n.MAC, Name: n.Name, Signal: n.Signal, SendRate: n.SendRate, Up: 8 * r.of(b.Received, n.Received), Down: 8 * r.of(b.Sent, n.Sent),
			Retries: r.of(b.Retries, n.Retries), Airtime: min(1, r.of(b.Airtime, n.Airtime)/1e9),
		})
	}
	slices.SortStableFunc(v.Stations, func(a, b StationRate) int { return cmp.Compare(b.Airtime, a.Airtime) })
	return v
}

// by finds what a list has of a name; if it has none, its rates are to be none.
func by[T any, K comparable](list []T, name func(*T) K) func(K, *T) *T {
	index := make(map[K]*T, len(list))
	for i := range list {
		index[name(&list[i])] = &list[i]
	}
	return func(k K, otherwise *T) *T {
		if t := index[k]; t != nil {
			return t
		}
		return otherwise
	}
}

type rate struct{ seconds float64 }

// of is how much a number grew in a second; 0 if it began anew.
func (r rate) of(before, now uint64) float64 {
	if now < before || r.seconds <= 0 {
		return 0
	}
	return float64(now-before) / r.seconds
}

func share(before, now, allBefore, allNow uint64) float64 {
	if now < before || allNow <= allBefore {
		return 0
	}
	return min(1, float64(now-before)/float64(allNow-allBefore))
}
