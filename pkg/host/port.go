// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// PortKind is the name of [Port].
const PortKind = "port"

const (
	bridgeKey = "bridge"
	isNoPort  = "none"
)

// Port is the kind of the bridge that an interface is a port of, and whether it is up.
// A resource has the interface's name.
type Port struct{}

// Name implements [reconcile.Kind].
func (Port) Name() string { return PortKind }

// Check implements [reconcile.Kind].
func (Port) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if _, err := link(r.Name); err != nil {
		return []reconcile.Problem{linkProblem(r, PortKind, err)}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (Port) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	l, err := link(name)
	if err != nil {
		return nil, err
	}
	out := reconcile.State{bridgeKey: isNoPort, upKey: onOff(l.Attrs().Flags&net.FlagUp != 0)}
	if master := l.Attrs().MasterIndex; master != 0 {
		out[bridgeKey] = linkName(master)
	}
	return out.Pick(keys), nil
}

// Same implements [reconcile.Kind].
func (Port) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (p Port) Effect(name string, to reconcile.State) reconcile.Effect {
	s, err := p.Observe(context.Background(), name, []string{bridgeKey})
	if _, ok := to[bridgeKey]; ok && err == nil && s[bridgeKey] != isNoPort {
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: "it leaves " + s[bridgeKey]}
	}
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (p Port) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return p.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (Port) Set(_ context.Context, name string, to reconcile.State) error {
	l, err := link(name)
	if err != nil {
		return err
	}
	if err := setBridge(l, to[bridgeKey]); err != nil {
		return err
	}
	return setUp(l, to[upKey])
}

func setBridge(l netlink.Link, name string) error {
	switch name {
	case "":
		return nil
	case isNoPort:
		return netlink.LinkSetNoMaster(l)
	}
	bridge, err := link(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(l, bridge)
}
