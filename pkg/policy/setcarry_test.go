// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What was added and counted while a policy ran goes on in the next one.
func TestCarry(t *testing.T) {
	ruleset := func(plain, chain string) string {
		return `table inet t {
		set plain { type ipv4_addr; counter; elements = { ` + plain + ` }; }
		set dyn { type ipv4_addr; flags dynamic, timeout; limit rate 1/hour burst 3 packets counter; }
		set ranges { type ipv4_addr . inet_service; flags interval; counter; elements = { 192.168.0.0/16 . 22 }; }
		set nets { type ipv4_addr; flags interval, timeout; elements = { 10.0.0.0/8 }; }
		map data { type ipv4_addr : mark; elements = { 10.0.0.1 : 1 }; }
		map verdicts { type inet_service : verdict; elements = { 1 : drop, 2 : jump c }; }
		chain c { ` + chain + `; }
		chain input { type filter hook input priority 0; policy accept;
			ip saddr @plain
			ip saddr . tcp dport @ranges
			tcp dport vmap @verdicts
			update @dyn { ip saddr } accept
			drop
		}
	}`
	}
	old := newHarness(t, compile(t, ruleset("192.168.1.7, 10.9.9.9", "drop")))
	set := func(h *harness, name string) *Set {
		t.Helper()
		for _, s := range h.p.Sets {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no set %s", name)
		return nil
	}
	for name, element := range map[string]string{
		"plain": "10.0.0.7", "ranges": "172.16.0.0-172.16.0.9 . 80-90", "nets": "192.0.2.0/24", "data": "10.0.0.2 : 9", "verdicts": "3 : jump c",
	} {
		if err := set(old, name).Add(old.coll.Maps, element, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := set(old, "nets").Add(old.coll.Maps, "198.51.100.0/24", time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := old.count(lanSSH, 2); n != 2 {
		t.Fatalf("%d accepted", n)
	}

	inPools(t, 0)
	next := newHarness(t, compile(t, ruleset("192.168.1.7", "accept")))
	if err := next.p.Carry(next.coll.Maps, old.coll.Maps); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"plain":    "10.0.0.7 counter packets 0 bytes 0, 192.168.1.7 counter packets 2 bytes 120",
		"dyn":      "192.168.1.7 counter packets 2 bytes 120",
		"ranges":   "192.168.0.0/16 . 22 counter packets 2 bytes 120, 172.16.0.0-172.16.0.9 . 80-90 counter packets 0 bytes 0",
		"nets":     "10.0.0.0/8, 192.0.2.0/24, 198.51.100.0/24 expires",
		"data":     "10.0.0.1 : 0x00000001, 10.0.0.2 : 0x00000009",
		"verdicts": "1 : drop, 2 : jump c, 3 : jump c",
	} {
		list, err := set(next, name).Elements(next.coll.Maps)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range list {
			expires := ""
			if e.Expires > 0 {
				expires = " expires"
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", e.Element, e.State))+expires)
		}
		if got := strings.Join(out, ", "); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	// The bucket goes on, too.
	if n := next.count(lanSSH, 5); n != 1 {
		t.Errorf("%d more accepted, want 1", n)
	}
	pk := with(lanSSH, func(p *packet) { p.src, p.th = "172.16.0.5", tcp(1, 85, 2) })
	before := next.count(pk, 1)
	list, err := set(next, "ranges").Elements(next.coll.Maps)
	if err != nil || before != 1 || list[1].State != "counter packets 1 bytes 60" {
		t.Errorf("%+v, %v: the element that was added is not found", list, err)
	}

	// Other statements make another set.
	other := newHarness(t, compile(t, strings.ReplaceAll(ruleset("192.168.1.7", "accept"), "limit rate 1/hour burst 3 packets counter", "counter")))
	if err := other.p.Carry(other.coll.Maps, old.coll.Maps); err != nil {
		t.Fatal(err)
	}
	if list, err := set(other, "dyn").Elements(other.coll.Maps); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v: want none", list, err)
	}
}
