// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// netserver is what netperf and flent talk to.
var netserver = []string{"netserver", "-D", "-4"}

// netperf exchanges a byte for a byte, again and again: in a connection, with one
// for each exchange, or by datagrams.
func netperf(test string) Tool {
	return Tool{
		Name: "netperf " + test, Program: "netperf", Package: "netperf, in its section non-free", Version: []string{"-V"},
		Server: netserver,
		Client: func(d time.Duration) []string {
			return []string{"netperf", "-H", server, "-t", test, "-l", strconv.Itoa(seconds(d)), "-P", "0",
				"--", "-o", "THROUGHPUT,P50_LATENCY,P99_LATENCY"}
		},
		Read: readNetperf,
	}
}

func readNetperf(out []byte, _ string) ([]Measure, error) {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	f := strings.Split(lines[len(lines)-1], ",")
	if len(f) != 3 {
		return nil, fmt.Errorf("netperf printed %.80q, not three figures", lines[len(lines)-1])
	}
	list := []Measure{{Name: "exchanges", Unit: "1/s", Higher: true}, {Name: "p50", Unit: "µs"}, {Name: "p99", Unit: "µs"}}
	for i := range list {
		var err error
		if list[i].Value, err = strconv.ParseFloat(f[i], 64); err != nil {
			return nil, fmt.Errorf("netperf's %s: %w", list[i].Name, err)
		}
	}
	return list, nil
}
