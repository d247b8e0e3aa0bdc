// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/nftrand"
)

var (
	seedFlag = flag.Uint64("diff.seed", 1, "seed of the first ruleset and of the traffic; 0: a new one")
	packets  = flag.Int("diff.packets", 1000, "packets through each ruleset")
	tries    = flag.Int("diff.rulesets", 20, "how many random rulesets to try")
	parallel = flag.Int("diff.parallel", runtime.NumCPU(), "how many of them at once")
	areas    = flag.String("diff.areas", "", "areas of the language that random rulesets are made of, with commas; none: all")
	minimise = flag.Duration("diff.minimise", time.Minute, "how long to make a ruleset smaller on which the routers differ")
	forever  = flag.Bool("diff.forever", false, "try random rulesets until a mismatch")
	onward   = flag.Bool("diff.onward", false, "go on with the next random ruleset after a mismatch")
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
	runFiles(t, Options{Packets: *packets}, "../../../examples/*/*.nft")
}

// TestRulesets runs the rulesets that are about one thing each. To add one is to
// add a file.
func TestRulesets(t *testing.T) {
	runFiles(t, Options{Packets: *packets}, "testdata/rulesets/*.nft")
}

// TestTracking is about connection tracking: states, windows, errors and their quotes,
// with settings of the seed. It runs one ruleset, by XDP and by TC, unless more, or
// others, are asked for.
func TestTracking(t *testing.T) {
	files, err := filepath.Glob("testdata/tracking/*.nft")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	const perFile = 2 // an even seed and an odd one
	first, count := uint64(0), uint64(perFile)
	if given("diff.seed") {
		first = seedOf()
	}
	if given("diff.rulesets") {
		count = uint64(*tries)
	}
	r := newRig(t)
	for seed := first; *forever || seed < first+count; seed++ {
		file := files[seed/perFile%uint64(len(files))]
		res, err := r.Run(t.Context(), file, Options{Packets: *packets, Seed: seed, Tracking: true, Minimise: *minimise})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(res)
		if res.Mismatch != nil {
			t.Errorf("go test ./pkg/lab/diff -run TestTracking -diff.rulesets=1 -diff.seed=%d -diff.packets=%d\n%s", seed, *packets, res.Mismatch)
			if !*onward {
				return
			}
		}
	}
}

