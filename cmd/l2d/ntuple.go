// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
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
		table, _ := ethioctl.Rules(ethioctl.Kernel{}, i.Name) // none of a driver without
		for n := range placed {
			r := &placed[n]
			out := api.NTuple{Interface: i.Name, Rule: r.String(), Why: r.Why}
			switch {
			case r.Hardware:
				out.Place = api.PlaceNIC
				out.Location = locationOf(table.Rules, r.String())
				if out.Location == nil {
					out.Place = api.PlaceMissing
				}
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
	}
	return list, nil
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
