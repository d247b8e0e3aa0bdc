// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// inPools has sets in pools, of a ruleset with more than most maps of them, until the
// test ends.
func inPools(t *testing.T, most int) {
	before := setMaps
	setMaps = most
	t.Cleanup(func() { setMaps = before })
}

// TestPools: what is in a pool, and how many maps a program refers to.
func TestPools(t *testing.T) {
	ruleset := func(addresses, ports int) string {
		var sets, rules strings.Builder
		for i := range addresses {
			fmt.Fprintf(&sets, "set a%d { type ipv4_addr; size 10; }\n", i)
			fmt.Fprintf(&rules, "ip saddr @a%d accept\n", i)
		}
		for i := range ports {
			fmt.Fprintf(&sets, "map p%d { type inet_service : verdict; flags interval; elements = { %d-%d : accept, * : continue }; }\n", i, 100*i, 100*i+9)
			fmt.Fprintf(&rules, "tcp dport vmap @p%d\n", i)
		}
		return fmt.Sprintf("table inet t { %s\nchain input { type filter hook input priority 0; policy drop;\n%s}\n}", &sets, &rules)
	}
	for _, tt := range []struct{ addresses, ports, pools, refs int }{
		{MaxSetMaps, 0, 0, MaxSetMaps},
		{MaxSetMaps + 1, 0, 1, 1},
		{20, 4, 0, 28},
		{21, 4, 1, 9},
		{20, 15, 2, 17},
		{40, 40, 3, 3},
	} {
		t.Run(fmt.Sprintf("%d %d", tt.addresses, tt.ports), func(t *testing.T) {
			p := compile(t, ruleset(tt.addresses, tt.ports))
			h := newHarness(t, p)
			refs := tt.addresses + 2*tt.ports
			for _, maps := range p.pools {
				refs -= len(maps) - 1
			}
			if len(p.pools) != tt.pools || refs != tt.refs || refs > MaxSetMaps {
				t.Errorf("%d pools, %d references", len(p.pools), refs)
			}
			from := func(i int) *packet {
				return &packet{iif: "br0", src: fmt.Sprintf("192.0.2.%d", i), dst: "10.0.0.1", proto: protoTCP, th: tcp(1, 65000, 2)}
			}
			// Each set is the one that its name says, and stays it as it changes.
			for i, s := range p.Sets {
				if s.isMap {
					continue
				}
				if h.run("policy_input", from(i)).accept {
					t.Errorf("%v: accepted what is in no set", s)
				}
				if err := s.Add(h.coll.Maps, fmt.Sprintf("192.0.2.%d", i), 0); err != nil {
					t.Fatal(err)
				}
				if got := h.run("policy_input", from(i)); !got.accept || !strings.Contains(got.rule.Text, "@"+s.Name+" ") {
					t.Errorf("%v: %+v", s, got)
				}
				if err := s.Flush(h.coll.Maps); err != nil {
					t.Fatal(err)
				}
			}
			for i := range tt.ports {
				pk := from(0)
				pk.th = tcp(1, uint16(100*i+9), 2)
				if !h.run("policy_input", pk).accept {
					t.Errorf("port %d is not accepted", 100*i+9)
				}
			}
		})
	}
}
