// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestBpftoolDoc: the sizes of maps and the members of a flow that docs/bpftool.md shows are
// those of this build.
func TestBpftoolDoc(t *testing.T) {
	b, err := os.ReadFile("../docs/bpftool.md")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := loadL2TC()
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	number := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	checked := 0
	check := func(name, key, value string) {
		m := spec.Maps[name]
		if m == nil {
			t.Errorf("there is no map %s", name)
			return
		}
		checked++
		if m.KeySize != number(key) || m.ValueSize != number(value) {
			t.Errorf("%s has keys of %d and values of %d bytes, not %s and %s", name, m.KeySize, m.ValueSize, key, value)
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^(l2_\w+) +\w+ +(\d+) +(\d+) `).FindAllStringSubmatch(doc, -1) {
		check(row[1], row[2], row[3])
	}
	for _, row := range regexp.MustCompile(`name (l2_\w+) .*\n\tkey (\d+)B  value (\d+)B`).FindAllStringSubmatch(doc, -1) {
		check(row[1], row[2], row[3])
	}
	if checked < 6 {
		t.Errorf("only %d maps are shown", checked)
	}
	stats, err := StatNames()
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`"(DROP_\w+)": \d`).FindAllStringSubmatch(doc, -1)
	for _, row := range shown {
		if !slices.Contains(stats, strings.ToLower(row[1])) {
			t.Errorf("there is no statistic %s", row[1])
		}
	}
	if len(shown) == 0 {
		t.Error("no statistic is shown")
	}
	value, ok := spec.Maps["l2_flows"].Value.(*btf.Struct)
	if !ok {
		t.Fatalf("a flow is %v", spec.Maps["l2_flows"].Value)
	}
	for _, m := range value.Members {
		if m.Name != "" && !regexp.MustCompile(`(?m)^            "`+m.Name+`": `).MatchString(doc) {
			t.Errorf("a flow's %s is not shown", m.Name)
		}
	}
}
