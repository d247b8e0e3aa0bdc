// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"flag"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

var largeSet = flag.Int("policy.addresses", 300_000, "addresses of TestLargeSet")

// largestChange is how long a change of one element may take, however many others
// there are.
const largestChange = 10 * time.Millisecond

// TestLargeSet: a blocklist is compiled in a time in proportion to its size, and
// one of its elements changes at once.
func TestLargeSet(t *testing.T) {
	rs := readRuleset(t, `table inet t {
		set block { type ipv4_addr; size 4000000; flags interval; elements = { 192.0.2.1 }; }
		chain input { type filter hook input priority 0; ip saddr @block drop; }
	}`)
	set := rs.Tables[0].Sets[0]
	// Every 64th address, as the kernel lists them: the last comes first.
	at := func(n uint32) []nft.Element {
		key := func(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
		return []nft.Element{{Key: key(n + 1), IntervalEnd: true}, {Key: key(n)}}
	}
	set.Elements = nil
	for n := *largeSet; n > 0; n-- {
		set.Elements = append(set.Elements, at(uint32(n)*64)...)
	}
	took := func(what string, do func()) time.Duration {
		start := time.Now()
		do()
		d := time.Since(start)
		t.Logf("%-24s %v", what, d.Round(10*time.Microsecond))
		return d
	}
	// at once is the shortest of some times: others use the machine.
	atOnce := func(what string, do func(n uint32)) {
		var all []time.Duration
		for n := range uint32(5) {
			all = append(all, took(what, func() { do(n) }))
		}
		if d := slices.Min(all); d > largestChange {
			t.Errorf("%s: %v", what, d)
		}
	}

	var p *Program
	var h *harness
	took("compile", func() {
		var err error
		if p, err = Compile(rs, Options{Links: testLinks, Live: true}); err != nil {
			t.Fatal(err)
		}
	})
	took("hash", func() { p.Hash() })
	took("lint", func() { p.Lint() })
	took("load", func() { h = newHarness(t, p) })
	s, maps := p.Sets[0], Maps(h.coll.Maps)
	took("first change", func() {
		if err := s.Add(maps, "0.0.0.1", 0); err != nil {
			t.Fatal(err)
		}
	})
	atOnce("another change", func(n uint32) {
		text, err := s.Decode(prefixes(at(n + 2)[1].Key, at(n + 2)[1].Key)[0])
		if err == nil {
			err = s.Add(maps, text, 0)
		}
		if err == nil {
			err = s.Delete(maps, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	var live *nft.LiveSet
	took("follow", func() { live = nft.NewLiveSet(set, time.Now()) })
	atOnce("followed change", func(n uint32) {
		for _, deleted := range []bool{false, true} {
			var changes []nft.ElementChange
			for _, e := range at(64*uint32(*largeSet)/2 + 2*n + 7) {
				changes = append(changes, nft.ElementChange{Deleted: deleted, Element: e})
			}
			gone, come := live.Apply(changes, time.Now())
			if len(gone)+len(come) != 1 {
				t.Fatalf("gone %v, come %v", gone, come)
			}
			if err := s.Update(maps, gone, come); err != nil {
				t.Fatal(err)
			}
		}
	})
	took("list", func() {
		if list, err := s.Elements(maps); err != nil || len(list) != *largeSet+1 {
			t.Errorf("%d elements, %v", len(list), err)
		}
	})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MiB", m.Sys>>20)
}
