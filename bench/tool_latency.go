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

var pingTime = regexp.MustCompile(`time=([0-9.]+) ms`)

func ping(beside *Tool) Tool {
	return underLoad(Tool{
		Name: "ping", Program: "ping", Package: "iputils-ping", Version: []string{"-V"},
		Client: func(d time.Duration) []string {
			return []string{"ping", "-n", "-c", probes(d), "-i", fmt.Sprint(probeInterval.Seconds()), server}
		},
		Read: func(out []byte, _ string) ([]Measure, error) { return readPings(out, pingTime) },
	}, beside)
}

var fpingTime = regexp.MustCompile(`bytes, ([0-9.]+) ms`)

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
			var list []float64
			for _, t := range r.Trips {
				if t.Lost == "false" {
					list = append(list, t.Delay.RTT/1000)
				}
			}
			return roundTrips(list)
		},
	}, beside)
}

// readPings reads a time for each line of an answer, in ms, the group of at.
func readPings(out []byte, at *regexp.Regexp) ([]Measure, error) {
	var list []float64
	for _, m := range at.FindAllSubmatch(out, -1) {
		v, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", m[0], err)
		}
		list = append(list, v*1000)
	}
	return roundTrips(list)
}

// roundTrips sums times up, in microseconds.
func roundTrips(list []float64) ([]Measure, error) {
	if len(list) == 0 {
		return nil, errors.New("nothing came back")
	}
	slices.Sort(list)
	return []Measure{
		{Name: "p50", Unit: "µs", Value: quantile(list, 0.5), Quantiles: distribution(list)},
		{Name: "p99", Unit: "µs", Value: quantile(list, 0.99)},
	}, nil
}
