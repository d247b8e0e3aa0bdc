// SPDX-License-Identifier: GPL-2.0-only

// Package names knows what the hosts of the LAN are called: as they have said when they asked for an address, or
// as somebody has said of them.
package names

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Neighbours are the addresses of hosts that are seen on a network, by MAC address in lower case.
type Neighbours func() map[string][]netip.Addr

// MACs tells names of MAC addresses, in lower case.
type MACs func(ctx context.Context) map[string]string

// Source tells names of addresses. What it cannot tell it leaves out.
type Source func(ctx context.Context) map[netip.Addr]string

// every is how often sources are asked, and only if somebody wants to know.
const every = 10 * time.Second

// Book has the names of all sources. It may be used concurrently.
type Book struct {
	sources []Source
	macs    MACs
	seen    Neighbours

	mu    sync.Mutex
	at    time.Time
	names map[netip.Addr]string
}

// New returns a book of some sources: a later one is right where they differ.
func New(sources ...Source) *Book { return &Book{sources: sources} }

// Follow has the book give the name of a host to the addresses that no source knows, such as those that it has made
// itself (SLAAC): by what is seen of its MAC address. It is called before the book is asked.
func (b *Book) Follow(macs MACs, seen Neighbours) { b.macs, b.seen = macs, seen }

// patience is what all sources get together.
const patience = 2 * time.Second

// read asks the sources if that is due. The caller has the lock.
func (b *Book) read() {
	now := time.Now()
	if b.names != nil && now.Sub(b.at) < every {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.at, b.names = now, map[netip.Addr]string{}
	for _, s := range b.sources {
		maps.Copy(b.names, s(ctx))
	}
	if b.seen != nil {
		spread(b.names, b.macs(ctx), b.seen())
	}
}

// spread names the addresses of hosts that have a name by their MAC, or by another address. A MAC with addresses of
// several names is that of a router, and says nothing.
func spread(known map[netip.Addr]string, macs map[string]string, seen map[string][]netip.Addr) {
	named := maps.Clone(known)
	for _, mac := range slices.Sorted(maps.Keys(seen)) {
		name := macs[mac]
		several := false
		for _, a := range seen[mac] {
			n := named[a]
			several = several || n != "" && name != "" && n != name
			name = cmp.Or(name, n)
		}
		if several || name == "" {
			continue
		}
		for _, a := range seen[mac] {
			known[a] = cmp.Or(known[a], name)
		}
	}
}

// Of is the name of a host; empty if it has none.
func (b *Book) Of(a netip.Addr) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read()
	return b.names[a]
}

// All are the names of all hosts that have one.
func (b *Book) All() map[netip.Addr]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read()
	return maps.Clone(b.names)
}
