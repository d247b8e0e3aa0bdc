// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

// writeRuns writes them as "lab path --json" does.
func writeRuns(t *testing.T, runs ...path.Result) string {
	t.Helper()
	var b bytes.Buffer
	for _, r := range runs {
		if err := json.NewEncoder(&b).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "runs.json")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Runs of the same over the same path are one line, and what went over the same path is together,
// from however many files.
func TestLabPaths(t *testing.T) {
	lossy := path.Spec{Rate: 10e6, RTT: 40 * time.Millisecond, Limit: 50_000, Loss: 0.01}
	marking := path.Spec{Rate: 100e6, RTT: 10 * time.Millisecond, Limit: 31_250, Mark: 5 * time.Millisecond}
	alone := func(s path.Spec, cc string, rate float64, p50 time.Duration) path.Result {
		return path.Result{Spec: s, Flows: []path.FlowResult{{Flow: path.Flow{CongestionControl: cc}, Rate: rate}}, Delay: path.Percentiles{P50: p50}, Loss: rate / 1e9}
	}
	pair := func(rate float64, fair time.Duration) path.Result {
		return path.Result{Spec: marking, Marked: 0.25, Jain: 0.9, Convergence: fair, Flows: []path.FlowResult{
			{Flow: path.Flow{CongestionControl: "bbr3"}, Rate: rate}, {Flow: path.Flow{CongestionControl: "cubic", After: 5 * time.Second, IPv6: true}, Rate: 2 * rate},
		}}
	}
	first := writeRuns(t, alone(lossy, "bbr3", 8e6, 3*time.Millisecond), pair(30e6, time.Second), alone(lossy, "cubic", 2e6, 0), pair(20e6, -1))
	second := writeRuns(t, alone(lossy, "bbr3", 9e6, 5*time.Millisecond), alone(lossy, "bbr3", 6e6, 4*time.Millisecond))
	var out, errs bytes.Buffer
	if code := execute(context.Background(), []string{"lab", "paths", first, second}, &out, &errs); code != 0 {
		t.Fatalf("%d: %s", code, errs.String())
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")[2:]
	want := []string{
		"| 10 Mbit/s, 40ms, 1 BDP, 1 % lost | bbr3 | 3 | 8.0 (6.0-9.0) | 4.0 (3.0-5.0) | 0.0 | 0.0 | 0.80 (0.60-0.90) |  |  |  |",
		"|  | cubic | 1 | 2.0 | 0.0 | 0.0 | 0.0 | 0.20 |  |  |  |",
		"| 100 Mbit/s, 10ms, 0.25 BDP, marks from 5ms | bbr3, cubic/6@5s | 2 | 25.0 (20.0-30.0), 50.0 (40.0-60.0) | 0.0 | 0.0 | 0.0 | 0.00 | 25.00 | 0.90 | 1.0, in 1 of 2 runs |",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d:\n%s\nwant:\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What is no run is refused, with the file's name.
func TestLabPathsRefuses(t *testing.T) {
	for _, bad := range []string{"{", "[]", `{"path": {"rate": 1}}`} {
		name := filepath.Join(t.TempDir(), "bad.json")
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if code := execute(context.Background(), []string{"lab", "paths", name}, &out, &errs); code != exitInput || !strings.Contains(errs.String(), name) || out.Len() > 0 {
			t.Errorf("%s: %d, %s%s", bad, code, errs.String(), out.String())
		}
	}
}
