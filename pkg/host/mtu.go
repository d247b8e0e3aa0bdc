// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// MTUKind is the name of [MTU].
const MTUKind = "mtu"

// MTU is the kind of an interface's maximum transmission unit, in bytes from the
// network header on. A resource has the interface's name.
type MTU struct{}

// Name implements [reconcile.Kind].
func (MTU) Name() string { return MTUKind }

func link(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return l, err
}

// Check implements [reconcile.Kind].
func (MTU) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if _, err := link(r.Name); err != nil {
		return []reconcile.Problem{linkProblem(r, MTUKind, err)}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (MTU) Observe(_ context.Context, name string, _ []string) (reconcile.State, error) {
	l, err := link(name)
	if err != nil {
		return nil, err
	}
	return reconcile.State{valueKey: strconv.Itoa(l.Attrs().MTU)}, nil
}

// Same implements [reconcile.Kind].
func (MTU) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (MTU) Effect(name string, _ reconcile.State) reconcile.Effect {
	return effectOf(driver(name), MTUKind)
}

// Before implements [reconcile.Kind].
func (m MTU) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return m.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (MTU) Set(_ context.Context, name string, to reconcile.State) error {
	l, err := link(name)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(to[valueKey])
	if err != nil {
		return err
	}
	return netlink.LinkSetMTU(l, n)
}
