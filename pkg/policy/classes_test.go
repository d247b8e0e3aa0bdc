// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// lookupClasses looks for values in a trie as generated code does.
func lookupClasses(entries []classEntry, root uint32, values [][]byte) uint32 {
	node := root
	for _, v := range values {
		best, next := -1, uint32(0)
		for _, e := range entries {
			if e.node != node || e.bits <= best {
				continue
			}
			key := binary.NativeEndian.AppendUint32(nil, uint32(e.bits))
			if prefixesOverlap(append(key, e.value...), append(binary.NativeEndian.AppendUint32(nil, uint32(8*len(v))), v...)) {
				best, next = e.bits, e.next
			}
		}
		if best < 0 {
			return 0
		}
		node = next
	}
	return node
}

// The first element that holds the values is the one that is found, however
// elements overlap.
func TestClasses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(r.IntN(4)) << (6 * r.IntN(2))
		}
		return v
	}
	lens := []int{4, 2, 1}
	for range 60 {
		var elements []classElement
		for i := range 1 + r.IntN(25) {
			e := classElement{id: uint32(i + 1)}
			for _, n := range lens {
				var spans []span
				for range 1 + r.IntN(2) {
					lo, hi := random(n), random(n)
					if bytes.Compare(lo, hi) > 0 {
						lo, hi = hi, lo
					}
					switch r.IntN(5) {
					case 0:
						hi = lo
					case 1:
						hi = bytes.Repeat([]byte{0xff}, n)
					}
					spans = append(spans, span{lo, hi})
				}
				e.fields = append(e.fields, joinSpans(spans))
			}
			elements = append(elements, e)
		}
		root := 1 + nodeHalf*uint32(r.IntN(2))
		entries, err := buildClasses(elements, root)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			var values [][]byte
			for _, n := range lens {
				values = append(values, random(n))
			}
			want := uint32(0)
			for _, e := range elements {
				holds := true
				for i, v := range values {
					in := false
					for _, s := range e.fields[i] {
						in = in || s.contains(v)
					}
					holds = holds && in
				}
				if holds {
					want = e.id
					break
				}
			}
			if got := lookupClasses(entries, root, values); got != want {
				t.Fatalf("%x: element %d, want %d, of %x", values, got, want, elements)
			}
		}
	}
}

// Elements that are apart take a few entries each, and those that are too
// many in each other are refused.
func TestClassesSize(t *testing.T) {
	port := func(p int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(p)) }
	addr := func(a int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(a)) }
	var apart, wide []classElement
	for i := range 20000 {
		apart = append(apart, classElement{uint32(i + 1), [][]span{{{addr(i << 8), addr(i<<8 + 255)}}, {{port(i % 1000), port(i%1000 + 10)}}}})
	}
	entries, err := buildClasses(apart, 1)
	if err != nil || len(entries) > 8*len(apart) {
		t.Errorf("%d entries for %d elements, %v", len(entries), len(apart), err)
	}
	for i := range 3000 {
		wide = append(wide, classElement{uint32(i + 1), [][]span{{{addr(i), addr(1 << 30)}}, {{port(i), port(i + 40000)}}}})
	}
	if _, err := buildClasses(wide, 1); !errors.Is(err, errClasses) {
		t.Errorf("error %v", err)
	}
}

