// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReadTools reads what tools have printed: the lines that matter of real runs.
func TestReadTools(t *testing.T) {
	byName := map[string]Tool{}
	for _, tool := range Tools([]int{1, 10}) {
		if byName[tool.Name].Name != "" {
			t.Errorf("two tools are %q", tool.Name)
		}
		byName[tool.Name] = tool
	}
	for _, tt := range []struct {
		tool, out string
		want      []float64
	}{
		{"iperf3 1 flow", `{"end":{"sum_sent":{"bits_per_second":2.5e9,"retransmits":3},"sum_received":{"bits_per_second":2e9}}}`, []float64{2000, 3}},
		{"iperf3 UDP", `{"end":{"sum":{"bits_per_second":1e9,"jitter_ms":0.02,"lost_percent":25}}}`, []float64{750, 0.02}},
		{"iperf3 1 flow", `{"start":{},"end":{},"error":"unable to connect to server: Connection refused"}`, nil},
		{"iperf3 1 flow", `{"end":{}}`, nil},
		{"iperf2 1 at once", "19700101000000,10.0.0.2,38542,172.16.0.2,5001,1,0.0-2.1,37637908,145974810\n", []float64{145.97481}},
		{"iperf2 10 at once", "19700101000000,10.0.0.2,38542,172.16.0.2,5001,1,0.0-2.1,37637908,145974810\n", nil},
		{"netperf TCP_RR", "42190.22,24,38\n", []float64{42190.22, 24, 38}},
		{"netperf TCP_RR", "netperf: send_tcp_rr: connect failed\n", nil},
		{"ping", "PING 172.16.0.2 (172.16.0.2) 56(84) bytes of data.\n64 bytes from 172.16.0.2: icmp_seq=1 ttl=63 time=0.082 ms\n64 bytes from 172.16.0.2: icmp_seq=2 ttl=63 time=0.080 ms\n", []float64{81, 81.98}},
		{"ping", "PING 172.16.0.2 (172.16.0.2) 56(84) bytes of data.\n\n--- 172.16.0.2 ping statistics ---\n", nil},
		{"fping", "172.16.0.2 : [0], 64 bytes, 0.073 ms (0.073 avg, 0% loss)\n", []float64{73, 73}},
		{"irtt", `{"round_trips":[{"lost":"false","delay":{"rtt":130000}},{"lost":"true","delay":{"rtt":0}}]}`, []float64{130, 130}},
		{"dnsperf", "  Queries lost:         10 (0.02%)\n  Queries per second:   23901.858179\n\n  Average Latency (s):  0.003311 (min 0.000023, max 1.070609)\n", []float64{23901.858179, 3311, 10}},
		{"dnsperf", "  Queries lost:         10 (0.02%)\n", nil},
		{"wrk", "     50%  174.00us\n     90%  447.00us\n     99%    1.58ms\nRequests/sec:  24064.63\n", []float64{24064.63, 174, 1580}},
	} {
		got, err := byName[tt.tool].Read([]byte(tt.out), t.TempDir())
		if (err != nil) != (tt.want == nil) || len(got) != len(tt.want) {
			t.Errorf("%s: %.60q: %v, %v; want %v", tt.tool, tt.out, got, err, tt.want)
			continue
		}
		for i := range got {
			if math.Abs(got[i].Value-tt.want[i]) > 1e-6*tt.want[i] {
				t.Errorf("%s: %s is %g, want %g", tt.tool, got[i].Name, got[i].Value, tt.want[i])
			}
		}
	}
}

