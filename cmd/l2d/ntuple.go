// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// NTuples implements api.Service.
func (d *daemon) NTuples(context.Context) ([]api.NTuple, error) {
	plan, dp := d.state()
	if dp == nil {
		return nil, errDetached
	}
	list := []api.NTuple{}
	for _, i := range plan.Loader.Interfaces {
		placed := plan.NTuples[i.Name]
		if len(placed) == 0 {
			continue
		}
		hits, err := dp.SteeringHits(i.Index)
		if err != nil {
			return nil, err
		}
		list = append(list, ntuplesOf(ethioctl.Kernel{}, i.Name, placed, hits)...)
	}
	return list, nil
}

// ntuplesOf are the rules of an interface: hits are those of the ones that XDP has, in order.
func ntuplesOf(dev ethioctl.Device, link string, placed []ntuple.Placed, hits []uint64) (list []api.NTuple) {
	table, _ := ethioctl.Rules(dev, link) // none of a driver without
	for n := range placed {
		r := &placed[n]
		out := api.NTuple{Interface: link, Rule: r.String(), Why: r.Why}
		switch {
		case r.Hardware:
			out.Place = api.PlaceNIC
			out.Location = locationOf(table.Rules, r.String())
			if out.Location == nil {
				out.Place = api.PlaceMissing
			}
			out.Driver, out.NICHits = nicHits(dev, link)
		case len(hits) == 0:
			out.Place = api.PlaceMissing
		default:
			out.Place = api.PlaceXDP
			out.Hits = &hits[0]
		}
		if r.XDP && len(hits) > 0 {
			hits = hits[1:]
		}
		list = append(list, out)
	}
	return list
}

// locationOf is where a rule is among those of a NIC; nil if it is not there.
func locationOf(specs []ethioctl.Spec, text string) *uint32 {
	i := slices.IndexFunc(specs, func(s ethioctl.Spec) bool {
		r, ok := ntuple.FromSpec(s)
		return ok && r.String() == text
	})
	if i < 0 {
		return nil
	}
	l := specs[i].Location()
	return &l
}

// nicHits are the driver of a NIC, and what it tells of the packets that rules have matched.
func nicHits(dev ethioctl.Device, link string) (driver string, hits map[string]uint64) {
	if nic, err := hostkinds.NTupleNIC(link); err == nil {
		driver = nic.Driver
	}
	list, err := ntuple.Counted(dev, link)
	if err != nil {
		return driver, nil // the interface has gone
	}
	for _, s := range list {
		if hits == nil {
			hits = map[string]uint64{}
		}
		hits[s.Name] += s.Value
	}
	return driver, hits
}
