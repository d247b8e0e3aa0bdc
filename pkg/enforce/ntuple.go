// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// placeNTuples gives the interfaces of the dataplane those rules that their NICs do
// not take.
func (p *Plan) placeNTuples() error {
	var err error
	if p.NTuples, err = host.PlaceNTuples(p.Config); err != nil {
		return err
	}
	for i := range p.Loader.Interfaces {
		n := &p.Loader.Interfaces[i]
		n.Rules = XDPRules(p.NTuples[n.Name])
	}
	return nil
}

// XDPRules are those of some rules that XDP has.
func XDPRules(placed []ntuple.Placed) (rules []ntuple.Rule) {
	for i := range placed {
		if placed[i].XDP {
			rules = append(rules, placed[i].Rule)
		}
	}
	return rules
}
