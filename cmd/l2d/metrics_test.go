// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestMetrics: what a daemon serves is as promtool wants it, with all that there is.
func TestMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not there: scripts/setup.sh test installs it")
	}
	h := newHost(t)
	h.write("l2d.yaml", h.config()+"metrics: {listen: 127.0.0.1:9465, rules: true}\n")
	if out, err := h.command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	counted, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer counted.Close()
	h.start()
	h.expect("READY=1")
	_ = h.command("ping", "-c", "1", "-W", "1", "192.0.2.2").Run() // nobody answers
	h.write("firewall.nft", "no ruleset\n")
	if _, err := h.client().Reload(t.Context()); err == nil {
		t.Fatal("a ruleset that is none was loaded")
	}
	body, err := h.command("curl", "-sS", "--fail", "http://127.0.0.1:9465/metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"l2d_attached 1\n", `l2d_drops_total{reason="policy"} `, `l2d_flow_changes_total{change="begun"} `, `l2d_limits_hit_total{limit="nat_ports"} 0`,
		`l2d_rule_packets_total{chain="input",family="inet",handle="`, `l2d_qdisc_backlog_bytes{interface="wan0",`,
		`l2d_interface_transmit_packets_total{interface="wan0"} `, `l2d_interface_driver_total{interface="wan0",statistic="rx_queue_xdp_drops"} `,
		`l2d_program_runs_total{program="l2_egress"} `, `l2d_program_run_seconds_total{program="l2_egress"} `, `l2d_program_native_bytes{program="l2_ingress"} `, `l2d_host_drift 0`, `l2d_applies_total{result="refused"} 1`, "l2d_last_reload_refused 1\n",
	} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s is not in:\n%s", want, body)
		}
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
