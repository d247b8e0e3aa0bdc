// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// stateMap opens a pinned map of the dataplane's state.
func (r *router) stateMap(t *testing.T, name string) *ebpf.Map {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// eachFlow calls fn with the entries of a map of flows until it returns false.
func (r *router) eachFlow(t *testing.T, name string, fn func(*l2TCTuple, *l2TCFlow) bool) {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var key l2TCTuple
	var value l2TCFlow
	it := m.Iterate()
	for it.Next(&key, &value) {
		if !fn(&key, &value) {
			return
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestCollectorGoes: the collector gets through tables of many times the buckets that it
// looks at in one go, and finds each entry once, whatever bucket it is in: what is dead
// goes, with its mapping, and what lives stays, with its own.
func TestCollectorGoes(t *testing.T) {
	t.Parallel()
	const flows = 20_000
	r := newRouter(t)
	cfg := r.config(testPolicy{})
	cfg.MaxFlows, cfg.MaxHalfOpen = flows, flows
	r.mustApply(cfg)
	confirmed, halfOpen, mappings := r.stateMap(t, "l2_flows"), r.stateMap(t, "l2_half_open"), r.stateMap(t, "l2_mappings")
	gc := func() (gc l2TCGc) {
		if err := r.stateMap(t, "l2_gc").Lookup(uint32(0), &gc); err != nil {
			t.Fatal(err)
		}
		return gc
	}
	now := uint32(monotonic() >> 27) // TICK_SHIFT
	lives := func(n uint32) bool { return n%3 == 0 }
	of := func(n uint32) (m *ebpf.Map, key l2TCTuple, outside l2TCMappingKey) {
		key = l2TCTuple{Sport: 1, Dport: 2, L4proto: unix.IPPROTO_UDP, Nfproto: unix.NFPROTO_IPV4}
		binary.BigEndian.PutUint32(key.Saddr[:], 10<<24+n)
		outside = l2TCMappingKey{Addr: key.Saddr, Port: key.Sport, L4proto: key.L4proto, Nfproto: key.Nfproto, Outside: 1}
		if n%2 == 0 {
			return halfOpen, key, outside
		}
		return confirmed, key, outside
	}
	for n := range uint32(flows) {
		m, key, outside := of(n)
		value := l2TCFlow{Expires: now - 1000, Flags: 1 << 6 /* FLOW_MAPPED_SRC */}
		value.Out.Saddr, value.Out.Sport, value.Out.Dport = key.Saddr, key.Sport, key.Dport
		if lives(n) {
			value.Expires = now + 1<<20
		}
		for _, err := range []error{
			m.Put(key, value),
			mappings.Put(outside, l2TCMapping{Addr: key.Saddr, Port: key.Sport, Used: now - 1000}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// What a walk does that was on its way does not count, but what it leaves.
	begun := gc().Runs
	eventually(t, 40*time.Second, "two walks", func() bool { return gc().Runs >= begun+2 })
	last := gc()
	var want struct{ confirmed, halfOpen, mappings uint64 }
	for n := range uint32(flows) {
		switch {
		case !lives(n):
		case n%2 == 0:
			want.halfOpen++
		default:
			want.confirmed++
		}
	}
	want.mappings = want.halfOpen + want.confirmed
	if last.Flows != want.confirmed || last.HalfOpen != want.halfOpen || last.Mappings != want.mappings {
		t.Errorf("found %d confirmed, %d half-open, %d mappings, not %+v", last.Flows, last.HalfOpen, last.Mappings, want)
	}
	if last.Collected != flows-want.mappings {
		t.Errorf("%d collected, not %d", last.Collected, flows-want.mappings)
	}
	if goes := goesThrough(confirmed, halfOpen, mappings, r.stateMap(t, "l2_sources")); last.Goes < goes {
		t.Errorf("%d goes, not %d: the collector holds its CPU for longer than it may", last.Goes, goes)
	}
	// The very ones.
	for n := range uint32(flows) {
		m, key, outside := of(n)
		if is := m.Lookup(key, new(l2TCFlow)) == nil; is != lives(n) {
			t.Fatalf("flow %d lives: %v, not %v", n, is, lives(n))
		}
		if is := mappings.Lookup(outside, new(l2TCMapping)) == nil; is != lives(n) {
			t.Fatalf("mapping of flow %d is there: %v, not %v", n, is, lives(n))
		}
	}
}
