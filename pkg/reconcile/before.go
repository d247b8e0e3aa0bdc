// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"context"
	"maps"
	"slices"
)

// Before is what a resource was before a change.
type Before struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Rank  int    `json:"rank"`
	State State  `json:"state"`
}

// makerRank is behind all others: what other resources are of goes last.
const makerRank = 1000

// Before is what the plan's changes find, the latest first.
func (p *Plan) Before() (out []Before) {
	for _, c := range slices.Backward(p.Changes) {
		if len(c.Undo) == 0 {
			continue // it goes with another one
		}
		b := Before{c.Kind, c.Name, c.Rank, maps.Clone(c.Undo)}
		if c.Effect.Makes {
			b.Rank = makerRank
		}
		out = append(out, b)
	}
	return out
}

// Back adds to the resources of an earlier state what later changes would leave behind of
// theirs: all that the earlier state does not say anything of, as it was before these changes,
// of which the latest come first. What is not there any more is left out.
func (e *Engine) Back(ctx context.Context, wanted []Resource, since []Before) []Resource {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Clone(wanted)
	for _, b := range since {
		k, known := e.kinds[b.Kind]
		if !known {
			continue
		}
		i := slices.IndexFunc(out, func(r Resource) bool { return r.Kind == b.Kind && r.Name == b.Name })
		if _, err := k.Observe(ctx, b.Name, b.State.Keys()); i < 0 && err != nil {
			continue
		}
		if i < 0 {
			i, out = len(out), append(out, Resource{Kind: b.Kind, Name: b.Name, Rank: b.Rank})
		}
		r := &out[i]
		_, whole := k.(Whole)
		if whole && len(r.Want) > 0 {
			continue // that is all there is to say of it
		}
		// The earliest of the changes knows what was before them all.
		before := State{}
		if !whole && !b.State.isAbsent() { // else nothing of what came later is left
			maps.Copy(before, r.Before)
		}
		maps.Copy(before, b.State)
		for key := range r.Want {
			delete(before, key)
		}
		r.Before = before
		if len(r.Want) == 0 {
			r.Rank = max(r.Rank, b.Rank)
		}
	}
	return out
}
