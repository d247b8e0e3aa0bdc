// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Flows implements api.Service.
func (d *daemon) Flows(_ context.Context, f flow.Filter) ([]flow.Flow, error) {
	_, dp := d.state()
	if dp == nil {
		return nil, errDetached
	}
	confirmed, err := cloneMap(dp, "l2_flows")
	if err != nil {
		return nil, err
	}
	defer confirmed.Close()
	halfOpen, err := cloneMap(dp, "l2_half_open")
	if err != nil {
		return nil, err
	}
	defer halfOpen.Close()
	t, err := flow.NewTable(confirmed, halfOpen)
	if err != nil {
		return nil, err
	}
	return t.List(f)
}

// cloneMap returns a descriptor that stays valid when the dataplane is replaced.
func cloneMap(dp *loader.Dataplane, name string) (m *ebpf.Map, err error) {
	err = dp.Map(name, func(orig *ebpf.Map) (err error) {
		m, err = orig.Clone()
		return err
	})
	return m, err
}
