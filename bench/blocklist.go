// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// DropName is the name of the device that those with a blocklist are compared with.
const DropName = "drop"

// Drop is the limit of a blocklist: an XDP program that looks the sender up, in as
// many as the others have, and drops.
type Drop struct {
	Blocked []string // IPv4 addresses

	objects dropObjects
	link    link.Link
}

// Name implements [Device].
func (*Drop) Name() string { return DropName }

// Stateful implements [Device].
func (*Drop) Stateful() bool { return false }

// Promise implements [Device].
func (*Drop) Promise() Promise { return Promise{} }

// Setup implements [Device].
func (d *Drop) Setup(_ context.Context, t *Topology) error {
	spec, err := loadDrop()
	if err != nil {
		return err
	}
	spec.Maps["blocked"].MaxEntries = 2 * uint32(len(d.Blocked)) // as the rulesets' size
	if err := spec.LoadAndAssign(&d.objects, nil); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	keys, values := make([]uint32, len(d.Blocked)), make([]uint8, len(d.Blocked))
	for i, s := range d.Blocked {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return err
		}
		keys[i] = binary.NativeEndian.Uint32(a.AsSlice())
	}
	if _, err := d.objects.Blocked.BatchUpdate(keys, values, &ebpf.BatchOptions{}); err != nil {
		return fmt.Errorf("fill the blocklist: %w", err)
	}
	d.link, err = attachXDP(t.dut, d.objects.Drop, t.Ingress.Index)
	return err
}

// Teardown implements [Device].
func (d *Drop) Teardown() error {
	var err error
	if d.link != nil {
		err = d.link.Close()
	}
	return errors.Join(err, d.objects.Close())
}
