// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// TestLargeSets: what many system calls put into sets of a ruleset is all there, each
// element with its own value, and nothing else.
func TestLargeSets(t *testing.T) {
	t.Parallel()
	const elements = 2*fillBatch + 100
	r := newRouter(t)
	var addrs, marks, ranges []string
	for n := range elements {
		addr := fmt.Sprintf("%d.%d.%d", n>>16, n>>8&255, n&255)
		addrs = append(addrs, "10."+addr)
		marks = append(marks, fmt.Sprintf("10.%s : %d", addr, n))
		ranges = append(ranges, fmt.Sprintf("%s.0/25", addr))
	}
	r.mustApply(r.config(compiled(t, fmt.Sprintf(`table inet t {
		set addrs { type ipv4_addr; elements = { %s }; }
		map marks { type ipv4_addr : mark; elements = { %s }; }
		set ranges { type ipv4_addr; flags interval; elements = { %s }; }
		chain forward {
			type filter hook forward priority filter
			ip saddr @addrs drop
			ip saddr @ranges drop
			meta mark set ip saddr map @marks
		}
	}`, strings.Join(addrs, ", "), strings.Join(marks, ", "), strings.Join(ranges, ", ")))))
	for _, c := range []struct {
		set string
		key func(n uint32) []byte
	}{
		{"addrs_", func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, 10<<24|n) }},
		{"marks_", func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, 10<<24|n) }},
		{"ranges_", func(n uint32) []byte {
			return binary.BigEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 25), n<<8)
		}},
	} {
		m := r.policyMap(t, c.set)
		for n := range uint32(elements) {
			v, err := m.LookupBytes(c.key(n))
			if err != nil || v == nil {
				t.Fatalf("%s: element %d: %x, %v", c.set, n, v, err)
			}
			if got := binary.NativeEndian.Uint32(v[max(0, len(v)-8):]); c.set == "marks_" && got != n {
				t.Fatalf("%s: element %d has the mark %d: %x", c.set, n, got, v)
			}
		}
		if v, err := m.LookupBytes(c.key(elements)); v != nil || err != nil {
			t.Errorf("%s: one too many: %x, %v", c.set, v, err)
		}
	}
}
