// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// newMaps are kernel maps of the flow tables' kinds.
func newMaps(t *testing.T, entries uint32) (confirmed, halfOpen *ebpf.Map) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: BPF maps")
	}
	newMap := func(spec ebpf.MapSpec) *ebpf.Map {
		spec.KeySize, spec.ValueSize, spec.MaxEntries = uint32(binary.Size(rawTuple{})), uint32(binary.Size(rawFlow{})), entries
		m, err := ebpf.NewMap(&spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	return newMap(ebpf.MapSpec{Name: "confirmed", Type: ebpf.Hash, Flags: 1}), newMap(ebpf.MapSpec{Name: "half_open", Type: ebpf.LRUHash})
}

// entry is a flow to be put into a table.
type entry struct {
	proto            uint8
	src, dst         string
	natSrc           string // "": not translated
	state, flags     uint8
	expires          time.Duration // from now on
	packets, replied uint64
}

func port(p uint16) [2]byte { return [2]byte(binary.BigEndian.AppendUint16(nil, p)) }

func addr16(a netip.Addr) (b [16]byte) {
	copy(b[:], a.AsSlice())
	return b
}

// put inserts both directions.
func (e entry) put(t *testing.T, m *ebpf.Map) {
	t.Helper()
	src, dst := netip.MustParseAddrPort(e.src), netip.MustParseAddrPort(e.dst)
	out := src
	if e.natSrc != "" {
		out = netip.MustParseAddrPort(e.natSrc)
	}
	family := uint8(10)
	if src.Addr().Is4() {
		family = nfprotoIPv4
	}
	now := uint32(nowNS() >> tickShift)
	key := rawTuple{Saddr: addr16(src.Addr()), Daddr: addr16(dst.Addr()), Sport: port(src.Port()), Dport: port(dst.Port()), L4proto: e.proto, Nfproto: family}
	f := rawFlow{
		Saddr: addr16(out.Addr()), Daddr: key.Daddr, Sport: port(out.Port()), Dport: key.Dport,
		Expires: now + uint32(int32(e.expires>>tickShift)), Created: now - Ticks(time.Minute),
		Packets: e.packets, Bytes: 100 * e.packets, State: e.state, Flags: e.flags,
	}
	reverse := f
	reverse.Saddr, reverse.Daddr, reverse.Sport, reverse.Dport = key.Daddr, key.Saddr, key.Dport, key.Sport
	reverse.Flags |= flagReply
	reverse.Packets, reverse.Bytes = e.replied, 100*e.replied
	for k, v := range map[rawTuple]rawFlow{key: f, f.reverse(&key): reverse} {
		if err := m.Put(&k, &v); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	web    = entry{proto: 6, src: "192.168.7.2:5000", dst: "198.51.7.2:80", natSrc: "198.51.7.1:6000", state: 3, flags: flagSeenReply, expires: time.Hour, packets: 5, replied: 4}
	web6   = entry{proto: 6, src: "[fd07::2]:5000", dst: "[2001:db8:7::2]:80", natSrc: "[2001:db8:7::1]:5000", state: 7, flags: flagSeenReply, expires: time.Minute, packets: 9, replied: 8}
	query  = entry{proto: 17, src: "192.168.7.2:5001", dst: "198.51.7.2:53", natSrc: "198.51.7.1:5001", expires: 30 * time.Second, packets: 1}
	tunnel = entry{proto: 47, src: "192.168.7.3:0", dst: "198.51.7.2:0", expires: time.Minute, packets: 1}
	dead   = entry{proto: 17, src: "192.168.7.2:5002", dst: "198.51.7.2:53", expires: -time.Second, packets: 1}
)

func exampleTable(t *testing.T) (table *Table, confirmed, halfOpen *ebpf.Map) {
	t.Helper()
	confirmed, halfOpen = newMaps(t, 64)
	web.put(t, confirmed)
	web6.put(t, confirmed)
	query.put(t, halfOpen)
	tunnel.put(t, halfOpen)
	dead.put(t, halfOpen)
	table, err := NewTable(confirmed, halfOpen)
	if err != nil {
		t.Fatal(err)
	}
	return table, confirmed, halfOpen
}

func sources(flows []Flow) (s []string) {
	for _, f := range flows {
		s = append(s, f.Original.Src.String())
	}
	slices.Sort(s)
	return s
}

func TestList(t *testing.T) {
	table, _, _ := exampleTable(t)
	for _, c := range []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all", Filter{}, []string{"192.168.7.2:5000", "192.168.7.2:5001", "192.168.7.3:0", "[fd07::2]:5000"}},
		{"TCP", Filter{Protocol: "tcp"}, []string{"192.168.7.2:5000", "[fd07::2]:5000"}},
		{"TIME_WAIT", Filter{State: "time_wait"}, []string{"[fd07::2]:5000"}},
		{"IPv6", Filter{Prefix: netip.MustParsePrefix("2001:db8::/32")}, []string{"[fd07::2]:5000"}},
		{"DNS", Filter{Port: 53}, []string{"192.168.7.2:5001"}},
		{"nothing", Filter{Port: 54}, nil},
	} {
		list, err := table.List(t.Context(), c.filter)
		if got := sources(list); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, not %v", c.name, got, err, c.want)
		}
	}
	list, err := table.List(t.Context(), Filter{Port: 5000, Prefix: netip.MustParsePrefix("192.168.0.0/16")})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	got := list[0]
	if got.Expires < 59*time.Minute || got.Expires > time.Hour+time.Second || got.Age < time.Minute || got.Age > 2*time.Minute {
		t.Errorf("expires in %v, %v old", got.Expires, got.Age)
	}
	got.Expires, got.Age = 0, 0
	want := Flow{
		Protocol: "tcp", State: "ESTABLISHED", Confirmed: true, Replied: true, number: 6, ID: list[0].ID,
		Original: Direction{Src: netip.MustParseAddrPort(web.src), Dst: netip.MustParseAddrPort(web.dst), Packets: 5, Bytes: 500},
		Reply:    Direction{Src: netip.MustParseAddrPort(web.dst), Dst: netip.MustParseAddrPort(web.natSrc), Packets: 4, Bytes: 400},
	}
	if got != want {
		t.Errorf("%+v\nnot\n%+v", got, want)
	}
	if list, err = table.List(t.Context(), Filter{Port: 53}); err != nil || list[0].Confirmed || list[0].Replied || list[0].State != "" {
		t.Errorf("half open: %+v, %v", list, err)
	}
}

