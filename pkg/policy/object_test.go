// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		rules string
		want  int // of 10 packets with 60 bytes
	}{
		{"quota 180 bytes accept", 3},
		{"quota 179 bytes accept", 2},
		{"quota 180 bytes used 60 bytes accept", 2},
		{"quota over 180 bytes accept", 7},
		{"quota until 1 mbytes accept", 10},
	} {
		if n := newHarness(t, compile(t, inInput(tt.rules))).count(lanSSH, 10); n != tt.want {
			t.Errorf("%s: %d of 10 accepted, want %d", tt.rules, n, tt.want)
		}
	}
}

// Rules that name an object share it, a map's elements too.
func TestObjects(t *testing.T) {
	const objects = `table inet t {
		counter every { }
		counter ssh { }
		quota q { 180 bytes }
		quota q1 { over 60 bytes }
		limit l { rate 6/minute burst 4 packets }
		map named { type inet_service : quota; elements = { 22 : "q", 53 : "q1" }; }
		chain input { type filter hook input priority 0; policy drop;
	`
	for _, tt := range []struct {
		rules string
		want  int // of 10 packets
	}{
		{`quota name "q" accept`, 3},
		{`quota name "q1" accept`, 9},
		{`quota name "q"` + "\n" + `quota name "q" accept`, 1},
		{`limit name "l" accept`, 4},
		{`limit name "l"` + "\n" + `limit name "l" accept`, 2},
		{`quota name tcp dport map { 22 : "q", 80 : "q1" } accept`, 3},
		{`quota name tcp dport map { 23 : "q" } accept`, 0},
		{`quota name tcp dport map @named accept`, 3},
		{`limit name tcp dport map { 22 : "l" } accept`, 4},
		{`quota name "q" drop` + "\naccept", 7},
	} {
		p := compile(t, objects+tt.rules+"\n}\n}\n")
		if n := newHarness(t, p).count(lanSSH, 10); n != tt.want {
			t.Errorf("%s: %d of 10 accepted, want %d", tt.rules, n, tt.want)
		}
		p.Lint()
	}

	p := compile(t, objects+`counter name "every"
		counter name tcp dport map { 22 : "ssh", 23 : "every" } accept
		counter name "every"
		}
	}`)
	h := newHarness(t, p)
	last := h.run("policy_input", &lanSSH)
	h.run("policy_input", &wanDNS)
	for _, want := range []struct {
		text           string
		packets, bytes uint64
	}{{`counter "every"`, 3, 60 + 2*200}, {`counter "ssh"`, 1, 60}} {
		found := false
		for _, r := range p.Rules {
			if r.Text != want.text || r.Chain != "" {
				continue
			}
			found = true
			if packets, bytes := h.counter(r.Index); packets != want.packets || bytes != want.bytes {
				t.Errorf("%s: %d packets, %d bytes, want %d, %d", want.text, packets, bytes, want.packets, want.bytes)
			}
		}
		if !found {
			t.Errorf("no %s", want.text)
		}
	}
	if !last.accept || last.rule.Chain != "input" {
		t.Errorf("accepted %v; counted last at %q of chain %q, not at a rule", last.accept, last.rule.Text, last.rule.Chain)
	}
}

// A later rule is reached although it looks like an earlier one, behind what
// decides for itself.
func TestLintObjects(t *testing.T) {
	p := compile(t, `table inet t {
		quota q { 180 bytes }
		limit l { rate 6/minute }
		chain input { type filter hook input priority 0; policy drop;
			ct state vmap { new : continue } accept
			tcp dport 22 accept
			quota name "q" accept
			udp dport 22 accept
			limit name "l" accept
			udp dport 22 accept
		}
	}`)
	for _, w := range p.Lint() {
		if w.By[0].Text != "udp dport 22 accept" || w.Rule.Text != w.By[0].Text {
			t.Errorf("%v", w)
		}
	}
	if _, err := p.Set(nft.FamilyInet, "t", "q"); err == nil {
		t.Error("a quota is a set")
	}
}
