// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Times there and back, of an idle router or of a busy one.

// probeInterval is what is between two probes: no tool waits for less without
// being asked again.
const probeInterval = 10 * time.Millisecond

// probes are how many there are in a while.
func probes(d time.Duration) string { return strconv.Itoa(int(d / probeInterval)) }

// underLoad names a tool by what runs beside it.
func underLoad(t Tool, beside *Tool) Tool {
	if t.Beside = beside; beside != nil {
		t.Name += " under load"
	}
	return t
}

var pingTime = regexp.MustCompile(`icmp_seq=([0-9]+) .*time=([0-9.]+) ms`)

func ping(beside *Tool) Tool {
	return underLoad(Tool{
		Name: "ping", Program: "ping", Package: "iputils-ping", Version: []string{"-V"},
		Client: func(d time.Duration) []string {
			return []string{"ping", "-n", "-c", probes(d), "-i", fmt.Sprint(probeInterval.Seconds()), server}
		},
		Read: func(out []byte, _ string) ([]Measure, error) { return readPings(out, pingTime) },
	}, beside)
}

var fpingTime = regexp.MustCompile(`\[([0-9]+)\], .*bytes, ([0-9.]+) ms`)

func fping(beside *Tool) Tool {
	return underLoad(Tool{
		Name: "fping", Program: "fping", Package: "fping", Version: []string{"--version"},
		Client: func(d time.Duration) []string {
			return []string{"fping", "-c", probes(d), "-p", strconv.FormatInt(probeInterval.Milliseconds(), 10), server}
		},
		Read: func(out []byte, _ string) ([]Measure, error) { return readPings(out, fpingTime) },
	}, beside)
}

func irtt(beside *Tool) Tool {
	return underLoad(Tool{
		Name: "irtt", Program: "irtt", Package: "irtt", Version: []string{"version"},
		Server: []string{"irtt", "server", "-b", server, "-i", "1ms"},
		Client: func(d time.Duration) []string {
			return []string{"irtt", "client", "-Q", "-d", d.String(), "-i", probeInterval.String(), "-o", "-", server}
		},
		Read: func(out []byte, _ string) ([]Measure, error) {
			var r struct {
				Trips []struct {
					Delay struct {
						RTT float64 `json:"rtt"` // ns
					} `json:"delay"`
					Lost string `json:"lost"`
				} `json:"round_trips"`
			}
			if err := json.Unmarshal(out, &r); err != nil {
				return nil, fmt.Errorf("irtt's JSON: %w", err)
			}
			var list []probe
			for i, t := range r.Trips {
				if t.Lost == "false" {
					list = append(list, probe{i, t.Delay.RTT / 1000})
				}
			}
			return roundTrips(list)
		},
	}, beside)
}

// readPings reads an answer's number and time of each line, in ms, the groups of at.
func readPings(out []byte, at *regexp.Regexp) ([]Measure, error) {
	var list []probe
	for _, m := range at.FindAllSubmatch(out, -1) {
		number, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", m[0], err)
		}
		v, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", m[0], err)
		}
		list = append(list, probe{number, v * 1000})
	}
	return roundTrips(list)
}

// roundTrips sums times up, in microseconds.
func roundTrips(answered []probe) ([]Measure, error) {
	if len(answered) == 0 {
		return nil, errors.New("nothing came back")
	}
	times, last := make([]float64, 0, len(answered)), 0
	for _, p := range answered {
		times, last = append(times, p.value), max(last, p.number)
	}
	slices.Sort(times)
	return []Measure{
		{Name: "p50", Unit: "µs", Value: quantile(times, 0.5), Quantiles: distribution(times), Over: overTime(answered, last+1)},
		{Name: "p99", Unit: "µs", Value: quantile(times, 0.99)},
	}, nil
}
