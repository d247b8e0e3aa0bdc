// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// iperf3 is a bulk transfer by TCP, with some more arguments.
func iperf3(name string, arguments ...string) Tool {
	return Tool{
		Name: name, Program: "iperf3", Package: "iperf3", Version: []string{"--version"},
		Server: []string{"iperf3", "--server"},
		Client: func(d time.Duration) []string {
			return append([]string{"iperf3", "--client", server, "--json", "--time", strconv.Itoa(seconds(d))}, arguments...)
		},
		Congestion: func(control string) []string { return []string{"--congestion", control} },
		Read:       readIperf3,
	}
}

// iperf3UDP offers more datagrams than anything takes: what arrives is counted.
func iperf3UDP() Tool {
	t := iperf3("iperf3 UDP", "--udp", "--bitrate", "0", "--length", "1400")
	t.Congestion = nil
	return t
}

// iperf3Result is the part of iperf3's JSON that is read.
type iperf3Result struct {
	Error string `json:"error"`
	End   struct {
		Received *struct {
			Rate float64 `json:"bits_per_second"`
		} `json:"sum_received"`
		Sent struct {
			Retransmits *float64 `json:"retransmits"`
		} `json:"sum_sent"`
		// Of UDP.
		Sum *struct {
			Rate   float64 `json:"bits_per_second"`
			Lost   float64 `json:"lost_percent"`
			Jitter float64 `json:"jitter_ms"`
		} `json:"sum"`
	} `json:"end"`
}

func readIperf3(out []byte, _ string) ([]Measure, error) {
	var r iperf3Result
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("iperf3's JSON: %w", err)
	}
	switch {
	case r.Error != "":
		return nil, fmt.Errorf("iperf3: %s", r.Error)
	case r.End.Sum != nil:
		return []Measure{
			{Name: "rate", Unit: "Mbit/s", Value: r.End.Sum.Rate * (1 - r.End.Sum.Lost/100) / 1e6, Higher: true},
			{Name: "jitter", Unit: "ms", Value: r.End.Sum.Jitter},
		}, nil
	case r.End.Received == nil:
		return nil, errors.New("iperf3's JSON has no result")
	}
	list := []Measure{{Name: "rate", Unit: "Mbit/s", Value: r.End.Received.Rate / 1e6, Higher: true}}
	if n := r.End.Sent.Retransmits; n != nil {
		list = append(list, Measure{Name: "retransmitted", Unit: "segments", Value: *n})
	}
	return list, nil
}

// iperf2 is a bulk transfer by TCP with a number of flows, and some more arguments.
func iperf2(name string, flows int, arguments ...string) Tool {
	return Tool{
		Name: name, Program: "iperf", Package: "iperf", Version: []string{"--version"},
		Server: []string{"iperf", "--server"},
		Client: func(d time.Duration) []string {
			return append([]string{"iperf", "--client", server, "--time", strconv.Itoa(seconds(d)), "--reportstyle", "C", "--parallel", strconv.Itoa(flows)}, arguments...)
		},
		Congestion: func(control string) []string { return []string{"--linux-congestion", control} },
		Read:       func(out []byte, _ string) ([]Measure, error) { return readIperf2(out, flows) },
	}
}

// readIperf2 adds the flows up: a line each, time, addresses and ports, number,
// interval, bytes and bits a second. With several, one line has their sum, and -1
// for a number.
func readIperf2(out []byte, flows int) ([]Measure, error) {
	var sum float64
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) < 9 || f[5] == "-1" {
			continue
		}
		rate, err := strconv.ParseFloat(f[8], 64)
		if err != nil {
			return nil, fmt.Errorf("iperf's line %.80q: %w", line, err)
		}
		sum += rate
		n++
	}
	if n != flows {
		return nil, fmt.Errorf("iperf told of %d flows, not of %d", n, flows)
	}
	return []Measure{{Name: "rate", Unit: "Mbit/s", Value: sum / 1e6, Higher: true}}, nil
}
