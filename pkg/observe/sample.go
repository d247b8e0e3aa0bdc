// SPDX-License-Identifier: GPL-2.0-only

// Package observe says what there is to see of a router at one moment, and from two
// of these how fast everything goes: for l2ctl top and the web page.
package observe

import (
	"net/netip"
	"time"
)

// Sample is what there is to see at one moment. Numbers of packets, bytes and drops
// grow: View has their rates.
type Sample struct {
	Time     time.Time `json:"time"`
	Host     string    `json:"host"`
	Version  string    `json:"version"`
	Attached bool      `json:"attached"`
	// Problems are what the operator should know first, a sentence each.
	Problems   []string    `json:"problems"`
	Interfaces []Interface `json:"interfaces"`
	CPUs       []CPU       `json:"cpus"`
	// Drops are packets by the reason.
	Drops map[string]uint64 `json:"drops"`
	Flows Flows             `json:"flows"`
	// Hosts and Talkers are those that move most, the first ones first. Their
	// rates are the daemon's: flows that end take their counters with them.
	Hosts        []Host        `json:"hosts"`
	Talkers      []Talker      `json:"talkers"`
	Queues       []Queue       `json:"queues"`
	Radios       []Radio       `json:"radios"`
	Stations     []Station     `json:"stations"`
	Services     []Service     `json:"services"`
	Temperatures []Temperature `json:"temperatures"`
}

// Interface is one of the dataplane's, as the kernel counts it.
type Interface struct {
	Name      string `json:"name"`
	Up        bool   `json:"up"`
	XDP       bool   `json:"xdp"`
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	// Lost are frames that were bad, missed or dropped, either way.
	Lost uint64 `json:"lost"`
}

// CPU is what a CPU does for the dataplane and altogether.
type CPU struct {
	CPU     int    `json:"cpu"`
	XDP     uint64 `json:"xdp"`     // packets forwarded there
	TC      uint64 `json:"tc"`      // packets forwarded there
	Other   uint64 `json:"other"`   // packets to the router and of its own
	Dropped uint64 `json:"dropped"` // packets
	// Ticks of the kernel's clock: all, those that were not idle, and those of
	// them in soft interrupts, where packets are handled.
	Ticks   uint64 `json:"ticks"`
	Busy    uint64 `json:"busy"`
	Softirq uint64 `json:"softirq"`
}

// Flows are the flow tables, as their collector found them.
type Flows struct {
	Confirmed    uint64 `json:"confirmed"`
	MaxConfirmed uint64 `json:"max_confirmed"`
	HalfOpen     uint64 `json:"half_open"`
	MaxHalfOpen  uint64 `json:"max_half_open"`
	Mappings     uint64 `json:"mappings"`
	Begun        uint64 `json:"begun"`
	Expired      uint64 `json:"expired"`
}

// Host is an end of flows on the near side: whoever began them, or was reached by a
// translation of the destination.
type Host struct {
	Address netip.Addr `json:"address"`
	// Name as a lease has it; empty if none has.
	Name  string `json:"name,omitempty"`
	Flows int    `json:"flows"`
	// Bits a second that it sends and gets, as the flows count them.
	Up   float64 `json:"up"`
	Down float64 `json:"down"`
}

// Talker is a flow.
type Talker struct {
	Host     netip.Addr     `json:"host"`
	Protocol string         `json:"protocol"`
	State    string         `json:"state,omitempty"`
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	In       string         `json:"in,omitempty"`
	Out      string         `json:"out,omitempty"`
	// Bits a second from Src to Dst and back.
	Forth float64 `json:"forth"`
	Back  float64 `json:"back"`
}

// Radio is an access point. Times are nanoseconds on its channel, as the driver counts them.
type Radio struct {
	Interface string `json:"interface"`
	Channel   int    `json:"channel"`
	Stations  int    `json:"stations"`
	// Active is how long it has been there, Busy how long of that somebody sent.
	Active uint64 `json:"active"`
	Busy   uint64 `json:"busy"`
}

// Station is who is associated with a radio.
type Station struct {
	Radio string `json:"radio"`
	MAC   string `json:"mac"`
	// Name, or an address of it; empty if nothing is known.
	Name string `json:"name,omitempty"`
	// Signal in dBm; 0 is not known. SendRate is that of the last frame to it, in bits a second.
	Signal   int    `json:"signal"`
	SendRate int    `json:"send_rate"`
	Received uint64 `json:"received"` // bytes from it
	Sent     uint64 `json:"sent"`     // bytes to it
	Retries  uint64 `json:"retries"`  // frames to it that were sent again
	// Airtime is how long the radio has sent to it and received from it, in nanoseconds.
	Airtime uint64 `json:"airtime"`
}

// Queue is a qdisc, or what mac80211 has for the stations of a radio.
type Queue struct {
	Interface string `json:"interface"`
	Parent    string `json:"parent"`
	Kind      string `json:"kind"`
	Packets   uint64 `json:"packets"`
	Drops     uint64 `json:"drops"`
	// Marks are packets that were marked with CE instead of being dropped.
	Marks   uint64 `json:"marks"`
	Backlog uint64 `json:"backlog"` // bytes
	// Delay is how long packets wait, in seconds: the longest of its queues or
	// tins, or the airtime that what a radio's device has been given still takes (AQL); -1 if
	// it does not say.
	Delay float64 `json:"delay"`
}

// Service is a program that the router depends on.
type Service struct {
	Name  string `json:"name"`
	State string `json:"state"` // one word
	Text  string `json:"text,omitempty"`
}

// Temperature is a sensor's.
type Temperature struct {
	Name    string  `json:"name"`
	Celsius float64 `json:"celsius"`
}
