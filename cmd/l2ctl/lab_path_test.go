// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

func TestPathFlows(t *testing.T) {
	got, err := pathFlows([]string{"bbr3", "cubic/6@5s"})
	want := []path.Flow{{CongestionControl: "bbr3"}, {CongestionControl: "cubic", IPv6: true, After: 5 * time.Second}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "cubic/4", "reno@x", "reno@-1s", "/6"} {
		if _, err := pathFlows([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// It measures what it is told to, and refuses what it cannot.
func TestLabPath(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := execute(context.Background(), append([]string{"lab", "path"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	code, out, errs := run("--rate", "5", "--rtt", "20ms", "--queue", "4", "--duration", "2s", "--json", "reno", "cubic/6")
	var r path.Result
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || len(r.Flows) != 2 || r.Spec.Limit != 50_000 {
		t.Fatalf("%d: %s%s%v", code, out, errs, err)
	}
	for _, f := range r.Flows {
		if len(f.Seconds) != 2 || f.Seconds[0] <= 0 || f.Seconds[0] > 6e6 {
			t.Errorf("%s: %v bit/s in each second, of 5 Mbit/s", f.CongestionControl, f.Seconds)
		}
	}
	if code, out, errs = run("--duration", "1s", "reno"); code != 0 || !strings.Contains(out, "Mbit/s") || !strings.Contains(out, "queue p50") {
		t.Errorf("%d: %s%s", code, out, errs)
	}
	for _, bad := range [][]string{{"--rate", "0"}, {"--queue", "0"}, {"--loss", "100"}, {"--duration", "1ms"}, {"reno@x"}} {
		if code, _, errs := run(bad...); code != exitInput || !strings.Contains(errs, "want") {
			t.Errorf("%v: %d, %s", bad, code, errs)
		}
	}
	if code, _, errs := run("--duration", "1s", "nosuch"); code != exitFailure || !strings.Contains(errs, "nosuch") {
		t.Errorf("%d, %s", code, errs)
	}
}

// Of several runs there is the median, and how far they are apart.
func TestSpread(t *testing.T) {
	var all []path.Result
	for _, rate := range []float64{30e6, 10e6, 20e6, 50e6} {
		all = append(all, path.Result{Flows: []path.FlowResult{{Flow: path.Flow{CongestionControl: "reno"}, Rate: rate}}, Loss: rate / 1e9})
	}
	var out bytes.Buffer
	if err := printSpread(&out, all); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"4 runs", "reno Mbit/s 25.0 10.0 to 50.0", "lost % 2.5 1.0 to 5.0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
