// SPDX-License-Identifier: GPL-2.0-only

package loader_test

import (
	"os"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// costs are how many instructions the verifier may walk of each program with
// the ruleset of examples/l2: about a tenth more than on Linux 6.18.
var costs = map[string]uint32{
	"l2_ingress":    54000,
	"l2_egress":     33000,
	"l2_xdp":        5500,
	"l2_gc_start":   5500,
	"l2_reevaluate": 100,
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

// stackBudget is how much of the 512 bytes of stack a chain of calls may take: the
// rest is for the next feature, and for rulesets that nest deeper.
const stackBudget = 448

// TestStackDepth keeps the deepest chain of calls from growing unseen. A chain that
// is deeper than the stack is only found by the ruleset that has it.
func TestStackDepth(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF")
	}
	for _, path := range []string{
		"../examples/l2/firewall.nft",
		"../examples/rulesets/port-forwards.nft",
		"../pkg/lab/diff/testdata/rulesets/reject.nft",
		"../pkg/lab/diff/testdata/rulesets/writes.nft",
	} {
		plan, err := enforce.PrepareRuleset(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		chains, err := loader.StackChains(plan.Loader)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range chains {
			t.Logf("%s: %s: %d bytes: %s", path, name, c.Depth, strings.Join(c.Frames, ", "))
			if c.Depth > stackBudget {
				t.Errorf(`%s: %s: a chain of calls takes %d bytes of stack, and may take %d: %s.
Put what is large into the scratch (scratch.h), or into a function beside the chain.`,
					path, name, c.Depth, stackBudget, strings.Join(c.Frames, ", "))
			}
		}
	}
}
