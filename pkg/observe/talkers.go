// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

const (
	// mostListed is how many hosts and flows a sample has at most.
	mostListed = 100
	// walkEvery is how often the flow table is walked at most, and walkLarge if it
	// has more than largeTable flows.
	walkEvery  = time.Second
	walkLarge  = 10 * time.Second
	largeTable = 32768
)

// Talkers finds out who moves how much. It walks the flow table, and only when it is
// asked; what it keeps are a few bytes for each flow.
type Talkers struct {
	// Each calls yield with all flows.
	Each func(yield func(*flow.Flow)) error
	// Name is that of a host; empty if it has none.
	Name func(netip.Addr) string

	mu      sync.Mutex
	seed    maphash.Seed
	at      time.Time
	flows   int
	counted map[uint64]bytes // by the hash of a flow
	hosts   []Host
	talkers []Talker
}

// bytes are those of a flow, of each direction.
type bytes struct{ forth, back uint64 }

// flowName tells flows apart.
type flowName struct {
	proto    string
	src, dst netip.AddrPort
	zone     uint16
}

// Top returns the hosts and the flows that have moved most since the last walk.
func (t *Talkers) Top(now time.Time) ([]Host, []Talker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	every := walkEvery
	if t.flows > largeTable {
		every = walkLarge
	}
	if now.Sub(t.at) < every {
		return t.hosts, t.talkers, nil
	}
	if t.counted == nil {
		t.seed = maphash.MakeSeed()
	}
	w := walk{t: t, hosts: map[netip.Addr]*Host{}, counted: make(map[uint64]bytes, len(t.counted)), seconds: now.Sub(t.at).Seconds(), first: t.counted == nil}
	if err := t.Each(w.add); err != nil {
		return nil, nil, err
	}
	t.at, t.flows, t.counted = now, len(w.counted), w.counted
	t.hosts, t.talkers = w.top()
	return t.hosts, t.talkers, nil
}

// Forget drops what is kept when nobody has asked for a while.
func (t *Talkers) Forget(now time.Time, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counted != nil && now.Sub(t.at) > after {
		t.at, t.counted, t.hosts, t.talkers = time.Time{}, nil, nil, nil
	}
}

type walk struct {
	t       *Talkers
	hosts   map[netip.Addr]*Host
	talkers []Talker
	counted map[uint64]bytes
	seconds float64
	first   bool // and there are no rates
}

func (w *walk) add(f *flow.Flow) {
	name := flowName{f.Protocol, f.Original.Src, f.Original.Dst, f.Original.Zone}
	key := maphash.Comparable(w.t.seed, name)
	now, before := bytes{f.Original.Bytes, f.Reply.Bytes}, w.t.counted[key]
	w.counted[key] = now
	if now.forth < before.forth || now.back < before.back {
		before = bytes{} // another flow of the same name
	}
	forth, back := w.bits(before.forth, now.forth), w.bits(before.back, now.back)
	host, up, down := f.Original.Src.Addr(), forth, back
	if f.DstNAT() {
		host, up, down = f.Reply.Src.Addr(), back, forth
	}
	h := w.hosts[host]
	if h == nil {
		h = &Host{Address: host}
		w.hosts[host] = h
	}
	h.Flows++
	h.Up += up
	h.Down += down
	w.talkers = append(w.talkers, Talker{
		Host: host, Protocol: f.Protocol, State: f.State, Src: f.Original.Src, Dst: f.Original.Dst, In: f.In, Out: f.Out, Forth: forth, Back: back,
	})
	if len(w.talkers) > 4*mostListed {
		w.talkers = busiest(w.talkers)
	}
}

// bits a second. What a flow had counted before the first walk says nothing of now.
func (w *walk) bits(before, now uint64) float64 {
	if w.first || w.seconds <= 0 {
		return 0
	}
	return 8 * float64(now-before) / w.seconds
}

func busiest(list []Talker) []Talker {
	slices.SortStableFunc(list, func(a, b Talker) int {
		return cmp.Or(cmp.Compare(b.Forth+b.Back, a.Forth+a.Back), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst))
	})
	return list[:min(len(list), mostListed)]
}

func (w *walk) top() ([]Host, []Talker) {
	hosts := make([]Host, 0, len(w.hosts))
	for _, h := range w.hosts {
		hosts = append(hosts, *h)
	}
	slices.SortFunc(hosts, func(a, b Host) int {
		return cmp.Or(cmp.Compare(b.Up+b.Down, a.Up+a.Down), cmp.Compare(b.Flows, a.Flows), a.Address.Compare(b.Address))
	})
	hosts = hosts[:min(len(hosts), mostListed)]
	for i := range hosts {
		if w.t.Name != nil {
			hosts[i].Name = w.t.Name(hosts[i].Address)
		}
	}
	return hosts, busiest(w.talkers)
}
