// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Requests and answers, as many as there can be.

// dnsName is what dnsperf asks for, and dnsmasq answers.
const dnsName = "bench.invalid"

var (
	dnsRate    = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	dnsLatency = regexp.MustCompile(`Average Latency \(s\):\s+([0-9.]+)`)
	dnsLost    = regexp.MustCompile(`Queries lost:\s+([0-9]+)`)
)

// dnsPatience is how long dnsperf waits for an answer, in seconds, before it asks again. All that it asks at first are
// new flows, most of which a ruleset's limit may drop; it would have nothing more to ask with for its 5 seconds.
const dnsPatience = "0.2"

func dnsperf() Tool {
	return Tool{
		Name: "dnsperf", Program: "dnsperf", Package: "dnsperf", Version: []string{"-h"},
		Server: []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
			"--user=root", "--bind-interfaces", "--listen-address=" + server, "--address=/" + dnsName + "/" + server},
		Client: func(d time.Duration) []string {
			return []string{"dnsperf", "-s", server, "-d", dnsQueries, "-l", strconv.Itoa(seconds(d)), "-c", "10", "-t", dnsPatience}
		},
		Read: func(out []byte, _ string) ([]Measure, error) {
			return figures(out, "dnsperf",
				field{dnsRate, Measure{Name: "queries", Unit: "1/s", Higher: true}, 1},
				field{dnsLatency, Measure{Name: "mean", Unit: "µs"}, 1e6},
				field{dnsLost, Measure{Name: "lost", Unit: "queries"}, 1})
		},
	}
}

// dnsQueries is a file in the client's working directory.
const dnsQueries = "queries"

// prepare writes what clients read.
func prepare(dir string) error {
	return os.WriteFile(filepath.Join(dir, dnsQueries), []byte(dnsName+" A\n"), 0o600)
}

var (
	wrkRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkTime = regexp.MustCompile(`\s50%\s+([0-9.]+)(us|ms|s)\s`)
	wrkTail = regexp.MustCompile(`\s99%\s+([0-9.]+)(us|ms|s)\s`)
)

// wrk asks this program for a short page.
func wrk() Tool {
	self, err := os.Executable()
	if err != nil {
		self = "l2ctl"
	}
	return Tool{
		Name: "wrk", Program: "wrk", Package: "wrk", Version: []string{"--version"},
		Server: slices.Concat([]string{self}, serveCommand, []string{server + ":8080"}),
		Client: func(d time.Duration) []string {
			return []string{"wrk", "--latency", "--threads", "1", "--connections", "50", "--duration", strconv.Itoa(seconds(d)) + "s", "http://" + server + ":8080/"}
		},
		Read: func(out []byte, _ string) ([]Measure, error) {
			return figures(out, "wrk",
				field{wrkRate, Measure{Name: "requests", Unit: "1/s", Higher: true}, 1},
				field{wrkTime, Measure{Name: "p50", Unit: "µs"}, 1},
				field{wrkTail, Measure{Name: "p99", Unit: "µs"}, 1})
		},
	}
}

// field is where a figure stands in what a program prints: the first group, and
// what it is multiplied with. A second group is a unit of time.
type field struct {
	at    *regexp.Regexp
	m     Measure
	times float64
}

// figures reads figures out of what a program has printed: all have to be there.
func figures(out []byte, program string, fields ...field) ([]Measure, error) {
	var list []Measure
	for _, f := range fields {
		found := f.at.FindSubmatch(out)
		if found == nil {
			return nil, fmt.Errorf("%s printed no %s", program, f.m.Name)
		}
		v, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("%s's %s: %w", program, f.m.Name, err)
		}
		if len(found) > 2 {
			v *= map[string]float64{"us": 1, "ms": 1e3, "s": 1e6}[string(found[2])]
		}
		f.m.Value = v * f.times
		list = append(list, f.m)
	}
	return list, nil
}
