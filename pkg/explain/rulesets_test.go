// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"path/filepath"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// TestRulesets: what each of the rig's rulesets becomes with its notes passes the
// verifier, and a packet is explained.
func TestRulesets(t *testing.T) {
	if testing.Short() {
		t.Skip("loads each ruleset")
	}
	r := newRouter(t)
	files, err := filepath.Glob("../lab/diff/testdata/rulesets/*.nft")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rulesets: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r.in("", func() error {
				plan, err := enforce.PrepareRuleset(t.Context(), file)
				if err != nil {
					t.Logf("not for these interfaces: %v", err)
					return nil
				}
				for _, name := range []string{"lan0", "wan0"} {
					plan.Loader.Interfaces = append(plan.Loader.Interfaces, loader.Interface{Name: name, Index: plan.Links[name], XDP: loader.XDPOff})
				}
				e, err := Run(Target{Config: plan.Loader, Program: plan.Program, Name: plan.Links.Name}, Request{Packet: "iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:443 syn"})
				if err != nil {
					return err
				}
				if e.Verdict == Passed {
					t.Errorf("%+v", e)
				}
				return nil
			})
		})
	}
}
