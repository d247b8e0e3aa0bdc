// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

const setOpsRuleset = `table inet t {
	set bad { type ipv4_addr; flags timeout; size 3; }
	set nets { type ipv4_addr; flags interval, timeout; elements = { 10.0.0.0/8 }; }
	set plain { type inet_service; elements = { 22 }; }
	set fixed { type ipv4_addr; flags constant; elements = { 192.0.2.1 }; }
	set unused { type ipv6_addr; flags timeout; timeout 1h; }
	chain input {
		type filter hook input priority 0; policy accept;
		ip saddr @bad drop
		ip saddr @nets drop
		tcp dport @plain drop
		ip saddr @fixed drop
	}
}
`

func elements(t *testing.T, s *Set, m Maps) string {
	t.Helper()
	list, err := s.Elements(m)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Element)
	}
	return strings.Join(out, ", ")
}

func TestSetOperations(t *testing.T) {
	p := compile(t, setOpsRuleset)
	h := newHarness(t, p)
	find := func(name string) (*Set, Maps) {
		t.Helper()
		s, err := p.Set(nft.FamilyInet, "t", name)
		if err != nil {
			t.Fatal(err)
		}
		return s, Maps(h.coll.Maps)
	}
	accepts := func(want bool) {
		t.Helper()
		if r := h.run("policy_input", &wanDNS); r.accept != want {
			t.Errorf("%s: accepted %v", wanDNS.src, r.accept)
		}
	}
	wantError := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	noError := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	// Hash: add, expire, delete.
	bad, m := find("bad")
	accepts(true)
	noError(bad.Add(m, wanDNS.src, 200*time.Millisecond))
	accepts(false)
	if list, err := bad.Elements(m); err != nil || len(list) != 1 || list[0].Expires <= 0 || list[0].Expires > 200*time.Millisecond {
		t.Errorf("elements %+v, %v", list, err)
	}
	time.Sleep(250 * time.Millisecond)
	accepts(true)
	if s := elements(t, bad, m); s != "" {
		t.Errorf("elements %s behind their time", s)
	}
	// Expired elements make room.
	for _, e := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		noError(bad.Add(m, e, 0))
	}
	wantError(bad.Add(m, "192.0.2.4", 0), "the set is full: 3 elements")
	noError(bad.Add(m, "192.0.2.3", time.Hour)) // there already
	noError(bad.Delete(m, "192.0.2.2"))
	if err := bad.Delete(m, "192.0.2.2"); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("delete twice: %v", err)
	}
	if s := elements(t, bad, m); s != "192.0.2.1, 192.0.2.3" {
		t.Errorf("elements %s", s)
	}
	noError(bad.Flush(m))
	if s := elements(t, bad, m); s != "" {
		t.Errorf("elements %s", s)
	}
	wantError(bad.Add(m, "x", 0), `element "x": not an address`)
	wantError(bad.Add(m, "192.0.2.1", -time.Second), "negative")

	// LPM trie: overlaps.
	nets, m := find("nets")
	wantError(nets.Add(m, "10.1.0.0/16", 0), `element "10.1.0.0/16" overlaps with 10.0.0.0/8`)
	wantError(nets.Add(m, "0.0.0.0/0", 0), "overlaps with 10.0.0.0/8")
	noError(nets.Add(m, "10.0.0.0/8", 0))
	noError(nets.Add(m, "203.0.113.9", time.Second))
	accepts(false)
	wantError(nets.Add(m, "203.0.113.0/24", 0), "overlaps with 203.0.113.9")
	time.Sleep(time.Second + 50*time.Millisecond)
	// What has expired must not hide the new prefix around it.
	noError(nets.Add(m, "203.0.113.0/24", 0))
	accepts(false)
	if s := elements(t, nets, m); s != "10.0.0.0/8, 203.0.113.0/24" {
		t.Errorf("elements %s", s)
	}
	noError(nets.Delete(m, "203.0.113.0/24"))
	accepts(true)
	noError(nets.Add(m, "203.0.113.1-203.0.113.10", 0))
	accepts(false)
	noError(nets.Delete(m, "203.0.113.1-203.0.113.10"))
	accepts(true)
	noError(nets.Add(m, "192.0.2.1", time.Nanosecond))
	if n, err := nets.Purge(m); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}

	plain, m := find("plain")
	wantError(plain.Add(m, "23", time.Second), `no flag "timeout"`)
	noError(plain.Add(m, "23", 0))
	if s := elements(t, plain, m); s != "22, 23" {
		t.Errorf("elements %s", s)
	}

	unused, m := find("unused")
	noError(unused.Add(m, "2001:db8::1", 0))
	if list, err := unused.Elements(m); err != nil || len(list) != 1 || list[0].Expires < 59*time.Minute {
		t.Errorf("elements %+v, %v: want the set's timeout", list, err)
	}

	_, err := p.Set(nft.FamilyInet, "t", "fixed")
	wantError(err, "set inet t fixed is constant: change it in the ruleset and reload")
	_, err = p.Set(nft.FamilyInet, "t", "nosuch")
	wantError(err, "no set inet t nosuch; there are: inet t bad, inet t nets, inet t plain, inet t unused")
}

func TestPrefixes(t *testing.T) {
	// Every range of the first 64 ports, and those that end with the last.
	for from := range 64 {
		for to := from; to < 64; to++ {
			checkPrefixes(t, uint16(from), uint16(to))
		}
		checkPrefixes(t, uint16(from), 65535)
	}
}

func checkPrefixes(t *testing.T, from, to uint16) {
	t.Helper()
	b := func(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }
	next := int(from)
	for _, k := range prefixes(b(from), b(to)) {
		bits := int(k[0])
		if first := int(k[4])<<8 | int(k[5]); first != next || first&(1<<(16-bits)-1) != 0 {
			t.Fatalf("%d-%d: prefix of %d bits begins at %d, want %d", from, to, bits, first, next)
		}
		next += 1 << (16 - bits)
	}
	if next != int(to)+1 {
		t.Fatalf("%d-%d: ends before %d", from, to, next)
	}
}

// Which prefixes overlap is known from an index that follows the changes.
func TestKeyIndex(t *testing.T) {
	r := newRand(3)
	key := func() []byte {
		v := byte(r.IntN(256))
		bits := r.IntN(9)
		return []byte{byte(bits), 0, 0, 0, v &^ byte(0xff>>bits)}
	}
	var x keyIndex
	have := map[string][]byte{}
	for range 3000 {
		k := key()
		if r.IntN(2) == 0 {
			x.add(k)
			have[string(k)] = k
		} else {
			x.remove(k)
			delete(have, string(k))
		}
		k = key()
		want := 0
		for s, o := range have {
			if s != string(k) && prefixesOverlap(o, k) {
				want++
			}
		}
		if got := x.around(k); len(got) != want {
			t.Fatalf("%v overlaps with %v, want %d of %v", k, got, want, have)
		}
	}
}
