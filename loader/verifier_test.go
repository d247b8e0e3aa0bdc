// SPDX-License-Identifier: GPL-2.0-only

package loader_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

var rulesets = flag.String("loader.rulesets", "../examples/*/*.nft", "files of TestVerifier, as patterns with commas")

// TestVerifier loads the dataplane with each ruleset: what one kernel's verifier
// follows another's does not.
func TestVerifier(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF")
	}
	for pattern := range strings.SplitSeq(*rulesets, ",") {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				plan, err := enforce.PrepareRuleset(t.Context(), file)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := loader.Check(plan.Loader); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
