// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// flent runs one of its tests, which are many flows and pings at once, with some
// more parameters.
func flent(test string, parameters ...string) Tool {
	return Tool{
		Name: "flent " + test, Program: "flent", Package: "flent, and netperf, in its section non-free,", Version: []string{"--version"},
		Server: netserver,
		Client: func(d time.Duration) []string {
			return append([]string{"flent", test, "--host", server, "--length", strconv.Itoa(max(seconds(d), 3)), "--step-size", "0.1", "--format", "summary", "--data-dir", "."}, parameters...)
		},
		Read: readFlent,
	}
}

// flentData is the part of flent's data file that is read: a value for each step,
// or none.
type flentData struct {
	Results map[string][]*float64 `json:"results"`
}

// readFlent sums up what a test has in its data file, which is kept.
func readFlent(_ []byte, dir string) ([]Measure, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.flent.gz"))
	if err != nil || len(files) != 1 {
		return nil, errors.Join(fmt.Errorf("flent has left %d data files, not one", len(files)), err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files[0], err)
	}
	var data flentData
	if err := json.NewDecoder(z).Decode(&data); err != nil {
		return nil, fmt.Errorf("%s: %w", files[0], err)
	}
	return data.measures()
}

// measures are the sum of the flows' rates, each way, and the pings' times.
func (d *flentData) measures() ([]Measure, error) {
	var list []Measure
	for _, way := range []string{"download", "upload"} {
		sum, n := 0.0, 0
		for name, values := range d.Results {
			if v := present(values); isFlow(name, way) && len(v) > 0 {
				sum += mean(v)
				n++
			}
		}
		if n > 0 {
			list = append(list, Measure{Name: way, Unit: "Mbit/s", Value: sum, Higher: true})
		}
	}
	var times []float64
	for name, values := range d.Results {
		if isPing(name) {
			times = append(times, present(values)...)
		}
	}
	if len(times) == 0 || len(list) == 0 {
		return nil, errors.New("flent's data has no flows, or no pings")
	}
	slices.Sort(times)
	return append(list,
		Measure{Name: "ping p50", Unit: "µs", Value: 1000 * quantile(times, 0.5), Over: d.pingsOverTime()},
		Measure{Name: "ping p99", Unit: "µs", Value: 1000 * quantile(times, 0.99)}), nil
}

// pingsOverTime are the times of all pings, in µs, in the course of the test: before, while
// and after its flows send.
func (d *flentData) pingsOverTime() []point {
	var all []probe
	steps := 0
	for name, values := range d.Results {
		if !isPing(name) {
			continue
		}
		steps = max(steps, len(values))
		for step, v := range values {
			if v != nil {
				all = append(all, probe{step, 1000 * *v})
			}
		}
	}
	return overTime(all, steps)
}

// isPing tells the series of a ping from those that flent computes.
func isPing(name string) bool {
	return strings.HasPrefix(name, "Ping (ms) ") && name != "Ping (ms) avg"
}

// isFlow tells the series of a flow from those that flent computes.
func isFlow(name, way string) bool {
	rest, ok := strings.CutPrefix(name, "TCP "+way)
	if !ok {
		return false
	}
	rest = strings.TrimSpace(rest)
	return rest != "sum" && rest != "avg" && rest != "totals"
}

func present(values []*float64) (out []float64) {
	for _, v := range values {
		if v != nil {
			out = append(out, *v)
		}
	}
	return out
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
