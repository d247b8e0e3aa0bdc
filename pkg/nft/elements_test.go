// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestTakeElements: what is read of a large set by taking it out is what a plain reading
// finds, of whatever kind the set is. Constant sets, and those of ranges, keep their
// elements.
func TestTakeElements(t *testing.T) {
	needRoot(t)
	defer func(n int) { takenAtOnce = n }(takenAtOnce)
	takenAtOnce = 1000
	const elements = 10_000
	list := func(element func(a, b, c int) string) string {
		var out []string
		for n := range elements {
			out = append(out, element(n>>16, n>>8&255, n&255))
		}
		return "elements = { " + strings.Join(out, ", ") + " }"
	}
	for _, c := range []struct {
		name, set string
		remain    bool
	}{
		{"hash", "set s { type ipv4_addr; size 65536; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d", a, b, c) }) + " }", false},
		{"timeouts", "set s { type ipv4_addr; flags timeout; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d timeout 1d", a, b, c) }) + " }", false},
		{"ranges", "set s { type ipv4_addr; flags interval; " + list(func(a, b, c int) string { return fmt.Sprintf("%d.%d.%d.4-%[1]d.%d.%d.9", a+10, b, c) }) + " }", true},
		{"pairs of ranges", "set s { type ipv4_addr . inet_service; flags interval; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d . 7-9", a, b, c) }) + " }", true},
		{"map", "map s { type ipv4_addr : mark; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d : 0x%x", a, b, c, c) }) + " }", false},
		{"verdict map", "map s { type ipv4_addr : verdict; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d : drop", a, b, c) }) + " }", false},
		{"constant", "set s { type ipv4_addr; flags constant; " + list(func(a, b, c int) string { return fmt.Sprintf("10.%d.%d.%d", a, b, c) }) + " }", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			use := "ip saddr @s drop"
			switch c.name {
			case "pairs of ranges":
				use = "ip saddr . tcp dport @s drop"
			case "map":
				use = "meta mark set ip saddr map @s"
			case "verdict map":
				use = "ip saddr vmap @s"
			}
			file := write(t, t.TempDir(), "large.nft", "table ip t {\n"+c.set+"\nchain c { type filter hook input priority 0; "+use+"; }\n}\n")
			var plain, taken []string
			if _, err := inNamespace(func() (*Ruleset, error) {
				if err := loadFile(context.Background(), file); err != nil {
					return nil, err
				}
				conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
				if err != nil {
					return nil, err
				}
				defer conn.Close()
				read := func(elements elementReader) ([]string, error) {
					rs := new(Ruleset)
					if err := readTables(conn, rs); err != nil {
						return nil, err
					}
					if err := readSets(conn, rs, nil, elements); err != nil {
						return nil, err
					}
					var out []string
					for _, e := range rs.Tables[0].Sets[0].Elements {
						e.Expires = 0
						out = append(out, fmt.Sprintf("%x %x %v %v %v %v %x", e.Key, e.KeyEnd, e.IntervalEnd, e.CatchAll, e.Timeout, e.Verdict, e.Data))
					}
					slices.Sort(out)
					return out, nil
				}
				if plain, err = read(readElements); err != nil {
					return nil, err
				}
				if taken, err = read(takeElements); err != nil {
					return nil, err
				}
				rest, err := read(readElements)
				if remain := len(rest) > 0; remain != c.remain {
					t.Errorf("%d elements are still there", len(rest))
				}
				return nil, err
			}); err != nil {
				t.Fatal(err)
			}
			if len(plain) < elements || !slices.Equal(taken, plain) {
				t.Errorf("%d elements read by taking them, %d plainly", len(taken), len(plain))
			}
		})
	}
}
