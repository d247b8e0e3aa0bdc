// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHost runs random rulesets about what the programs ask the host.
func TestHost(t *testing.T) {
	r := newRig(t)
	first := seedOf()
	for seed := first; seed < first+uint64(*tries)/4; seed++ {
		file := filepath.Join(t.TempDir(), "random.nft")
		if err := os.WriteFile(file, []byte(r.RandomRuleset(seed, "hostmeta", "fib", "rt")), 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := r.Run(t.Context(), file, Options{Packets: *packets, Seed: seed})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if res.Mismatch != nil {
			t.Fatalf("seed %d:\n%s", seed, res.Mismatch)
		}
	}
}
