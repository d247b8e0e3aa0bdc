// SPDX-License-Identifier: GPL-2.0-only

// Package names knows what the hosts of the LAN are called: as they have said when they asked for an address, or
// as somebody has said of them.
package names

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Source tells names of addresses. What it cannot tell it leaves out.
type Source func(ctx context.Context) map[netip.Addr]string

// every is how often sources are asked, and only if somebody wants to know.
const every = 10 * time.Second

// Book has the names of all sources. It may be used concurrently.
type Book struct {
	sources []Source

	mu    sync.Mutex
	at    time.Time
	names map[netip.Addr]string
}

// New returns a book of some sources: a later one is right where they differ.
func New(sources ...Source) *Book { return &Book{sources: sources} }

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
