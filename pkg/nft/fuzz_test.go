// SPDX-License-Identifier: GPL-2.0-only

package nft_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

var fuzzLinks = map[string]int{"lo": 1, "wan0": 3, "br0": 7}

// seedRulesets are files whose messages the fuzzer begins with.
func seedRulesets(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/fuzz/*.nft")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rulesets to begin with: %v", err)
	}
	return files
}

// Whatever nf_tables, or who claims to be it, answers: it is decoded and compiled,
// or refused. What compiles can be asked anything.
func FuzzCompile(f *testing.F) {
	if os.Geteuid() == 0 {
		var links []nft.Link
		for name, index := range fuzzLinks {
			links = append(links, nft.Link{Name: name, Index: index})
		}
		for _, file := range seedRulesets(f) {
			msgs, err := nft.Messages(f.Context(), file, links)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(1), nft.Pack(msgs))
			for _, m := range msgs {
				f.Add(byte(2), nft.Pack([]nft.Message{m}))
			}
		}
	}
	f.Fuzz(func(_ *testing.T, family byte, data []byte) {
		rs := nft.Assemble([]nft.Family{nft.FamilyInet, nft.FamilyIPv4, nft.FamilyIPv6}[family%3], data)
		p, err := policy.Compile(rs, policy.Options{Links: fuzzLinks, SetSize: 64})
		if err != nil {
			return
		}
		p.Lint()
		p.Hooks()
		p.Hash()
		p.Maps()
	})
}

// A file that is no ruleset, or an odd one, does not confuse who looks for the
// lines of its rules.
func FuzzLines(f *testing.F) {
	for _, file := range seedRulesets(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 1 + bytes.Count(text, []byte("\n"))
		for _, line := range nft.RuleLines(string(text)) {
			if line < 1 || line > lines {
				t.Errorf("line %d of %d", line, lines)
			}
		}
	})
}
