// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// from returns a packet of another source.
func from(pk packet, src string) packet {
	return with(pk, func(p *packet) { p.src = src })
}

func TestDynsetAdd(t *testing.T) {
	p := compile(t, `table inet t {
		set d { type ipv4_addr; size 2; flags dynamic; }
		chain input { type filter hook input priority 0; policy drop;
			udp dport 3333 ip saddr @d accept
			tcp dport 22 add @d { ip saddr } accept
			tcp dport 23 delete @d { ip saddr } accept
		}
	}`)
	h := newHarness(t, p)
	ask := from(wanDNS, "10.0.0.1")
	forget := with(from(lanSSH, "10.0.0.1"), func(p *packet) { p.th = tcp(1, 23, 2) })
	for i, step := range []struct {
		packet packet
		accept bool
	}{
		{ask, false},
		{forget, true}, // goes on whether it was there or not
		{from(lanSSH, "10.0.0.1"), true},
		{ask, true},
		{from(lanSSH, "10.0.0.2"), true},
		{from(lanSSH, "10.0.0.3"), false}, // full
		{from(lanSSH, "10.0.0.2"), true},  // there already
		{forget, true},
		{ask, false},
		{from(lanSSH, "10.0.0.3"), true},
	} {
		if r := h.run("policy_input", &step.packet); r.accept != step.accept {
			t.Errorf("step %d: accepted %v", i, r.accept)
		}
	}
	elements, err := p.Sets[0].Elements(h.coll.Maps)
	if want := "[{Element:10.0.0.2 State: Expires:0s} {Element:10.0.0.3 State: Expires:0s}]"; err != nil || fmt.Sprintf("%+v", elements) != want {
		t.Errorf("elements %v, %v, want %s", elements, err, want)
	}
}

// add leaves the timeout as it is, update begins it anew.
func TestDynsetTimeouts(t *testing.T) {
	h := newHarness(t, compile(t, `table inet t {
		set a { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 10m; }
		set u { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 1h; }
		chain input { type filter hook input priority 0; policy drop;
			udp dport 1 ip saddr . udp sport @a accept
			udp dport 2 ip saddr . udp sport @u accept
			udp dport 3 add @a { ip saddr . udp sport } update @u { ip saddr . udp sport timeout 10m }
		}
	}`))
	now := Now()
	for i, step := range []struct {
		port   uint16
		after  time.Duration
		accept bool
	}{
		{1, 0, false}, {2, 0, false},
		{3, 0, false},
		{1, 0, true}, {2, 0, true},
		{3, 8 * time.Minute, false},
		{1, 9 * time.Minute, true}, {2, 9 * time.Minute, true},
		{1, 11 * time.Minute, false}, {2, 11 * time.Minute, true}, {2, 19 * time.Minute, false},
		// What has expired is added like what never was.
		{3, 20 * time.Minute, false},
		{1, 29 * time.Minute, true}, {2, 29 * time.Minute, true},
		{1, 31 * time.Minute, false}, {2, 31 * time.Minute, false},
	} {
		pk := with(wanDNS, func(p *packet) { p.th, p.now = udp(53, step.port), now+uint64(step.after) })
		if r := h.run("policy_input", &pk); r.accept != step.accept {
			t.Errorf("step %d, port %d after %v: accepted %v", i, step.port, step.after, r.accept)
		}
	}
}

// Each source has a bucket, a quota, of its own.
func TestDynsetState(t *testing.T) {
	for _, tt := range []struct {
		statement string
		want      int // of 10 packets with 60 bytes, for each source
	}{
		{"add @d { ip saddr limit rate 6/minute burst 4 packets } accept", 4},
		{"update @d { ip saddr limit rate over 6/minute burst 3 packets } drop\naccept", 3},
		{"add @d { ip saddr timeout 1m limit rate 100 bytes/hour burst 200 bytes } accept", 5},
		{"add @d { ip saddr quota 180 bytes } accept", 3},
		{"add @d { ip saddr quota over 180 bytes } drop\naccept", 3},
		{"add @d { ip saddr counter } accept", 10},
		// Each statement is evaluated until one breaks the rule.
		{"add @d { ip saddr limit rate 6/minute burst 4 packets quota 180 bytes } accept", 3},
		{"add @d { ip saddr quota 180 bytes limit rate 6/minute burst 2 packets } accept", 2},
		{"meter m { ip saddr limit rate over 6/minute burst 2 packets } drop\naccept", 2},
		// A lookup takes tokens too.
		{"add @d { ip saddr limit rate 6/minute burst 4 packets } ip saddr @d accept", 2},
	} {
		p := compile(t, "table inet t { set d { type ipv4_addr; flags dynamic, timeout; }\n chain input { type filter hook input priority 0; policy drop;\n"+tt.statement+"\n}\n}\n")
		h := newHarness(t, p)
		for _, src := range []string{"10.0.0.1", "10.0.0.2"} {
			if n := h.count(from(lanSSH, src), 10); n != tt.want {
				t.Errorf("%s: %d of 10 from %s accepted, want %d", tt.statement, n, src, tt.want)
			}
		}
		p.Lint()
	}
}

// Buckets fill up again.
func TestDynsetLimitRefills(t *testing.T) {
	h := newHarness(t, compile(t, `table inet t { set d { type ipv4_addr; flags dynamic; }
		chain input { type filter hook input priority 0; policy drop;
			add @d { ip saddr limit rate 20/second burst 1 packets } accept
		}
	}`))
	if n := h.count(lanSSH, 3); n != 1 {
		t.Errorf("%d of 3 accepted at once, want 1", n)
	}
	time.Sleep(60 * time.Millisecond)
	if n := h.count(lanSSH, 3); n != 1 {
		t.Errorf("%d of 3 accepted after 60 ms, want 1", n)
	}
}

func TestUnsupportedDynsets(t *testing.T) {
	for _, tt := range []struct{ rules, want string }{
		{"add @d { ip saddr ct count over 5 ct count over 9 } drop", "two ct count for each element"},
		{"add @d { ip saddr counter }\nadd @d { ip daddr }", "different statements for elements of set d"},
	} {
		_, err := Compile(readRuleset(t, "table inet t { set d { type ipv4_addr; flags dynamic; }\n chain input { type filter hook input priority 0;\n"+tt.rules+"\n}\n}\n"), Options{Links: testLinks})
		if err == nil || !strings.Contains(err.Error(), `"dynset": not supported: `+tt.want) {
			t.Errorf("%s: error %v, want %q", tt.rules, err, tt.want)
		}
	}
}
