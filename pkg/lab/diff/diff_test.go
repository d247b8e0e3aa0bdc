// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("diff.seed", 1, "seed of the first ruleset and of the traffic; 0: a new one")
	packets  = flag.Int("diff.packets", 1000, "packets through each ruleset")
	tries    = flag.Int("diff.rulesets", 20, "how many random rulesets to try")
	forever  = flag.Bool("diff.forever", false, "try random rulesets until a mismatch")
)

func newRig(t *testing.T) *Rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and BPF")
	}
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func seedOf() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return uint64(time.Now().UnixNano()) % 1e9
}

// TestExamples runs the rulesets that users begin with.
func TestExamples(t *testing.T) {
	runFiles(t, Options{Packets: *packets, Fragments: true}, "../../../examples/*/*.nft")
}

// TestRulesets runs the rulesets that are about one thing each. To add one is to
// add a file.
func TestRulesets(t *testing.T) {
	runFiles(t, Options{Packets: *packets}, "testdata/rulesets/*.nft")
}

// runFiles sends packets through each ruleset, by XDP and by TC.
func runFiles(t *testing.T, opt Options, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	r := newRig(t)
	seed := seedOf()
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimLeft(file, "./"), ".nft"), func(t *testing.T) {
			for i := range uint64(2) {
				begin, opt := time.Now(), opt
				opt.Seed = seed + i
				res, err := r.Run(t.Context(), file, opt)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s in %v", res, time.Since(begin))
				if res.Mismatch != nil {
					t.Errorf("l2ctl lab diff --ruleset %s --packets %d --seed %d\n%s", file, opt.Packets, opt.Seed, res.Mismatch)
				}
			}
		})
	}
}

// TestRandom runs random rulesets: always the same, so that a change that breaks
// one is told from luck, or with -diff.forever new ones until it is stopped.
func TestRandom(t *testing.T) {
	r := newRig(t)
	seed := seedOf()
	rulesets, sent, once := 0, 0, 0
	for ; rulesets < *tries || *forever; seed++ {
		file := filepath.Join(t.TempDir(), "random.nft")
		if err := os.WriteFile(file, []byte(r.RandomRuleset(seed)), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := r.Run(t.Context(), file, Options{Packets: *packets, Seed: seed})
		if err != nil {
			t.Fatalf("-diff.seed=%d: %v", seed, err)
		}
		rulesets++
		sent += res.Packets
		if res.Mismatch != nil && once == 0 {
			// The kernel's stacks behind the routers have clocks of their own.
			// What is a difference is one again.
			once++
			t.Logf("seed %d, tried again:\n%s", seed, res.Mismatch)
			if res, err = r.Run(t.Context(), file, Options{Packets: *packets, Seed: seed}); err != nil {
				t.Fatalf("-diff.seed=%d: %v", seed, err)
			}
		}
		if res.Mismatch != nil {
			t.Fatalf("go test ./pkg/lab/diff -run TestRandom -diff.rulesets=1 -diff.seed=%d -diff.packets=%d\n%s", seed, *packets, res.Mismatch)
		}
	}
	t.Logf("%d rulesets, %d packets, the last of seed %d", rulesets, sent, seed-1)
}
