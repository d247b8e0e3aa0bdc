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

// What a program's sets had before another program took its place is theirs again, with what was done meanwhile.
func TestRestore(t *testing.T) {
	inPools(t, 0)
	ruleset := func(plain, ranges, nets, data string) string {
		return `table inet t {
		set plain { type ipv4_addr; counter; elements = { ` + plain + ` }; }
		set ranges { type ipv4_addr . inet_service; flags interval; counter; elements = { ` + ranges + ` }; }
		set nets { type ipv4_addr; flags interval, timeout; elements = { ` + nets + ` }; }
		map data { type ipv4_addr : mark; elements = { ` + data + ` }; }
		chain input { type filter hook input priority 0; policy accept;
			ip saddr @plain
			ip saddr . tcp dport @ranges
			ip saddr @nets
			meta mark set ip saddr map @data
		}
	}`
	}
	first := ruleset("192.168.1.7, 10.9.9.9", "192.168.0.0/16 . 22, 172.31.0.0/16 . 1", "10.0.0.0/8, 11.0.0.0/8 timeout 1h", "10.0.0.1 : 1")
	before := newHarness(t, compile(t, first))
	maps := func(h *harness) Maps { return h.coll.Maps }
	change := func(h *harness, name, add string, timeout time.Duration, deletes ...string) {
		t.Helper()
		for _, s := range h.p.Sets {
			if s.Name != name {
				continue
			}
			if add != "" {
				if err := s.Add(maps(h), add, timeout); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range deletes {
				if err := s.Delete(maps(h), e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	listed := func(h *harness) string {
		t.Helper()
		out := ""
		for _, s := range h.p.Sets {
			list, err := s.Elements(maps(h))
			if err != nil {
				t.Fatal(err)
			}
			out += "\n" + s.Name + ":"
			for _, e := range list {
				out += " " + e.Element
				if e.Expires > 0 {
					out += fmt.Sprint(" ", (e.Expires + time.Minute).Truncate(time.Hour))
				}
				if strings.Contains(e.State, "packets 1 ") {
					out += " counted"
				}
				out += ","
			}
		}
		return out
	}
	change(before, "plain", "10.0.0.7", 0, "10.9.9.9")
	change(before, "ranges", "172.16.0.0-172.16.0.9 . 80-90", 0, "172.31.0.0/16 . 1")
	change(before, "nets", "192.0.2.0/24", 5*time.Hour)
	change(before, "data", "10.0.0.2 : 9", 0)
	before.count(lanSSH, 1)
	const was = `
plain: 10.0.0.7, 192.168.1.7 counted,
ranges: 192.168.0.0/16 . 22 counted, 172.16.0.0-172.16.0.9 . 80-90,
nets: 10.0.0.0/8, 11.0.0.0/8 1h0m0s, 192.0.2.0/24 5h0m0s,
data: 10.0.0.1 : 0x00000001, 10.0.0.2 : 0x00000009,`
	if got := listed(before); got != was {
		t.Fatalf("%s\nwant%s", got, was)
	}

	// None of the sets is there meanwhile.
	again := newHarness(t, compile(t, first))
	if err := again.p.Restore(maps(again), Maps{}, maps(before)); err != nil {
		t.Fatal(err)
	}
	if got := listed(again); got != was {
		t.Errorf("%s\nwant%s", got, was)
	}
	if n := again.count(with(lanSSH, func(p *packet) { p.src, p.th = "172.16.0.5", tcp(1, 85, 2) }), 1); n != 1 {
		t.Error("not accepted")
	}
	for _, s := range again.p.Sets {
		if s.Name == "ranges" {
			if list, err := s.Elements(maps(again)); err != nil || !strings.Contains(list[1].State, "packets 1 ") {
				t.Errorf("%+v, %v: the element is not found", list, err)
			}
		}
	}

	// All of them are.
	meanwhile := newHarness(t, compile(t, ruleset("10.0.0.7, 10.9.9.9, 10.8.8.8", "192.168.0.0/16 . 22, 172.31.0.0/16 . 1, 172.30.0.0/16 . 1", "10.0.0.0/8, 12.0.0.0/8", "10.0.0.1 : 5")))
	if err := meanwhile.p.Carry(maps(meanwhile), maps(before)); err != nil {
		t.Fatal(err)
	}
	change(meanwhile, "plain", "10.0.0.5", 0)
	change(meanwhile, "ranges", "172.17.0.0/16 . 1", 0, "172.16.0.0-172.16.0.9 . 80-90")
	change(meanwhile, "nets", "198.51.100.0/24", 9*time.Hour, "192.0.2.0/24")
	change(meanwhile, "data", "10.0.0.2 : 8", 0)
	const is = `
plain: 10.0.0.5, 10.0.0.7, 192.168.1.7 counted,
ranges: 192.168.0.0/16 . 22 counted, 172.17.0.0/16 . 1,
nets: 10.0.0.0/8, 11.0.0.0/8 1h0m0s, 198.51.100.0/24 9h0m0s,
data: 10.0.0.1 : 0x00000001, 10.0.0.2 : 0x00000008,`
	third := newHarness(t, compile(t, first))
	if err := third.p.Restore(maps(third), maps(meanwhile), maps(before)); err != nil {
		t.Fatal(err)
	}
	if got := listed(third); got != is {
		t.Errorf("%s\nwant%s", got, is)
	}
}
