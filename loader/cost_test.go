// SPDX-License-Identifier: GPL-2.0-only

package loader_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// costsFile has the costs of each kernel series that they were ever measured on.
const costsFile = "testdata/costs.json"

var updateCosts = flag.Bool("loader.costs", false, "write "+costsFile+" anew for this kernel")

// costRulesets are what costs are kept of.
var costRulesets = []string{
	"examples/l2/firewall.nft",
	"examples/hardened/firewall.nft",
	"examples/rulesets/port-forwards.nft",
	"pkg/lab/diff/testdata/rulesets/reject.nft",
	"pkg/lab/diff/testdata/rulesets/writes.nft",
}

// costLinks are interfaces that the rulesets speak of: a hook has code of its own
// for each that it tells apart.
var costLinks = []string{"enp1s0", "enp66s0f0np0", "enp66s0f1np1", "br0", "wan0", "lan0"}

// seriesCosts are the costs on a kernel series, 6.18 say, and architecture.
type seriesCosts struct {
	// Release is the kernel that they were measured on. Native code depends on how a
	// kernel was built, the verifier's steps on its version only.
	Release  string                     `json:"release"`
	Rulesets map[string]map[string]cost `json:"rulesets"` // by file and program
}

// cost is what a program takes.
type cost struct {
	Verified uint32 `json:"verified_instructions"` // that the verifier walks
	JITed    uint32 `json:"jited_bytes"`
}

// growth is what a cost may be until it has to be accepted: 5 % more, and a few in
// small programs.
func growth(n uint32) uint32 { return n + max(n/20, 32) }

// TestVerifierCost keeps from growing unseen what verification takes, which is most
// of what a change of a rule takes until it is in force, and the native code, which
// shares the caches with all else.
func TestVerifierCost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF")
	}
	series, release := kernelSeries(t)
	all := readCosts(t)
	is := seriesCosts{Release: release, Rulesets: measureCosts(t)}
	if *updateCosts {
		all[series] = is
		writeCosts(t, all)
		return
	}
	was, ok := all[series]
	if !ok {
		t.Skipf("%s has no costs of Linux %s: make costs writes them", costsFile, series)
	}
	if was.Release != release {
		t.Logf("native code is not compared: this is Linux %s, not %s", release, was.Release)
	}
	for _, s := range grown(was, is) {
		t.Error(s)
	}
	if t.Failed() {
		t.Logf(`The verifier walks what follows a branch once for each way there that looks different to it.
Make a step that many ways lead to a function of its own (ctx_step, or __noinline
and not static: verified once), and a loop one of iter.h. LogLevelInstruction in
ebpf.ProgramOptions shows where it goes. If it is worth it: make costs, and say why
in the message of the commit.`)
	}
}

// grown says what costs more than it may.
func grown(was, is seriesCosts) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, ruleset := range costRulesets {
		for name, c := range is.Rulesets[ruleset] {
			old, ok := was.Rulesets[ruleset][name]
			switch {
			case !ok:
				complain("%s: %s is a new program", ruleset, name)
			case c.Verified > growth(old.Verified):
				complain("%s: %s: the verifier walks %d instructions, and may %d", ruleset, name, c.Verified, growth(old.Verified))
			case was.Release == is.Release && c.JITed > growth(old.JITed):
				complain("%s: %s has %d bytes of native code, and may have %d", ruleset, name, c.JITed, growth(old.JITed))
			}
		}
		for name := range was.Rulesets[ruleset] {
			if _, ok := is.Rulesets[ruleset][name]; !ok {
				complain("%s: there is no program %s any more", ruleset, name)
			}
		}
	}
	return problems
}

func TestCostsGrow(t *testing.T) {
	one := func(release string, verified, jited uint32) seriesCosts {
		return seriesCosts{release, map[string]map[string]cost{costRulesets[0]: {"l2_xdp": {verified, jited}}}}
	}
	was := one("a", 10000, 10000)
	for _, c := range []struct {
		name string
		is   seriesCosts
		n    int
	}{
		{"the same", was, 0},
		{"at the limit", one("a", 10500, 10500), 0},
		{"smaller", one("a", 1, 1), 0},
		{"verified", one("a", 10501, 10000), 1},
		{"native", one("a", 10000, 10501), 1},
		{"native, of another build", one("b", 10000, 20000), 0},
		{"verified, of another build", one("b", 10501, 10000), 1},
		{"none", seriesCosts{Release: "a"}, 1},
	} {
		if got := grown(was, c.is); len(got) != c.n {
			t.Errorf("%s: got %q", c.name, got)
		}
	}
	if got := grown(seriesCosts{}, was); len(got) != 1 {
		t.Errorf("a new program: got %q", got)
	}
}

// measureCosts loads the dataplane with each ruleset, in a network namespace whose
// interfaces are always the same.
func measureCosts(t *testing.T) map[string]map[string]cost {
	t.Helper()
	type result struct {
		costs map[string]map[string]cost
		err   error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		var r result
		if r.err = standIns(); r.err == nil {
			r.costs, r.err = costsHere(t)
		}
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.costs
}

func standIns() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	for i, name := range costLinks {
		l := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Index: 10 + i}}
		if err := netlink.LinkAdd(l); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
	}
	return nil
}

func costsHere(t *testing.T) (map[string]map[string]cost, error) {
	out := map[string]map[string]cost{}
	for _, ruleset := range costRulesets {
		plan, err := enforce.PrepareRuleset(t.Context(), filepath.Join("..", ruleset))
		if err != nil {
			return nil, err
		}
		programs, err := loader.Check(plan.Loader)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ruleset, err)
		}
		out[ruleset] = map[string]cost{}
		for _, p := range programs {
			out[ruleset][p.Name] = cost{Verified: p.VerifiedInstructions, JITed: p.JITedBytes}
		}
	}
	return out, nil
}

// kernelSeries is the version and architecture that costs depend on, "6.18 amd64"
// say, and the kernel's release.
func kernelSeries(t *testing.T) (series, release string) {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release = unix.ByteSliceToString(name.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("kernel %q: %v", release, err)
	}
	return fmt.Sprintf("%d.%d %s", major, minor, runtime.GOARCH), release
}

func readCosts(t *testing.T) map[string]seriesCosts {
	t.Helper()
	b, err := os.ReadFile(costsFile)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]seriesCosts{}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatalf("%s: %v", costsFile, err)
	}
	return all
}

func writeCosts(t *testing.T, all map[string]seriesCosts) {
	t.Helper()
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(costsFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
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
