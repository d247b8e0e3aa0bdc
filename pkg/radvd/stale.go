// SPDX-License-Identifier: GPL-2.0-only

package radvd

import (
	"net/netip"
	"slices"
	"time"
)

// A prefix that the provider delegates can change without a word to those who have it: RFC 9096 has
// shorter lifetimes for it, and has the one before announced with a preferred lifetime of
// none, for as long as it is valid.
const (
	delegatedPreferred = 45 * time.Minute
	delegatedValid     = 90 * time.Minute
)

// note remembers which prefixes are delegated now, and returns those that were, and whose
// clients are to let go of them.
func (d *Daemon) note(now []netip.Prefix) (stale []netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range now {
		d.delegated[p] = time.Now()
	}
	for p, last := range d.delegated {
		switch {
		case slices.Contains(now, p):
		case time.Since(last) > delegatedValid:
			delete(d.delegated, p)
		default:
			stale = append(stale, p)
		}
	}
	slices.SortFunc(stale, netip.Prefix.Compare)
	return stale
}