// TestFound sends packets again on which the routers have differed.
func TestFound(t *testing.T) {
	files, err := filepath.Glob("testdata/found/*.packets")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	r := newRig(t)
	for _, file := range files {
		name := strings.TrimSuffix(file, ".packets")
		t.Run(filepath.Base(name), func(t *testing.T) {
			for seed := range uint64(2) {
				res, err := r.Run(t.Context(), name+".nft", Options{Seed: seed, Replay: file})
				if err != nil {
					t.Fatal(err)
				}
				if res.Packets == 0 {
					t.Error("no packets")
				}
				if res.Mismatch != nil {
					t.Errorf("l2ctl lab diff --ruleset %s.nft --replay %s --seed %d\n%s", name, file, seed, res.Mismatch)
				}
			}
		})
	}
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
			if filepath.Base(file) == "rejectframe.nft" && !nftrand.KernelRejectsFrames() {
				t.Skip("the kernel has no reject in chains of interfaces")
			}
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

// TestGenerator has nft load random rulesets: whatever stands beside it, a
// fragment has to make rules that nft takes.
func TestGenerator(t *testing.T) {
	r := newRig(t)
	for seed := range uint64(150) {
		text := r.RandomRuleset(seed)
		if _, err := r.routers[0].nft("flush ruleset; "+text, "-f", "-"); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// The random rulesets that are tried unless others are asked for. Not all seeds
// are without a difference yet: make fuzz-diff finds those that are not.
const (
	randomFirst = 18
	randomCount = 7
)

// given tells whether a flag was set.
func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// TestRandom runs random rulesets: always the same, so that a change that breaks
// one is told from luck, or with -diff.forever new ones until it is stopped.
func TestRandom(t *testing.T) {
	var next, rulesets, sent, refused, flakes, differ atomic.Int64
	first, count := int64(seedOf()), int64(*tries)
	if !given("diff.seed") && !given("diff.rulesets") {
		first, count = randomFirst, randomCount
	}
	next.Store(first)
	dir := t.TempDir()
	only := strings.FieldsFunc(*areas, func(c rune) bool { return c == ',' })
	work := func(r *Rig) error {
		for (*onward || !t.Failed()) && (*forever || next.Load() < first+count) {
			seed := uint64(next.Add(1) - 1)
			file := filepath.Join(dir, fmt.Sprintf("random-%d.nft", seed))
			if err := os.WriteFile(file, []byte(r.RandomRuleset(seed, only...)), 0o600); err != nil {
				return err
			}
			res, err := r.Run(t.Context(), file, Options{Packets: *packets, Seed: seed, Minimise: *minimise})
			switch {
			case errors.Is(err, ErrRefused):
				t.Logf("seed %d: %v", seed, err)
				refused.Add(1)
				continue
			case err != nil:
				return fmt.Errorf("-diff.seed=%d: %w", seed, err)
			case res.Mismatch != nil:
				t.Errorf("go test ./pkg/lab/diff -run TestRandom -diff.rulesets=1 -diff.seed=%d -diff.packets=%d -diff.areas=%s\n%s", seed, *packets, *areas, res.Mismatch)
				differ.Add(1)
				continue
			case res.Flake != nil:
				t.Logf("seed %d differed, and not again: %s", seed, res.Flake)
				flakes.Add(1)
			}
			os.Remove(file)
			if n := rulesets.Add(1); *forever && n%100 == 0 {
				t.Logf("%d rulesets, %d refused, up to seed %d", n, refused.Load(), seed)
			}
			sent.Add(int64(res.Packets))
		}
		return nil
	}
	var workers []*Rig
	for range *parallel {
		workers = append(workers, newRig(t))
	}
	var wg sync.WaitGroup
	for _, r := range workers {
		wg.Go(func() {
			if err := work(r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d rulesets, %d packets, up to seed %d; %d differed, %d refused, %d differed once and not again",
		rulesets.Load(), sent.Load(), next.Load()-1, differ.Load(), refused.Load(), flakes.Load())
	if refused.Load() > 1+rulesets.Load()/10 {
		t.Error("too many are refused")
	}
}

// runRandom runs random rulesets one after the other, as a change makes them: a few, or as many
// as TestRandom if that is asked for. A difference ends it, unless it is to go on. It returns how
// many there were to run, and how many of them the machine was too busy for.
func runRandom(t *testing.T, opt Options, change func(ruleset string) string) (count, stalled int) {
	t.Helper()
	r := newRig(t)
	count = 2
	if given("diff.rulesets") {
		count = *tries
	}
	opt.Minimise = *minimise
	first := seedOf()
	for opt.Seed = first; opt.Seed < first+uint64(count); opt.Seed++ {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("random-%d.nft", opt.Seed))
		if err := os.WriteFile(file, []byte(change(r.RandomRuleset(opt.Seed))), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := r.Run(t.Context(), file, opt)
		switch {
		case opt.Expiry && errors.Is(err, ErrStalled):
			stalled++
		case errors.Is(err, ErrRefused):
			t.Logf("seed %d: %v", opt.Seed, err)
		case err != nil:
			t.Fatalf("seed %d: %v", opt.Seed, err)
		case res.Mismatch != nil:
			t.Errorf("go test ./pkg/lab/diff -run %s -diff.rulesets=1 -diff.seed=%d -diff.packets=%d\n%s", t.Name(), opt.Seed, opt.Packets, res.Mismatch)
			if !*onward {
				return count, stalled
			}
		default:
			t.Log(res)
		}
	}
	return count, stalled
}

// fewPackets are those of each ruleset of a test that waits between them.
const fewPackets = 600

// TestExpiry runs random rulesets while flows end. It mostly waits.
func TestExpiry(t *testing.T) {
	count, stalled := runRandom(t, Options{Packets: fewPackets, Expiry: true}, shortLived)
	if stalled > 0 {
		t.Logf("the machine was too busy for %d of %d runs", stalled, count)
	}
}

// TestMoves runs random rulesets while routes change. It waits for what XDP remembers.
func TestMoves(t *testing.T) {
	opt := Options{Packets: fewPackets, Moves: true}
	if given("diff.rulesets") {
		opt.Packets = *packets
	}
	runRandom(t, opt, func(ruleset string) string { return ruleset })
}

// TestNotices gives l2d a rule that nftables does not have: the rig has to find
// it, and to show it with little else.
func TestNotices(t *testing.T) {
	const rule = `iifname "br0" counter accept`
	res, err := newRig(t).Run(t.Context(), "testdata/rulesets/families.nft", Options{
		Packets: 500, Seed: seedOf(), Minimise: time.Minute,
		change: func(ruleset string) string {
			return strings.ReplaceAll(ruleset, rule, strings.ReplaceAll(rule, "accept", "drop"))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := res.Mismatch
	if m == nil {
		t.Fatal("not seen")
	}
	t.Log(m)
	if lines := strings.Count(m.Ruleset, "\n"); lines > 10 || len(m.Replay) > 2 || !strings.Contains(m.Ruleset, rule) {
		t.Errorf("not small: %d lines, %d packets", lines, len(m.Replay))
	}
}

// TestRewind runs a ruleset with state of every kind twice: a table that is not
// as before the first run makes the second one another.
func TestRewind(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "state.nft")
	if err := os.WriteFile(file, []byte(r.RandomRuleset(100001, "maps", "sets", "limit", "object", "conntrack")), 0o600); err != nil {
		t.Fatal(err)
	}
	var first *Result
	for range 2 {
		res, err := r.run(t.Context(), file, Options{Packets: 1000, Seed: 2}, pass{})
		if err != nil {
			t.Fatal(err)
		}
		if res.Mismatch != nil {
			t.Fatal(res.Mismatch)
		}
		if first == nil {
			first = res
		}
		if r.applied != 1 {
			t.Error("loaded again")
		}
		if res.Out != first.Out || res.Local != first.Local || res.Hit != first.Hit {
			t.Errorf("first %v, then %v", first, res)
		}
	}
}
