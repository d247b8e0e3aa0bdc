// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"flag"
	"os"
	"path/filepath"
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

func TestExamples(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"l2", "hardened"} {
		t.Run(name, func(t *testing.T) {
			seed := seedOf()
			for i := range uint64(2) { // XDP and TC
				begin := time.Now()
				res, err := r.Run(t.Context(), "../../../examples/"+name+"/firewall.nft", Options{Packets: *packets, Seed: seed + i, Fragments: true})
				if err != nil {
					t.Fatal(err)
				}
				m := res.Mismatch
				res.Mismatch = nil
				t.Logf("%+v in %v", *res, time.Since(begin))
				res.Mismatch = m
				if res.Mismatch != nil {
					t.Errorf("l2ctl lab diff --ruleset examples/%s/firewall.nft --packets %d --seed %d\n%s", name, *packets, seed+i, res.Mismatch)
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

// TestFound runs random rulesets again that have shown a difference once: as long
// as the generator makes the same of their seeds.
func TestFound(t *testing.T) {
	r := newRig(t)
	for _, seed := range []uint64{
		5001, // an ICMP error that quotes a packet from before its translation
	} {
		file := filepath.Join(t.TempDir(), "random.nft")
		if err := os.WriteFile(file, []byte(r.RandomRuleset(seed)), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := r.Run(t.Context(), file, Options{Packets: 1500, Seed: seed})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if res.Mismatch != nil {
			t.Errorf("seed %d\n%s", seed, res.Mismatch)
		}
	}
}
