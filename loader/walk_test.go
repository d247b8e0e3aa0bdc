// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"math/bits"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/policy"
)

// walkBuckets is WALK_BUCKETS of bpf/lib/table.h.
const walkBuckets = 4096

// goesThrough is how many goes a walk takes at least for maps.
func goesThrough(maps ...*ebpf.Map) uint64 {
	goes := uint64(0)
	for _, m := range maps {
		buckets := uint64(1) << bits.Len32(m.MaxEntries()-1)
		goes += (buckets + walkBuckets - 1) / walkBuckets
	}
	return goes
}

// policyMap opens the pinned map of the running policy whose name begins so.
func (r *router) policyMap(t *testing.T, prefix string) *ebpf.Map {
	t.Helper()
	maps, err := openMaps(filepath.Join(r.pin, dirPolicy))
	if err != nil {
		t.Fatal(err)
	}
	var found *ebpf.Map
	for name, m := range maps {
		if strings.HasPrefix(name, prefix) {
			found = m
			continue
		}
		m.Close()
	}
	if found == nil {
		t.Fatalf("no map %s", prefix)
	}
	t.Cleanup(func() { found.Close() })
	return found
}

// numberedKey is the key of an element by its number.
func numberedKey(m *ebpf.Map, n uint32) []byte {
	key := make([]byte, m.KeySize())
	binary.BigEndian.PutUint32(key, n)
	if len(key) > 4 {
		key[len(key)-1] = byte(n) // all of the key counts
	}
	return key
}

// setCollector is how far the collector of sets is.
func (r *router) setCollector(t *testing.T) (gc l2TCSetGc) {
	t.Helper()
	if err := r.policyMap(t, "l2_set_gc").Lookup(uint32(0), &gc); err != nil {
		t.Fatal(err)
	}
	return gc
}

// collectTwice waits for two walks of the collector of sets, the second of which begins after this.
func (r *router) collectTwice(t *testing.T) {
	t.Helper()
	begun := r.setCollector(t).Runs
	eventually(t, 30*time.Second, "two walks", func() bool { return r.setCollector(t).Runs >= begun+2 })
}

// TestSetCollectorGoes: the collector gets through sets of many times the buckets that
// it looks at in one go, and through what ct count has. Elements that have expired go,
// whatever their keys' length, or whose connections have ended; others stay.
func TestSetCollectorGoes(t *testing.T) {
	t.Parallel()
	const elements = 20_000
	r := newRouter(t)
	r.mustApply(r.config(compiled(t, `table inet t {
		set addrs { type ipv4_addr; flags timeout; size 20000; }
		set macs { type ether_addr; flags timeout; size 20000; }
		set longs { type ipv6_addr . inet_service . ipv6_addr . ether_addr . mark; flags timeout; size 20000; }
		set conns { type ipv4_addr; flags dynamic; size 20000; }
		chain forward {
			type filter hook forward priority filter
			ip saddr @addrs drop
			ether saddr @macs drop
			ip6 saddr . tcp dport . ip6 daddr . ether saddr . meta mark @longs drop
			add @conns { ip saddr ct count over 10 } drop
		}
	}`)))
	expiring := []*ebpf.Map{r.policyMap(t, "addrs_"), r.policyMap(t, "macs_"), r.policyMap(t, "longs_")}
	conns := r.policyMap(t, "conns_")
	members, slots, counts := r.policyMap(t, "l2_conn_members"), r.policyMap(t, "l2_conn_slots"), r.policyMap(t, "l2_conn_counts")
	flows := r.stateMap(t, "l2_flows")
	put := func(m *ebpf.Map, key, value any) {
		t.Helper()
		if err := m.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}

	now := policy.Now()
	lives := func(n uint32) bool { return n%3 == 0 }
	for n := range uint32(elements) {
		expires := uint64(1) // long ago, also where the machine has just been booted
		switch {
		case n%2 == 0 && lives(n):
			expires = 0 // never
		case lives(n):
			expires = now + uint64(time.Hour)
		}
		for _, m := range expiring {
			value := make([]byte, m.ValueSize())
			binary.NativeEndian.PutUint64(value, expires)
			put(m, numberedKey(m, n), value)
		}
	}
	// As many connections as there is room for flows.
	const connections = 1000
	id := func(n uint32) uint64 { return 1<<40 + uint64(n) }
	memberOf := func(n uint32) l2TCConnMemberKey {
		tuple := l2TCTuple{Sport: 1, Dport: 2, L4proto: unix.IPPROTO_UDP, Nfproto: unix.NFPROTO_IPV4}
		binary.BigEndian.PutUint32(tuple.Saddr[:], n)
		return l2TCConnMemberKey{Id: id(n), Tuple: tuple}
	}
	for n := range uint32(connections) {
		member := memberOf(n)
		if lives(n) {
			put(flows, member.Tuple, l2TCFlow{Expires: uint32(now>>27) + 1<<20})
		}
		value := make([]byte, conns.ValueSize())
		binary.NativeEndian.PutUint64(value[8:], id(n)) // behind the time
		put(counts, id(n), l2TCConnCount{Members: 1, Tail: 1})
		put(slots, l2TCConnSlotKey{Id: id(n)}, member.Tuple)
		put(members, member, l2TCConnMember{})
		put(conns, numberedKey(conns, n), value)
	}

	r.collectTwice(t)
	goes := r.setCollector(t).Goes
	if n := goesThrough(append(expiring, conns, members, slots, counts)...); goes < n {
		t.Errorf("%d goes, not %d: the collector holds its CPU for longer than it may", goes, n)
	}
	is := func(what string, n uint32, m *ebpf.Map, key any) {
		t.Helper()
		v, err := m.LookupBytes(key)
		if err != nil {
			t.Fatal(err)
		}
		if (v != nil) != lives(n) {
			t.Fatalf("%s %d is there: %v, not %v", what, n, v != nil, lives(n))
		}
	}
	for n := range uint32(elements) {
		for _, m := range expiring {
			is(m.String(), n, m, numberedKey(m, n))
		}
	}
	for n := range uint32(connections) {
		is("member", n, members, memberOf(n))
		is("slot", n, slots, l2TCConnSlotKey{Id: id(n)})
		is("count", n, counts, id(n))
		is("element", n, conns, numberedKey(conns, n))
	}
}

