// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

const monitoring = "../../examples/monitoring"

// served are the names of all metrics that there can be.
func served(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{rulePackets: true, ruleBytes: true}
	log := slog.New(slog.DiscardHandler)
	for _, c := range []prometheus.Collector{NewCollector(nil, log), NewQdiscCollector(log), NewServiceCollector(nil, log), NewClientCollector(nil), NewWiFiCollector(nil, log)} {
		ch := make(chan *prometheus.Desc)
		go func() {
			c.Describe(ch)
			close(ch)
		}()
		for d := range ch {
			name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())
			if name == nil {
				t.Fatalf("no name in %s", d)
			}
			names[name[1]] = true
		}
	}
	return names
}

// dashboardQueries are the expressions of the dashboard, with values for its
// variables.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			list = append(list, strings.ReplaceAll(q.Expr, "$__rate_interval", "1m"))
		}
	}
	if len(list) < 20 {
		t.Fatalf("only %d queries in the dashboard", len(list))
	}
	return list
}

// TestExampleNames: dashboard and alerts ask for metrics that there are.
func TestExampleNames(t *testing.T) {
	names := served(t)
	alerts, err := os.ReadFile(filepath.Join(monitoring, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(dashboardQueries(t), string(alerts)) {
		for _, name := range regexp.MustCompile(`\bl2d_\w+`).FindAllString(text, -1) {
			if !names[name] && !names[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s: there is no metric %s", text, name)
			}
		}
	}
}

// TestExamplesParse has promtool read the examples.
func TestExamplesParse(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not there: scripts/setup.sh test installs it")
	}
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range dashboardQueries(t) {
		rules += fmt.Sprintf("  - record: q%d\n    expr: %q\n", i, q)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "config", filepath.Join(monitoring, "prometheus.yml")}, {"check", "rules", filepath.Join(monitoring, "alerts.yml")}, {"check", "rules", file},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
