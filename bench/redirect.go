// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
)

// Redirect is the limit: an XDP program that only replaces the MAC addresses
// and redirects.
type Redirect struct {
	objects redirectObjects
	links   []link.Link
}

// RedirectName is the name of the device that the others are compared with.
const RedirectName = "redirect"

func init() { register(RedirectName, func(DeviceOptions) Device { return &Redirect{} }) }

// Name implements [Device].
func (*Redirect) Name() string { return RedirectName }

// Stateful implements [Device].
func (*Redirect) Stateful() bool { return false }

// Promise implements [Device].
func (*Redirect) Promise() Promise {
	return Promise{TTL: startTTL}
}

// Setup implements [Device].
func (r *Redirect) Setup(_ context.Context, t *Topology) error {
	spec, err := loadRedirect()
	if err != nil {
		return err
	}
	macs := [12]byte(append(append([]byte{}, t.Sink.MAC...), t.Egress.MAC...))
	if err := spec.Variables[redirectVarMacs].Set(macs); err != nil {
		return fmt.Errorf("set MAC addresses: %w", err)
	}
	if err := spec.LoadAndAssign(&r.objects, nil); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	// The map takes interfaces of the caller's network namespace.
	err = t.InRouter(func() error {
		return r.objects.Out.Put(uint32(0), uint32(t.Egress.Index))
	})
	if err != nil {
		return fmt.Errorf("set egress: %w", err)
	}
	pass, err := t.passXDP(t.Egress)
	if err != nil {
		return err
	}
	if pass != nil {
		r.links = append(r.links, pass)
	}
	in, err := attachXDP(t.dut, r.objects.Redirect, t.Ingress.Index)
	if err != nil {
		return err
	}
	r.links = append(r.links, in)
	return nil
}

// Teardown implements [Device].
func (r *Redirect) Teardown() error {
	var errs []error
	for _, l := range r.links {
		errs = append(errs, l.Close())
	}
	r.links = nil
	return errors.Join(append(errs, r.objects.Close())...)
}