// TestByEach: only what can be told its congestion control is there for each of them.
func TestByEach(t *testing.T) {
	var got []string
	for _, tool := range byEach([]Tool{iperf3("iperf3"), iperf3UDP(), iperf2("iperf2", 500)}, []string{"bbr3", "cubic"}) {
		got = append(got, tool.Name+": "+strings.Join(tool.Client(2*time.Second), " "))
	}
	want := []string{
		"iperf3 bbr3: iperf3 --client 172.16.0.2 --json --time 2 --congestion bbr3",
		"iperf3 cubic: iperf3 --client 172.16.0.2 --json --time 2 --congestion cubic",
		"iperf3 UDP: iperf3 --client 172.16.0.2 --json --time 2 --udp --bitrate 0 --length 1400",
		"iperf2 bbr3: iperf --client 172.16.0.2 --time 2 --reportstyle C --parallel 500 --linux-congestion bbr3",
		"iperf2 cubic: iperf --client 172.16.0.2 --time 2 --reportstyle C --parallel 500 --linux-congestion cubic",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFlentData adds flows up, and leaves out what flent has computed.
func TestFlentData(t *testing.T) {
	v := func(list ...float64) (out []*float64) {
		for i := range list {
			out = append(out, &list[i])
		}
		return append(out, nil)
	}
	d := flentData{Results: map[string][]*float64{
		"TCP download BE": v(10, 20), "TCP download EF": v(5), "TCP download avg": v(7), "TCP download sum": v(20),
		"TCP upload::1": v(1, 3), "TCP upload sum": v(3), "Ping (ms) ICMP": v(0.1, 0.3), "Ping (ms) avg": v(9), "TCP totals": v(23),
	}}
	got, err := d.measures()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"download": 20, "upload": 2, "ping p50": 200, "ping p99": 298}
	for _, m := range got {
		if math.Abs(m.Value-want[m.Name]) > 1e-6 {
			t.Errorf("%s, want %g", m, want[m.Name])
		}
		delete(want, m.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if _, err := (&flentData{}).measures(); err == nil {
		t.Error("no data is no error")
	}
}

// TestRunTools has real tools measure the kernel's forwarding: figures, raw output,
// and a file that can be read again.
func TestRunTools(t *testing.T) {
	needRoot(t)
	busy := iperf3("iperf3 beside")
	tools := []Tool{iperf3("iperf3 1 flow"), ping(&busy)}
	for i := range tools {
		if why := tools[i].missing(); why != "" {
			t.Fatal(why)
		}
	}
	dir := t.TempDir()
	r, err := RunTools(t.Context(), []Device{Forward{}}, tools, dir, Options{Repetitions: 1, Duration: time.Second, GenCPU: 0, RouterCPU: 1}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Outcomes) != 2 || r.Outcomes[0].Measures[0].Value <= 0 || r.Outcomes[0].Busy <= 0 {
		t.Fatalf("%+v", r.Outcomes)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "iperf3-1-flow-forward-1", "client.out")); err != nil || !bytes.Contains(b, []byte("sum_received")) {
		t.Errorf("raw output: %.100s, %v", b, err)
	}
	if !strings.Contains(r.Environment.Tools["iperf3"], "iperf 3") {
		t.Errorf("versions: %v", r.Environment.Tools)
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b, nil); err != nil {
		t.Fatal(err)
	}
	again, err := ReadJSON(&b)
	if err != nil || len(again.Outcomes) != 2 {
		t.Errorf("read again: %v", err)
	}
	if c := again.distributions(); len(c) != 1 || !strings.HasPrefix(c[0].title, "ping under load") || !strings.Contains(c[0].svg(true), "<polyline") {
		t.Errorf("distributions: %+v", c)
	}
	var table bytes.Buffer
	if err := writeTools(&table, r, []string{"wrk: not there"}); err != nil || !strings.Contains(table.String(), "ping under load") || !strings.Contains(table.String(), "left out: wrk") {
		t.Errorf("%v\n%s", err, &table)
	}
}

// TestToolFails: what a program says when it fails is in the error, and nothing is
// left running.
func TestToolFails(t *testing.T) {
	needRoot(t)
	nobody := ping(nil)
	nobody.Name, nobody.Client = "nobody", func(time.Duration) []string { return []string{"ping", "-c", "1", "-W", "1", "172.16.0.77"} }
	deaf := iperf3("deaf")
	deaf.Server = []string{"false"}
	for _, tool := range []Tool{nobody, deaf} {
		r, err := RunTools(t.Context(), []Device{Forward{}}, []Tool{tool}, t.TempDir(), Options{Repetitions: 1, Duration: time.Second, GenCPU: 0, RouterCPU: 1}, func(string) {})
		if err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%s: %v", tool.Name, err)
		}
		if len(r.Outcomes) != 0 {
			t.Errorf("%s: %+v", tool.Name, r.Outcomes)
		}
	}
}
