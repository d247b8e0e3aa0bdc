// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

func scrapeQdiscs(c prometheus.Collector) (int, string) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestQdiscs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"link add v0 type veth peer name v1", "link set v0 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	// On this thread: a registry has others gather, which are in the host's namespace.
	ch := make(chan prometheus.Metric, 1000)
	NewQdiscCollector(slog.New(slog.DiscardHandler)).Collect(ch)
	close(ch)
	found := false
	for m := range ch {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{}
		for _, l := range d.Label {
			labels[l.GetName()] = l.GetValue()
		}
		found = found || m.Desc() == descQdiscBacklog && labels["interface"] == "v0" && labels["kind"] == "noqueue" && labels["parent"] == "root"
	}
	if !found {
		t.Error("nothing of v0")
	}
}

// reported is a collector of one report.
type reported struct {
	*QdiscCollector
	report tcnl.Report
}

func (r reported) Collect(ch chan<- prometheus.Metric) { collectQdisc(ch, &r.report, "wan0") }

func TestQdiscDetails(t *testing.T) {
	c := NewQdiscCollector(slog.New(slog.DiscardHandler))
	_, body := scrapeQdiscs(reported{c, tcnl.Report{
		Kind: "dualpi2", Parent: "root", Packets: 1, Bytes: 2, Drops: 3, Requeues: 4, Overlimits: 5, Queued: 6, Backlog: 7,
		Details: []tcnl.Value{{Name: "probability", Value: 0.5}, {Name: "step_marks", Value: 8, Counter: true}, {Name: "credit_bytes", Value: -9}},
	}})
	_, cake := scrapeQdiscs(reported{c, tcnl.Report{Kind: "cake", Parent: "1:2", Tins: []tcnl.Tin{
		{Name: "bulk", Values: []tcnl.Value{{Name: "drops", Value: 10, Counter: true}}}, {Name: "voice", Values: []tcnl.Value{{Name: "drops", Value: 11, Counter: true}}},
	}}})
	for _, line := range []string{
		`l2d_qdisc_packets_total{interface="wan0",kind="dualpi2",parent="root"} 1`, `l2d_qdisc_bytes_total{interface="wan0",kind="dualpi2",parent="root"} 2`,
		`l2d_qdisc_drops_total{interface="wan0",kind="dualpi2",parent="root"} 3`, `l2d_qdisc_requeues_total{interface="wan0",kind="dualpi2",parent="root"} 4`,
		`l2d_qdisc_overlimits_total{interface="wan0",kind="dualpi2",parent="root"} 5`, `l2d_qdisc_queued_packets{interface="wan0",kind="dualpi2",parent="root"} 6`,
		`l2d_qdisc_backlog_bytes{interface="wan0",kind="dualpi2",parent="root"} 7`,
		`l2d_qdisc_dualpi2_probability{interface="wan0",kind="dualpi2",parent="root"} 0.5`, `l2d_qdisc_dualpi2_step_marks_total{interface="wan0",kind="dualpi2",parent="root"} 8`,
		`l2d_qdisc_dualpi2_credit_bytes{interface="wan0",kind="dualpi2",parent="root"} -9`,
		`l2d_qdisc_cake_tin_drops_total{interface="wan0",kind="cake",parent="1:2",tin="bulk"} 10`, `l2d_qdisc_cake_tin_drops_total{interface="wan0",kind="cake",parent="1:2",tin="voice"} 11`,
	} {
		if !strings.Contains(body+cake, line+"\n") {
			t.Errorf("%s is not in\n%s%s", line, body, cake)
		}
	}
}

// TestQdiscNames: promtool has nothing to say about the names of what any kind
// reports.
func TestQdiscNames(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not there: scripts/setup.sh test installs it")
	}
	var body string
	for key, counter := range tcnl.DetailNames() {
		value := []tcnl.Value{{Name: key[strings.LastIndex(key, " ")+1:], Value: 1, Counter: counter}}
		r := tcnl.Report{Kind: strings.Fields(key)[0], Parent: "root", Details: value}
		if strings.HasPrefix(key, "cake tin ") {
			r.Details, r.Tins = nil, []tcnl.Tin{{Name: "bulk", Values: value}}
		}
		code, b := scrapeQdiscs(reported{NewQdiscCollector(slog.New(slog.DiscardHandler)), r})
		if code != http.StatusOK {
			t.Fatalf("%s: %s", key, b)
		}
		if i := strings.Index(b, "# HELP "+descName(key, counter)+" "); i < 0 {
			t.Errorf("%s is not served as %s", key, descName(key, counter))
		} else {
			body += strings.Join(strings.SplitAfter(b[i:], "\n")[:3], "")
		}
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func descName(key string, counter bool) string {
	name := "l2d_qdisc_" + strings.ReplaceAll(key, " ", "_")
	if counter {
		name += "_total"
	}
	return name
}
