// SPDX-License-Identifier: GPL-2.0-only

package loader_test

import (
	"os"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// costs are how many instructions the verifier may walk of each program with
// the ruleset of examples/l2: about a tenth more than on Linux 6.18.
var costs = map[string]uint32{
	"l2_ingress":  32500,
	"l2_egress":   31000,
	"l2_xdp":      5000,
	"l2_gc_start": 1400,
}

// TestVerifierCost keeps what verification takes, which is most of what a change
// of a rule takes until it is in force, from growing unseen.
func TestVerifierCost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF")
	}
	plan, err := enforce.PrepareRuleset(t.Context(), "../examples/l2/firewall.nft")
	if err != nil {
		t.Fatal(err)
	}
	programs, err := loader.Check(plan.Loader)
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) != len(costs) {
		t.Errorf("%d programs, not %d", len(programs), len(costs))
	}
	for _, p := range programs {
		if p.VerifiedInstructions > costs[p.Name] {
			t.Errorf(`%s: the verifier walks %d instructions, and may %d.
It walks what follows a branch once for each way there that looks different to it.
Make a step that many ways lead to a function of its own (ctx_step, or __noinline
and not static: verified once), and a loop one of iter.h. LogLevelInstruction in
ebpf.ProgramOptions shows where it goes. If it is worth it, raise the number.`,
				p.Name, p.VerifiedInstructions, costs[p.Name])
		}
	}
}
