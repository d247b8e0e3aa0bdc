// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"os"
	"strings"
	"testing"
)

// TestLoad has a ruleset compiled and loaded, and tells how much code its hooks have.
func TestLoad(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: reads rulesets in a network namespace")
	}
	l := &loading{report: &Report{}, dir: t.TempDir()}
	for round := range 2 {
		if err := l.compileAndLoad(t.Context(), "l2", "../examples/l2/firewall.nft", round); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range l.report.Outcomes {
		if err := o.check(); err != nil {
			t.Error(err)
		}
		compile, load, both := o.Measures[0].Value, o.Measures[1].Value, o.Measures[2].Value
		if compile <= 0 || load <= 0 || both < max(compile, load) {
			t.Errorf("round %d: %v", o.Round, o.Measures)
		}
	}
	if n := len(l.report.Outcomes); n != 2 {
		t.Errorf("%d rounds", n)
	}
	code := map[string]float64{}
	for _, f := range l.report.Figures {
		code[f.Name] = f.Value
	}
	if code["forward, at most"] <= 0 || code["forward, at most"] >= code["forward without specialising"] {
		t.Errorf("instructions: %v", code)
	}
	var text strings.Builder
	if err := writeLoads(&text, l.report); err != nil || !strings.Contains(text.String(), "compile and load") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