// Sets of classes change while packets look into them.
func TestClassSetOps(t *testing.T) {
	p := compile(t, `table inet t {
		set s { type ipv4_addr . inet_service; size 4; flags interval, timeout; elements = { 10.0.0.0/8 . 22 }; }
		map m { type ifname . ipv4_addr . inet_service : verdict; flags interval; counter; elements = { "br*" . 192.168.1.0/24 . 22-25 : accept, "wan0" . 0.0.0.0/0 . 22 : drop }; }
		set names { type ifname; flags interval; elements = { "wan*", "hs0" }; }
		set nets { type ipv4_addr; flags interval; counter; elements = { 10.0.0.1-10.0.0.6, 192.168.1.3-192.168.1.9 }; }
		chain input { type filter hook input priority 0; policy drop;
			udp dport 1 accept
			ip saddr . tcp dport @s accept
			iifname . ip saddr . tcp dport vmap @m
			iifname @names accept
			ip saddr @nets accept
		}
	}`)
	h := newHarness(t, p)
	set := func(name string) *Set {
		t.Helper()
		for _, s := range p.Sets {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no set %s", name)
		return nil
	}
	ssh := func(iif, src string) packet {
		return with(lanSSH, func(p *packet) { p.iif, p.src = iif, src })
	}
	want := func(pk packet, accept bool, chain string) {
		t.Helper()
		r := h.run("policy_input", &pk)
		if r.accept != accept || !strings.Contains(r.rule.Text, chain) {
			t.Errorf("%s from %s: accepted %v at %q, want %v at %q", pk.iif, pk.src, r.accept, r.rule.Text, accept, chain)
		}
	}
	listed := func(s *Set, want string) {
		t.Helper()
		list, err := s.Elements(h.coll.Maps)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range list {
			out = append(out, strings.TrimSpace(e.Element+" "+e.State))
		}
		if got := strings.Join(out, ", "); got != want {
			t.Errorf("elements %s\nwant     %s", got, want)
		}
	}
	noError := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	wantError := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}

	want(ssh("lo", "10.1.2.3"), true, "@s")
	want(ssh("br0", "192.168.1.7"), true, "vmap")
	want(ssh("wan0", "192.168.1.7"), false, "vmap")
	want(ssh("wan0", "10.1.1.1"), true, "@s")
	want(ssh("hs1", "192.168.1.7"), true, "@nets")
	want(ssh("hs1", "192.168.1.2"), false, "policy drop")
	want(ssh("hs0", "172.16.0.1"), true, "@names")
	m, s, names, nets := set("m"), set("s"), set("names"), set("nets")
	listed(m, `"br*" . 192.168.1.0/24 . 22-25 : accept counter packets 1 bytes 60, "wan0" . 0.0.0.0/0 . 22 : drop counter packets 1 bytes 60`)
	listed(nets, "10.0.0.1-10.0.0.6 counter packets 0 bytes 0, 192.168.1.3-192.168.1.9 counter packets 1 bytes 60")
	listed(names, `"hs0", "wan*"`)

	noError(s.Add(h.coll.Maps, "172.16.0.0-172.16.0.5 . 20-30", 0))
	want(ssh("hs1", "172.16.0.5"), true, "@s")
	want(ssh("hs1", "172.16.0.6"), false, "policy drop")
	wantError(s.Add(h.coll.Maps, "172.16.0.5 . 25", 0), "overlaps with 172.16.0.0-172.16.0.5 . 20-30")
	wantError(s.Add(h.coll.Maps, "172.16.0.0/24 . 25", 0), "overlaps with 172.16.0.0-172.16.0.5 . 20-30")
	noError(s.Add(h.coll.Maps, "172.16.0.5 . 31", 0))
	wantError(s.Add(h.coll.Maps, "172.16.0.5", 0), "1 parts")
	noError(s.Add(h.coll.Maps, "172.16.9.0/24 . 0-65535", time.Second))
	wantError(s.Add(h.coll.Maps, "172.17.9.0/24 . 0-65535", 0), "the set is full: 4 elements")
	want(ssh("hs1", "172.16.9.9"), true, "@s")
	time.Sleep(time.Second + 50*time.Millisecond)
	want(ssh("hs1", "172.16.9.9"), false, "policy drop")
	noError(s.Add(h.coll.Maps, "172.17.9.0/24 . 0-65535", 0)) // in the place of what has expired
	listed(s, "10.0.0.0/8 . 22, 172.16.0.0-172.16.0.5 . 20-30, 172.16.0.5 . 31, 172.17.9.0/24 . 0-65535")
	noError(s.Delete(h.coll.Maps, "172.16.0.0-172.16.0.5 . 20-30"))
	want(ssh("hs1", "172.16.0.5"), false, "policy drop")
	if err := s.Delete(h.coll.Maps, "172.16.0.0/24 . 1"); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("error %v", err)
	}
	noError(s.Flush(h.coll.Maps))
	listed(s, "")
	want(ssh("lo", "10.1.2.3"), false, "policy drop")

	noError(m.Add(h.coll.Maps, `"hs*" . 10.0.0.0/24 . 1-100 : accept`, 0))
	want(ssh("hs1", "10.0.0.200"), true, "vmap")
	noError(names.Add(h.coll.Maps, "br*", 0))
	want(ssh("br0", "172.16.0.1"), true, "@names")
	noError(names.Delete(h.coll.Maps, "wan*"))
	want(ssh("wan0", "172.16.0.1"), false, "vmap")
	if n := entriesIn(t, h.coll.Maps[m.className]); n == 0 || n > 100 {
		t.Errorf("%d entries are left", n)
	}
}

func entriesIn(t *testing.T, m *ebpf.Map) int {
	t.Helper()
	n := 0
	if err := each(m, func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// Thousands of elements, and a change of one.
func TestManyClasses(t *testing.T) {
	var elements []string
	for i := range 4000 {
		elements = append(elements, fmt.Sprintf("10.%d.%d.0/24 . %d-%d", i/256, i%256, i, i+100))
	}
	p := compile(t, "table inet t { set s { type ipv4_addr . inet_service; flags interval; elements = { "+strings.Join(elements, ", ")+" }; }\n chain input { type filter hook input priority 0; policy drop;\n ip saddr . tcp dport @s accept\n}\n}\n")
	h := newHarness(t, p)
	for i := range 4000 {
		if i%97 != 0 {
			continue
		}
		for port, accept := range map[int]bool{i: true, i + 100: true, i + 101: false} {
			pk := with(lanSSH, func(p *packet) {
				p.src, p.th = fmt.Sprintf("10.%d.%d.9", i/256, i%256), tcp(1, uint16(port), 2)
			})
			if r := h.run("policy_input", &pk); r.accept != accept {
				t.Errorf("element %d, port %d: accepted %v", i, port, r.accept)
			}
		}
	}
	begin := time.Now()
	if err := p.Sets[0].Add(h.coll.Maps, "192.168.0.0/16 . 22", 0); err != nil {
		t.Fatal(err)
	}
	t.Logf("a change took %v", time.Since(begin))
	if r := h.run("policy_input", &lanSSH); !r.accept {
		t.Error("the new element is not found")
	}
}
