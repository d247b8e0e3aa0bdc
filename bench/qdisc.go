// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Qdisc is a device that sends by a queue discipline, as the kernel sets it up without options.
type Qdisc struct {
	Device
	Kind   string // such as fq_codel
	router *Topology
	before uint32 // packets that have passed it
}

// Name implements [Device].
func (d *Qdisc) Name() string { return d.Device.Name() + "+" + d.Kind }

// Setup implements [Device].
func (d *Qdisc) Setup(ctx context.Context, t *Topology) error {
	d.router = t
	return errors.Join(d.Device.Setup(ctx, t), d.add(t))
}

func (d *Qdisc) add(t *Topology) error {
	return t.InRouter(func() error {
		q := &netlink.GenericQdisc{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: t.Egress.Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)},
			QdiscType:  d.Kind,
		}
		if err := netlink.QdiscReplace(q); err != nil {
			return fmt.Errorf("queue discipline %s: %w", d.Kind, err)
		}
		return nil
	})
}

// Missing implements [Needer]: the kernel has the queue discipline or it does not.
func (d *Qdisc) Missing(ctx context.Context) error {
	if n, ok := d.Device.(Needer); ok {
		if err := n.Missing(ctx); err != nil {
			return err
		}
	}
	t, err := NewTopology()
	if err != nil {
		return err
	}
	return errors.Join(d.add(t), t.Close())
}

// passed is how many packets have passed the queue discipline.
func (d *Qdisc) passed() (n uint32, err error) {
	err = d.router.InRouter(func() error {
		link, err := netlink.LinkByIndex(d.router.Egress.Index)
		if err != nil {
			return err
		}
		all, err := netlink.QdiscList(link)
		if err != nil {
			return fmt.Errorf("list queue disciplines: %w", err)
		}
		for _, q := range all {
			if a := q.Attrs(); a.Parent == netlink.HANDLE_ROOT && q.Type() == d.Kind && a.Statistics != nil {
				n = a.Statistics.Basic.Packets
				return nil
			}
		}
		return fmt.Errorf("%s has no queue discipline %s any more", EgressName, d.Kind)
	})
	return n, err
}

// Watch implements [Verifier].
func (d *Qdisc) Watch(ctx context.Context) (err error) {
	if d.before, err = d.passed(); err != nil {
		return err
	}
	if v, ok := d.Device.(Verifier); ok {
		return v.Watch(ctx)
	}
	return nil
}

// Verify implements [Verifier]: the packets have come to the queue.
func (d *Qdisc) Verify(ctx context.Context, c Case) error {
	after, err := d.passed()
	if err == nil && after == d.before {
		err = fmt.Errorf("no packet has passed %s", d.Kind)
	}
	if v, ok := d.Device.(Verifier); ok {
		err = errors.Join(err, v.Verify(ctx, c))
	}
	return err
}
