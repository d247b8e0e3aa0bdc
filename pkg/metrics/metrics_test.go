// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// fixed is a source of fixed values.
type fixed struct {
	status api.Status
	rules  []api.Rule
	err    error
}

func (f *fixed) Status(context.Context) (api.Status, error)     { return f.status, f.err }
func (f *fixed) RuleCounts(context.Context) ([]api.Rule, error) { return f.rules, f.err }

func scrape(t *testing.T, s Source) (int, string) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	log := slog.New(slog.DiscardHandler)
	reg.MustRegister(NewCollector(s, log))
	w := httptest.NewRecorder()
	newWithRules(reg, s, log).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestScrape(t *testing.T) {
	f := &fixed{
		status: api.Status{
			Version: "v1", Attached: true, Applied: time.UnixMilli(1500), ReloadError: "bad", Waiting: []string{"usb0"},
			Dataplane: loader.Status{
				Interfaces: []loader.InterfaceStatus{{Name: "br0", TC: true, XDP: loader.XDPOff}, {Name: "wan0", TC: true, XDP: loader.XDPNative}},
				Programs:   []loader.Program{{Name: "l2_xdp", VerifiedInstructions: 77, JITedBytes: 78}},
				Runs:       []loader.Run{{Name: "l2_xdp", Runs: 79, Time: 1500 * time.Millisecond}},
				Flows:      loader.FlowStatus{Confirmed: 1, MaxConfirmed: 2, HalfOpen: 3, MaxHalfOpen: 4, Collected: 5, Mappings: 7, Sources: 8, MaxPerSource: 9},
				Stats:      map[string]uint64{"drop_policy": 6, "flow_new": 23, "flow_confirmed": 24, "flow_expired": 25, "flow_table_full": 26, "log_lost": 27, "nat_tries": 900, "nat_tries_8": 10, "nat_tries_64": 3, "nat_tries_248": 2, "drop_nat_exhausted": 1},
				CPUs:       []loader.CPUStatus{{CPU: 1, XDPForwarded: 18, Own: 19}, {CPU: 3, TCForwarded: 20, Local: 21, Dropped: 22}},
			},
			CPUs:     []int{0, 1},
			Host:     &api.Host{Resources: 17, Drift: make([]reconcile.Change, 2), Pending: &reconcile.Pending{}, Error: "bad", Applies: map[string]uint64{api.ApplyUndone: 80}},
			Sync:     &api.Sync{Took: 20 * time.Millisecond, ElementChanges: 14, RulesetChanges: 15, Errors: 16, Error: "bad"},
			Followed: []api.FollowedSet{{Set: "inet filter lan6", Interface: "br0", Elements: 81, Error: "bad"}},
		},
		rules: []api.Rule{
			{Family: "inet", Table: "filter", Chain: "input", Handle: 9, Text: `iifname "lo" accept`, Packets: 10, Bytes: 11},
			{Family: "inet", Table: "filter", Chain: "input", Text: "policy drop", Policy: true, Packets: 12, Bytes: 13},
		},
	}
	code, body := scrape(t, f)
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	for _, line := range []string{
		`l2d_attached 1`,
		`l2d_build_info{version="v1"} 1`,
		`l2d_applied_timestamp_seconds 1.5`,
		`l2d_last_reload_refused 1`,
		`l2d_interfaces_waiting 1`,
		`l2d_interface_attached{hook="tc",interface="br0"} 1`,
		`l2d_interface_attached{hook="xdp",interface="br0"} 0`,
		`l2d_interface_attached{hook="xdp",interface="wan0"} 1`,
		`l2d_program_verified_instructions{program="l2_xdp"} 77`,
		`l2d_flows{tier="confirmed"} 1`,
		`l2d_flows_max{tier="confirmed"} 2`,
		`l2d_flows{tier="half_open"} 3`,
		`l2d_flows_max{tier="half_open"} 4`,
		`l2d_cpu_packets_total{cpu="1",fate="xdp_forwarded"} 18`,
		`l2d_cpu_packets_total{cpu="1",fate="own"} 19`,
		`l2d_cpu_packets_total{cpu="3",fate="tc_forwarded"} 20`,
		`l2d_cpu_packets_total{cpu="3",fate="local"} 21`,
		`l2d_cpu_packets_total{cpu="3",fate="dropped"} 22`,
		`l2d_packets_elsewhere_total 41`,
		`l2d_flow_entries_collected_total 5`,
		`l2d_nat_mappings 7`,
		`l2d_flow_sources 8`,
		`l2d_flows_per_source_max 9`,
		`l2d_nat_port_tries_bucket{le="8"} 10`,
		`l2d_nat_port_tries_bucket{le="64"} 13`,
		`l2d_nat_port_tries_bucket{le="248"} 15`,
		`l2d_nat_port_tries_bucket{le="+Inf"} 16`,
		`l2d_nat_port_tries_sum 900`,
		`l2d_nat_port_tries_count 16`,
		`l2d_drops_total{reason="policy"} 6`,
		`l2d_flow_changes_total{change="begun"} 23`,
		`l2d_flow_changes_total{change="confirmed"} 24`,
		`l2d_flow_changes_total{change="expired"} 25`,
		`l2d_limits_hit_total{limit="flows"} 26`,
		`l2d_limits_hit_total{limit="nat_ports"} 1`,
		`l2d_limits_hit_total{limit="fragments"} 0`,
		`l2d_events_total{event="log_lost"} 27`,
		`l2d_nat_mappings_max 2`,
		`l2d_program_native_bytes{program="l2_xdp"} 78`,
		`l2d_program_runs_total{program="l2_xdp"} 79`,
		`l2d_program_run_seconds_total{program="l2_xdp"} 1.5`,
		`l2d_applies_total{result="undone"} 80`,
		`l2d_applies_total{result="applied"} 0`,
		`l2d_rule_packets_total{chain="input",family="inet",handle="9",rule="iifname \"lo\" accept",table="filter"} 10`,
		`l2d_rule_bytes_total{chain="input",family="inet",handle="9",rule="iifname \"lo\" accept",table="filter"} 11`,
		`l2d_host_resources 17`,
		`l2d_followed_set_elements{interface="br0",set="inet filter lan6"} 81`,
		`l2d_followed_set_failed{interface="br0",set="inet filter lan6"} 1`,
		`l2d_host_drift 2`,
		`l2d_host_failed 1`,
		`l2d_host_change_pending 1`,
		`l2d_nftables_in_sync 0`,
		`l2d_nftables_sync_errors_total 16`,
		`l2d_nftables_sync_lag_seconds 0.02`,
		`l2d_nftables_changes_total{kind="elements"} 14`,
		`l2d_nftables_changes_total{kind="ruleset"} 15`,
		`l2d_rule_packets_total{chain="input",family="inet",handle="0",rule="policy drop",table="filter"} 12`,
	} {
		if !strings.Contains("\n"+body, "\n"+line+"\n") {
			t.Errorf("no line %s in:\n%s", line, body)
		}
	}
}

