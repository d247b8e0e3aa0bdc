// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"maps"
	"slices"

	"github.com/randomizedcoder/l2d/internal/nearest"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// PrivateFlags is the kind of the flags that only a driver knows the meaning of. A
// resource has the interface's name; its attributes are on or off.
type PrivateFlags struct{ dial func() (*ethnl.Client, error) }

// PrivateFlagsKind is the name of [PrivateFlags].
const PrivateFlagsKind = "private_flags"

// Name implements [reconcile.Kind].
func (*PrivateFlags) Name() string { return PrivateFlagsKind }

func (f *PrivateFlags) get(link string) (map[string]bool, error) {
	c, err := f.dial()
	if err != nil {
		return nil, err
	}
	return c.Flags(ethnl.PrivateFlags, link)
}

// Check implements [reconcile.Kind].
func (f *PrivateFlags) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	now, err := f.get(r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, "private flags", err)}
	}
	names := slices.Sorted(maps.Keys(now))
	for _, key := range r.Want.Keys() {
		if _, there := now[key]; there {
			continue
		}
		p := reconcile.Problem{Resource: r, Key: key, Problem: "the driver " + driver(r.Name) + " has no such flag", Want: anyOf(names)}
		if near := nearest.Of(key, names); near != "" {
			p.Want = near
		}
		out = append(out, p)
	}
	return out
}

// Observe implements [reconcile.Kind].
func (f *PrivateFlags) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	now, err := f.get(name)
	if err != nil {
		return nil, err
	}
	out := reconcile.State{}
	for _, key := range keys {
		if on, ok := now[key]; ok {
			out[key] = onOff(on)
		}
	}
	return out, nil
}

// Same implements [reconcile.Kind].
func (*PrivateFlags) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (*PrivateFlags) Effect(name string, _ reconcile.State) reconcile.Effect {
	return effectOf(driver(name), PrivateFlagsKind)
}

// Before implements [reconcile.Kind].
func (f *PrivateFlags) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return f.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (f *PrivateFlags) Set(_ context.Context, name string, to reconcile.State) error {
	c, err := f.dial()
	if err != nil {
		return err
	}
	flags := map[string]bool{}
	for key, state := range to {
		flags[key] = state == onOff(true)
	}
	return c.SetFlags(ethnl.PrivateFlags, name, flags)
}
