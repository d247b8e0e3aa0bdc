// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

const liveRuleset = `table inet t {
	set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
	set seen { type inet_service; flags dynamic, timeout; timeout 1h; elements = { 1 }; }
	map verdicts { type inet_service : verdict; elements = { 22 : accept }; }
	chain other { accept; }
	chain input {
		type filter hook input priority 0; policy accept;
		ip saddr @nets drop
		tcp dport vmap @verdicts
		update @seen { udp dport }
	}
}
`

func TestUpdateAndSync(t *testing.T) {
	p := compileWith(t, liveRuleset, Options{Links: testLinks, Live: true})
	h := newHarness(t, p)
	find := func(name string) (*Set, Maps) {
		t.Helper()
		s, err := p.Set(nft.FamilyInet, "t", name)
		if err != nil {
			t.Fatal(err)
		}
		return s, Maps(h.coll.Maps)
	}
	want := func(s *Set, m Maps, want string) {
		t.Helper()
		if got := elements(t, s, m); got != want {
			t.Errorf("set %v: %s, want %s", s, got, want)
		}
	}
	ip := func(from, to string) nft.Range { return nft.Range{From: []byte(from), To: []byte(to)} }

	nets, m := find("nets")
	ten, wide := ip("\x0a\x00\x00\x00", "\x0a\xff\xff\xff"), ip("\x0a\x00\x00\x00", "\x0b\xff\xff\xff")
	if err := nets.Update(m, []nft.Range{ten}, []nft.Range{wide, ip("\xc0\x00\x02\x01", "\xc0\x00\x02\x02")}); err != nil {
		t.Fatal(err)
	}
	want(nets, m, "10.0.0.0/7, 192.0.2.1, 192.0.2.2")
	if err := nets.Update(m, []nft.Range{ip("a", "b")}, nil); !errors.Is(err, ErrRecompile) {
		t.Errorf("an element of another length: %v", err)
	}
	if err := nets.Sync(m, []nft.Range{ten}); err != nil {
		t.Fatal(err)
	}
	want(nets, m, "10.0.0.0/8")

	verdicts, m := find("verdicts")
	port := func(p byte, v *nft.Verdict) nft.Range {
		return nft.Range{From: []byte{0, p}, To: []byte{0, p}, Element: nft.Element{Verdict: v}}
	}
	if err := verdicts.Update(m, nil, []nft.Range{port(23, &nft.Verdict{Code: nft.VerdictDrop})}); err != nil {
		t.Fatal(err)
	}
	want(verdicts, m, "22 : accept, 23 : drop")
	if err := verdicts.Update(m, nil, []nft.Range{port(24, &nft.Verdict{Code: nft.VerdictJump, Chain: "other"})}); !errors.Is(err, ErrRecompile) {
		t.Errorf("a verdict that is not in the program: %v", err)
	}

	// What rules add stays.
	seen, m := find("seen")
	if err := seen.Add(m, "2", 0); err != nil {
		t.Fatal(err)
	}
	if err := seen.Sync(m, nil); err != nil {
		t.Fatal(err)
	}
	want(seen, m, "1, 2")
}

// What the elements are does not make another program of a live ruleset.
func TestLiveHash(t *testing.T) {
	other := "table inet t { set s { type inet_service; elements = { 2 }; }; chain input { type filter hook input priority 0; tcp dport @s drop; }; }"
	one := "table inet t { set s { type inet_service; elements = { 1 }; }; chain input { type filter hook input priority 0; tcp dport @s drop; }; }"
	for _, live := range []bool{false, true} {
		opt := Options{Links: testLinks, Live: live}
		if same := compileWith(t, one, opt).Hash() == compileWith(t, other, opt).Hash(); same != live {
			t.Errorf("live %t: same hash: %t", live, same)
		}
	}
}
