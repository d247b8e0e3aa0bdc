// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"slices"
	"time"
)

// maxToolFlows is how many connections iperf is asked for at most: each is two threads.
const maxToolFlows = 1000

// Tools are the loads of other programs, in the order of the table. iperf has each of some
// numbers of connections at once.
func Tools(flows []int) []Tool {
	tools := []Tool{
		iperf3("iperf3 1 flow"),
		iperf3("iperf3 100 flows", "--parallel", "100"),
		iperf3("iperf3 download", "--reverse"),
		iperf3UDP(),
		iperf2("iperf2 download", 1, "--reverse"),
	}
	for _, n := range flows {
		tools = append(tools, iperf2(fmt.Sprintf("iperf2 %d at once", n), n))
	}
	tools = append(tools, netperf("TCP_RR"), netperf("TCP_CRR"), netperf("UDP_RR"), ping(nil), fping(nil), irtt(nil))
	busy := iperf3("iperf3 4 flows", "--parallel", "4")
	tools = append(tools, ping(&busy), fping(&busy), irtt(&busy), dnsperf(), wrk())
	return append(tools, flent("rrul"), flent("tcp_nup", "--test-parameter", "upload_streams=8"))
}

// byEach has each tool that can be told its congestion control once for each of some; with
// none of them, it does as the kernel does.
func byEach(tools []Tool, controls []string) (list []Tool) {
	for _, t := range tools {
		if t.Congestion == nil || len(controls) == 0 {
			list = append(list, t)
			continue
		}
		for _, control := range controls {
			list = append(list, t.by(control))
		}
	}
	return list
}

// chosen are those of the tools whose name or program is one of some words; none: all.
func chosen(all []Tool, words []string) (list []Tool, unknown []string) {
	if len(words) == 0 {
		return all, nil
	}
	known := map[string]bool{}
	for _, t := range all {
		if slices.Contains(words, t.Name) || slices.Contains(words, t.Program) {
			known[t.Name], known[t.Program] = true, true
			list = append(list, t)
		}
	}
	for _, w := range words {
		if !known[w] {
			unknown = append(unknown, w)
		}
	}
	return list, unknown
}

// seconds of a duration as tools want it, at least one.
func seconds(d time.Duration) int { return max(1, int(d.Round(time.Second)/time.Second)) }

// server is where the receiver of the topology answers.
var server = SinkAddr.Addr().String()