func TestScrapeDetached(t *testing.T) {
	code, body := scrape(t, &fixed{})
	if code != http.StatusOK || !strings.Contains(body, "\nl2d_attached 0\n") || strings.Contains(body, "l2d_rule_packets_total") {
		t.Errorf("status %d: %s", code, body)
	}
}

func TestScrapeFails(t *testing.T) {
	if code, body := scrape(t, &fixed{err: errors.New("no such map")}); code != http.StatusInternalServerError || !strings.Contains(body, "no such map") {
		t.Errorf("status %d: %s", code, body)
	}
}

// TestRulesChange: labels are those of the rules, also when others take their place; what
// they have of quotes and lines is escaped.
func TestRulesChange(t *testing.T) {
	h := &withRules{}
	first := []api.Rule{{Table: "a", Handle: 1, Packets: 1}, {Table: "b", Handle: 2}}
	second := []api.Rule{{Table: "a", Handle: 1, Packets: 2}, {Table: "c", Handle: 2, Text: "log prefix \"a\\b\nc\xff\"", Bytes: 1 << 60}, {Table: "d", Handle: 3}}
	for _, rules := range [][]api.Rule{first, second, first} {
		want := ""
		for _, f := range []struct {
			name, help string
			value      func(*api.Rule) uint64
		}{
			{ruleBytes, ruleBytesHelp, func(r *api.Rule) uint64 { return r.Bytes }},
			{rulePackets, rulePacketsHelp, func(r *api.Rule) uint64 { return r.Packets }},
		} {
			want += fmt.Sprintf("# HELP %s %s\n# TYPE %s counter\n", f.name, f.help, f.name)
			for _, r := range rules {
				text := ""
				if r.Text != "" {
					text = `log prefix \"a\\b\nc?\"`
				}
				want += fmt.Sprintf("%s{chain=\"\",family=\"\",handle=\"%d\",rule=\"%s\",table=\"%s\"} %d\n", f.name, r.Handle, text, r.Table, f.value(&r))
			}
		}
		if got := string(h.text(rules)); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}