func TestDelete(t *testing.T) {
	table, confirmed, halfOpen := exampleTable(t)
	entries := func(m *ebpf.Map) int {
		t.Helper()
		all, err := readAll(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for _, c := range []struct {
		name            string
		filter          Filter
		deleted         int
		confirmed, half int // entries that are left
	}{
		{"nothing", Filter{Port: 54}, 0, 4, 6},
		{"by translated port", Filter{Port: 6000}, 1, 2, 6},
		{"DNS, one of them dead", Filter{Port: 53}, 1, 2, 2},
		{"all", Filter{}, 2, 0, 0},
		{"all again", Filter{}, 0, 0, 0},
	} {
		n, err := table.Delete(c.filter)
		if err != nil || n != c.deleted {
			t.Errorf("%s: %d deleted, %v, not %d", c.name, n, err, c.deleted)
		}
		if got, half := entries(confirmed), entries(halfOpen); got != c.confirmed || half != c.half {
			t.Errorf("%s: %d and %d entries left, not %d and %d", c.name, got, half, c.confirmed, c.half)
		}
	}
}

// TestDeletedAt: a flow that was deleted is as old as it was then, so that it began when it did
// according to any event, however long it took to come to it.
func TestDeletedAt(t *testing.T) {
	table, _, _ := exampleTable(t)
	const pause = 50 * time.Millisecond
	var age time.Duration
	var reached time.Time
	n := 0
	table.Deleted = func(fl Flow, at time.Time) {
		n++
		if fl.Age < age+pause-2<<msShift || at.Before(reached.Add(-2<<msShift)) {
			t.Errorf("%v old at %v; it was %v old %v before %v", fl.Age, at, age, pause, reached)
		}
	}
	_, err := table.DeleteIf(func(fl *Flow) bool {
		if fl.Original.Src.Port() != 5001 {
			return false
		}
		age = fl.Age
		time.Sleep(pause)
		reached = time.Now()
		return true
	})
	if err != nil || n != 1 {
		t.Errorf("%d deleted, %v", n, err)
	}
}

// TestManyFlows is more than one system call reads.
func TestManyFlows(t *testing.T) {
	const n = 3 * batch / 2 // flows, of two entries each
	confirmed, halfOpen := newMaps(t, 2*n)
	table, err := NewTable(confirmed, halfOpen)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := query
		e.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000).String()
		e.natSrc = ""
		e.put(t, confirmed)
	}
	list, err := table.List(t.Context(), Filter{})
	if err != nil || len(list) != n {
		t.Errorf("%d flows, %v, not %d", len(list), err, n)
	}
	seen := map[netip.AddrPort]bool{}
	for _, f := range list {
		seen[f.Original.Src] = true
	}
	if len(seen) != n {
		t.Errorf("%d different flows, not %d", len(seen), n)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if list, err := table.List(gone, Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%d flows for who has gone, %v", len(list), err)
	}
	if deleted, err := table.Delete(Filter{Prefix: netip.MustParsePrefix("10.0.0.0/24")}); err != nil || deleted != 256 {
		t.Errorf("%d deleted, %v, not 256", deleted, err)
	}
}

func TestOtherLayout(t *testing.T) {
	confirmed, _ := newMaps(t, 1)
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 40, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := NewTable(confirmed, other); err == nil {
		t.Error("a table of another layout is taken")
	}
	if _, err := NewTable(other, confirmed); err == nil {
		t.Error("a table of another layout is taken")
	}
}

// TestConfirmedMeanwhile: a flow that is in both tiers, as on its way from one to the other,
// is one, and a confirmed one; its end is that of all of it.
func TestConfirmedMeanwhile(t *testing.T) {
	table, confirmed, halfOpen := exampleTable(t)
	moved := query
	moved.packets, moved.replied = 7, 6
	moved.put(t, confirmed)
	list, err := table.List(t.Context(), Filter{Port: 53})
	if err != nil || len(list) != 1 || !list[0].Confirmed || list[0].Original.Packets != 7 {
		t.Errorf("%+v, %v, not one confirmed flow", list, err)
	}
	if n, err := table.Delete(Filter{Port: 53}); n != 1 || err != nil {
		t.Errorf("%d deleted, %v, not 1", n, err)
	}
	// One that is confirmed when it has been selected already.
	again := false
	n, err := table.DeleteIf(func(fl *Flow) bool {
		if fl.Protocol != "gre" {
			return false
		}
		tunnel.put(t, confirmed)
		again = true
		return true
	})
	if n != 1 || err != nil || !again {
		t.Errorf("%d deleted, %v, not 1", n, err)
	}
	for _, m := range []*ebpf.Map{confirmed, halfOpen} {
		entries, err := readAll(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		for key := range entries {
			if key.L4proto != protoTCP {
				t.Errorf("%v: %+v is left", m, key)
			}
		}
	}
}

// TestHalfEvicted: a half-open flow whose original direction's entry was evicted is there: its answers
// pass, and put that back.
func TestHalfEvicted(t *testing.T) {
	table, _, halfOpen := exampleTable(t)
	entries, err := readAll(t.Context(), halfOpen)
	if err != nil {
		t.Fatal(err)
	}
	for key, f := range entries {
		if f.Flags&flagReply == 0 {
			if err := halfOpen.Delete(&key); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := table.List(t.Context(), Filter{Port: 53})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v, not one flow", list, err)
	}
	f := list[0]
	if want := netip.MustParseAddrPort(query.src); f.Original.Src != want || f.Original.Packets != 0 || f.Confirmed || f.ID == 0 {
		t.Errorf("%+v, not from %v", f, want)
	}
	if want := netip.MustParseAddrPort(query.natSrc); f.Reply.Dst != want {
		t.Errorf("to %v, not %v", f.Reply.Dst, want)
	}
	if n, err := table.Delete(Filter{Status: StatusHalfOpen}); n != 2 || err != nil {
		t.Errorf("%d deleted, %v, not 2", n, err)
	}
	if entries, err := readAll(t.Context(), halfOpen); err != nil || len(entries) != 0 {
		t.Errorf("%d entries are left, %v", len(entries), err)
	}
}

// TestDeletedCounters: a flow that was deleted has the counters that it has ended with. What
// the dataplane has ended before is no flow that was deleted.
func TestDeletedCounters(t *testing.T) {
	table, confirmed, _ := exampleTable(t)
	var deleted []Flow
	table.Deleted = func(fl Flow, _ time.Time) { deleted = append(deleted, fl) }
	n, err := table.DeleteIf(func(fl *Flow) bool {
		if fl.Original.Src.String() != web.src {
			return false
		}
		busy := web
		busy.packets, busy.replied = 105, 204
		busy.put(t, confirmed)
		return true
	})
	if n != 1 || err != nil || len(deleted) != 1 {
		t.Fatalf("%d deleted, %v, %v", n, err, deleted)
	}
	if o, r := deleted[0].Original, deleted[0].Reply; o.Packets != 105 || o.Bytes != 10500 || r.Packets != 204 || r.Bytes != 20400 {
		t.Errorf("%+v, %+v, not 105 and 204 packets", o, r)
	}
	n, err = table.DeleteIf(func(fl *Flow) bool {
		if fl.Original.Src.String() != web6.src {
			return false
		}
		entries, err := readAll(t.Context(), confirmed)
		if err != nil {
			t.Fatal(err)
		}
		for key := range entries {
			if err := confirmed.Delete(&key); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if n != 0 || err != nil || len(deleted) != 1 {
		t.Errorf("%d deleted, %v, %v, not what is gone", n, err, deleted)
	}
}

// TestSCTPState: the state of an association is conntrack's word, as that of a connection is.
func TestSCTPState(t *testing.T) {
	table, confirmed, _ := exampleTable(t)
	association := entry{proto: protoSCTP, src: "192.168.7.2:7000", dst: "198.51.7.2:7001", state: 7, flags: flagSeenReply, expires: time.Minute}
	association.put(t, confirmed)
	var f Filter
	if err := f.Set("state", "shutdown_ack_sent"); err != nil {
		t.Fatal(err)
	}
	list, err := table.List(t.Context(), f)
	if err != nil || len(list) != 1 || list[0].Protocol != "sctp" || list[0].State != "SHUTDOWN_ACK_SENT" {
		t.Errorf("%+v, %v, not one association", list, err)
	}
}
