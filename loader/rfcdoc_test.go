// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest  = regexp.MustCompile("`(Test\\w+)`(?: \\(`([^`]+)`\\))?")
	testFunc   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	identifier = regexp.MustCompile("`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`")
)

// elsewhere are the tests that the document names without their package.
var elsewhere = map[string]string{"TestL2D": "pkg/lab"}

// TestComplianceNames: each row of docs/rfc-compliance.md that claims something
// names a test, and what is named exists: tests, functions, settings.
func TestComplianceNames(t *testing.T) {
	doc, err := os.ReadFile("../docs/rfc-compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string]bool{}
	exists := func(dir, name string) bool {
		if tests[dir] == nil {
			tests[dir] = matches(t, filepath.Join("..", dir, "*_test.go"), testFunc)
		}
		return tests[dir][name]
	}
	known := map[string]bool{}
	for _, pattern := range []string{"../bpf/*.c", "../bpf/lib/*.h", "../docs/configuration.md", "../docs/nftables.md"} {
		for name := range matches(t, pattern, regexp.MustCompile(`\b([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\b`)) {
			known[name] = true
		}
	}
	for name := range matches(t, "../bpf/lib/types.h", regexp.MustCompile(`\bSTAT\((\w+)\)`)) {
		known[strings.ToLower(name)] = true
	}
	rows := 0
	for n, line := range strings.Split(string(doc), "\n") {
		for _, m := range identifier.FindAllStringSubmatch(line, -1) {
			if name := m[1]; !known[name] && !isKernels(name) {
				t.Errorf("line %d: there is no %s", n+1, name)
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) < 7 || strings.TrimSpace(cells[3]) == "state" || strings.HasPrefix(cells[1], "---") {
			continue
		}
		rows++
		named := namedTest.FindAllStringSubmatch(cells[len(cells)-2], -1)
		for _, m := range named {
			dir := m[2]
			if dir == "" || !strings.Contains(dir, "/") {
				dir = elsewhere[m[1]]
			}
			if dir == "" {
				dir = "loader"
			}
			if !exists(dir, m[1]) {
				t.Errorf("line %d: there is no %s in %s", n+1, m[1], dir)
			}
		}
		if state := strings.TrimSpace(cells[3]); len(named) == 0 && state != "n/a" {
			t.Errorf("line %d: %q, and no test", n+1, state)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows", rows)
	}
}

// isKernels tells names of the kernel's and of nftables'.
func isKernels(name string) bool {
	return strings.HasPrefix(name, "bpf_") || strings.HasPrefix(name, "nf_") || name == "rp_filter"
}

// matches are the first groups of all matches in files.
func matches(t *testing.T, pattern string, re *regexp.Regexp) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	return found
}
