// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The kernel takes all rulesets of the loads but the largest, which take it long.
func TestRuleLoads(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: reads rulesets in a network namespace")
	}
	for _, l := range ruleLoads() {
		if l.Name == "blocklist" {
			continue
		}
		file := filepath.Join(t.TempDir(), l.Name+".nft")
		if err := os.WriteFile(file, []byte(l.ruleset()), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("unshare", "-n", "nft", "-c", "-f", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", l.Name, err, out)
		}
	}
}

// A load costs what a packet takes longer with it, for each time that it does
// what it does.
func TestCost(t *testing.T) {
	sample := func(device string, ns float64) Sample {
		return Sample{Device: device, Seconds: 1, Received: uint64(1e9 / ns), Busy: 1}
	}
	r := &Report{}
	for _, ns := range []float64{100, 200, 150, 300} {
		r.Samples = append(r.Samples, sample("l2d none", ns), sample("l2d set", ns+50))
	}
	if c := r.cost("l2d", ruleLoad{Name: "set", Times: 10}); math.Abs(c.Mid-5) > 0.01 || math.Abs(c.High-c.Low) > 0.01 {
		t.Errorf("%+v, want 5", c)
	}
}

func TestNoSuchLoad(t *testing.T) {
	if _, err := (&RulesCmd{Loads: []string{"nothing"}, Duration: time.Second}).loads(); err == nil {
		t.Error("a load that does not exist")
	}
	if l, err := (&RulesCmd{Loads: []string{"vmap", "set"}}).loads(); err != nil || len(l) != 3 || l[2].Name != "set" {
		t.Errorf("%v, %v", l, err)
	}
}
