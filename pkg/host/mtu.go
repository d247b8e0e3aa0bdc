// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	nlmsg "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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
	l, err := link(r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, MTUKind, err)}
	}
	least, most, err := mtuLimits(l.Attrs().Index)
	if err != nil {
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	p := reconcile.Problem{Resource: r, Key: valueKey}
	switch n, err := strconv.ParseUint(r.Want[valueKey], 10, 32); {
	case err != nil:
		p.Problem = err.Error()
	case n < uint64(least):
		p.Problem, p.Want = "less than the device has", fmt.Sprintf("at least %d", least)
	case most > 0 && n > uint64(most):
		p.Problem, p.Want = "more than the device has", fmt.Sprintf("at most %d", most)
	default:
		return nil
	}
	return []reconcile.Problem{p}
}

// mtuLimits are what the driver of a link lets its MTU be; a greatest of 0 is none.
func mtuLimits(index int) (least, most uint32, err error) {
	conn, err := nlmsg.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("rtnetlink: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	header := make([]byte, unix.SizeofIfInfomsg)
	const at = 4 // ifi_index
	binary.NativeEndian.PutUint32(header[at:], uint32(index))
	answer, err := conn.Execute(nlmsg.Message{Header: nlmsg.Header{Type: unix.RTM_GETLINK, Flags: nlmsg.Request}, Data: header})
	if err != nil || len(answer) == 0 || len(answer[0].Data) < len(header) {
		return 0, 0, errors.Join(err, fmt.Errorf("limits of the MTU of link %d are not told", index))
	}
	ad, err := nlmsg.NewAttributeDecoder(answer[0].Data[len(header):])
	if err != nil {
		return 0, 0, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_MIN_MTU:
			least = ad.Uint32()
		case unix.IFLA_MAX_MTU:
			most = ad.Uint32()
		}
	}
	return least, most, ad.Err()
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
