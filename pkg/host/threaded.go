// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// ThreadedKind is the name of [Threaded].
const ThreadedKind = "threaded"

// Threaded is the kind of threaded NAPI: whether threads of their own poll an
// interface's queues, instead of the softirq of the CPU that was interrupted. A resource has the interface's
// name.
type Threaded struct {
	// Root is / but in tests.
	Root string
	// napis counts the NAPI instances of an interface.
	napis func(link string) (int, error)
}

// NewThreaded returns the kind for the running kernel.
func NewThreaded() *Threaded { return &Threaded{"/", countNAPIs} }

// Name implements [reconcile.Kind].
func (*Threaded) Name() string { return ThreadedKind }

// mt76Threaded is the file of the driver mt76.
const mt76Threaded = "napi_threaded"

// path is the file of an interface, or that which the driver mt76 has for a radio:
// its NAPI is that of a device without a name.
func (k *Threaded) path(link string) string {
	if dir, err := radioDir(k.Root, link); err == nil {
		path := filepath.Join(dir, "mt76", mt76Threaded)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(k.Root, "sys/class/net", link, "threaded")
}

// Check implements [reconcile.Kind].
func (k *Threaded) Check(ctx context.Context, r *reconcile.Resource) []reconcile.Problem {
	if isForeign(k.Root, r.Name) {
		return foreignProblem(r)
	}
	have, err := k.Observe(ctx, r.Name, r.Want.Keys())
	if err != nil {
		return []reconcile.Problem{queueProblem(k.Root, r, "threaded NAPI", err)}
	}
	if k.Same(valueKey, r.Want[valueKey], have[valueKey]) {
		return nil
	}
	if filepath.Base(k.path(r.Name)) == mt76Threaded {
		return nil
	}
	if _, err := os.Stat(filepath.Join(k.Root, "sys/class/net", r.Name, "phy80211")); err == nil {
		return []reconcile.Problem{{Resource: r, Problem: "the NAPI of a radio is not its interface's, and most drivers thread it by themselves", Skip: true}}
	}
	if n, err := k.napis(r.Name); err == nil && n == 0 {
		return []reconcile.Problem{{Resource: r, Problem: "the interface has no NAPI: its driver has none, or it is down", Skip: true}}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (k *Threaded) Observe(_ context.Context, name string, _ []string) (reconcile.State, error) {
	b, err := os.ReadFile(k.path(name))
	if err != nil {
		return nil, err
	}
	switch v := strings.TrimSpace(string(b)); v {
	case "0":
		return reconcile.State{valueKey: "off"}, nil
	case "1":
		return reconcile.State{valueKey: "on"}, nil
	default:
		return reconcile.State{valueKey: v}, nil
	}
}

// Same implements [reconcile.Kind].
func (*Threaded) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (*Threaded) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (k *Threaded) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (k *Threaded) Set(ctx context.Context, name string, to reconcile.State) error {
	have, err := k.Observe(ctx, name, to.Keys())
	if err != nil || have[valueKey] == to[valueKey] {
		return err
	}
	number := map[string]string{"off": "0", "on": "1"}[to[valueKey]]
	if number == "" {
		return fmt.Errorf("threaded NAPI of %s: %q is neither on nor off", name, to[valueKey])
	}
	return write(k.path(name), number)
}