// TestCountsStay: without sets that anything is collected from, the collector leaves what ct
// count knows of connections that go on.
func TestCountsStay(t *testing.T) {
	t.Parallel()
	const counted = 20_000
	r := newRouter(t)
	r.mustApply(r.config(compiled(t, `table inet t {
		chain forward {
			type filter hook forward priority filter
			udp dport 8 ct count over 10 drop
		}
	}`)))
	counts := r.policyMap(t, "l2_conn_counts")
	for n := range uint64(counted) {
		if err := counts.Put(n, l2TCConnCount{Members: 1, Tail: 1}); err != nil {
			t.Fatal(err)
		}
	}
	r.collectTwice(t)
	for n := range uint64(counted) {
		if v, err := counts.LookupBytes(n); err != nil || v == nil {
			t.Fatalf("count %d is gone: %v", n, err)
		}
	}
}

// TestReevaluateGoes: marking the flows for a new ruleset's judgement takes many goes
// where there are many flows, none of which looks at more of them than it may. It finds
// all flows, and marks their original direction alone.
func TestReevaluateGoes(t *testing.T) {
	t.Parallel()
	const flows = 20_000
	r := newRouter(t)
	cfg := r.config(testPolicy{})
	cfg.MaxFlows, cfg.MaxHalfOpen = flows, flows
	r.mustApply(cfg)
	confirmed, halfOpen := r.stateMap(t, "l2_flows"), r.stateMap(t, "l2_half_open")
	of := func(n uint32) (m *ebpf.Map, key l2TCTuple) {
		key = l2TCTuple{Sport: 1, Dport: 2, L4proto: unix.IPPROTO_UDP, Nfproto: unix.NFPROTO_IPV4}
		binary.BigEndian.PutUint32(key.Saddr[:], n)
		if n%2 == 0 {
			return halfOpen, key
		}
		return confirmed, key
	}
	const flagReply, flagSeenReply, flagStale = 1 << 0, 1 << 1, 1 << 4
	reply := func(n uint32) bool { return n%3 == 0 }
	for n := range uint32(flows) {
		m, key := of(n)
		value := l2TCFlow{Expires: uint32(monotonic()>>27) + 1<<20, State: 3, Flags: flagSeenReply, Zone: 7}
		if reply(n) {
			value.Flags |= flagReply
		}
		if err := m.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	mark, err := ebpf.LoadPinnedProgram(filepath.Join(r.pin, dirPrograms, "l2_reevaluate"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Close()
	var walk l2TCWalk
	for more := uint32(1); more != 0; {
		from := walk
		if more, err = mark.Run(&ebpf.RunOptions{Context: walk, ContextOut: &walk}); err != nil {
			t.Fatal(err)
		}
		if walk.Goes != from.Goes+1 || walk.Table == from.Table && walk.Bucket != from.Bucket+walkBuckets {
			t.Fatalf("from %+v to %+v in one go", from, walk)
		}
	}
	if n := goesThrough(confirmed, halfOpen); uint64(walk.Goes) != n {
		t.Errorf("%d goes, not %d", walk.Goes, n)
	}
	for n := range uint32(flows) {
		m, key := of(n)
		want := uint8(flagSeenReply | flagStale)
		if reply(n) {
			want = flagSeenReply | flagReply
		}
		var value l2TCFlow
		if err := m.Lookup(key, &value); err != nil {
			t.Fatal(err)
		}
		if value.Flags != want || value.State != 3 || value.Zone != 7 {
			t.Fatalf("flow %d: %+v, not flags %#x with the rest as it was", n, value, want)
		}
	}
}
