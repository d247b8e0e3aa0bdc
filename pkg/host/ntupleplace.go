// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Features by the kernel's names.
const (
	ntupleFeature = "rx-ntuple-filter"
	vlanFeature   = "rx-vlan-hw-parse"
)

// nicFacts are what the placement of rules depends on.
type nicFacts struct {
	driver   string
	features map[string]bool
	queues   uint32 // 0: not known
}

// rulePlacer places the rules of a configuration.
type rulePlacer struct {
	c     *config.Config
	facts func(name string) nicFacts
	cpus  cpus.Machine
	errs  []error
}

// PlaceNTuples decides for each interface of the dataplane which of its rules go to the
// NIC and which to XDP. The error has all that cannot be done, with its places in the
// file.
func PlaceNTuples(c *config.Config) (map[string][]ntuple.Placed, error) {
	if len(c.Dataplane.NTuple) == 0 {
		return nil, nil
	}
	machine, err := cpus.Read("/")
	if err != nil {
		return nil, err
	}
	client, err := ethnl.Dial()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p := rulePlacer{c: c, cpus: machine, facts: func(name string) nicFacts {
		f := nicFacts{driver: driver(name), features: map[string]bool{}}
		n := nicOf(c, name)
		now, _ := client.Features(name) // none of an interface that is not there
		for key, feature := range now {
			f.features[key] = feature.Active
		}
		for key, on := range n.Features {
			f.features[key] = on
		}
		f.queues = queuesOf(ethioctl.Kernel{}, n)
		return f
	}}
	return p.place()
}

// nicOf is what is declared of an interface.
func nicOf(c *config.Config, name string) *config.NIC {
	for i := range c.Host.NICs {
		if c.Host.NICs[i].Name == name {
			return &c.Host.NICs[i]
		}
	}
	return &config.NIC{Name: name}
}

func (p *rulePlacer) place() (map[string][]ntuple.Placed, error) {
	list := p.c.Dataplane.NTuple
	for i := range list {
		if problem, want := p.cpus.Refuses(list[i].CPUs); problem != "" {
			p.refuse(list[i].ActionAt(p.c.Path), problem, want)
		}
	}
	out := map[string][]ntuple.Placed{}
	for _, i := range p.c.Dataplane.Interfaces {
		var rules []ntuple.Rule
		var of []int
		for n := range list {
			if slices.Contains(list[n].Interfaces, i.Name) {
				rules, of = append(rules, list[n].Rule), append(of, n)
			}
		}
		if len(rules) == 0 {
			continue
		}
		if nic := "host.nics." + i.Name; !p.c.Sound(nic+".features", nic+".channels") {
			continue // what it is going to be is not known
		}
		facts := p.facts(i.Name)
		placed := ntuple.Place(ntuple.NIC{Driver: facts.driver, NTuple: facts.features[ntupleFeature]}, rules)
		for n := range placed {
			placed[n].Of = of[placed[n].Of]
			p.check(&i, facts, &placed[n])
		}
		out[i.Name] = placed
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return out, nil
}

func (p *rulePlacer) refuse(e config.Error, problem, want string) {
	e.Problem, e.Want = problem, want
	if !slices.ContainsFunc(p.errs, func(have error) bool { return have.Error() == e.Error() }) {
		p.errs = append(p.errs, e)
	}
}

// check refuses a rule that has no place.
func (p *rulePlacer) check(i *config.Interface, facts nicFacts, r *ntuple.Placed) {
	t := &p.c.Dataplane.NTuple[r.Of]
	switch {
	case r.Action == ntuple.ToQueue && !r.Hardware:
		p.refuse(t.At(p.c.Path), fmt.Sprintf("%s does not take %q: %s", i.Name, r.String(), r.Why), "a rule that the NIC takes, or cpu N instead, which XDP does")
	case r.Action == ntuple.ToQueue && facts.queues > 0 && r.Queue >= facts.queues:
		p.refuse(t.ActionAt(p.c.Path), fmt.Sprintf("%s has no receive queue %d", i.Name, r.Queue), fmt.Sprintf("a queue from 0 to %d, or more of channels", facts.queues-1))
	case !r.XDP:
	case i.XDP == config.XDPOff:
		p.refuse(t.At(p.c.Path), fmt.Sprintf("%s does not take %q: %s; and its XDP is off", i.Name, r.String(), cmp.Or(r.Why, "others of XDP are behind it")), "xdp: auto or native for "+i.Name)
	case r.Tagged && facts.features[vlanFeature]:
		p.refuse(t.VLANAt(p.c.Path), i.Name+" takes tags out of frames before XDP sees them", "features: {"+vlanFeature+": false} for it in host.nics")
	}
}

// ntupleResources are the rules that are in NICs: of each that has any, or could, so that
// what is not in the list any more goes.
func ntupleResources(c *config.Config, dev ethioctl.Device, placed map[string][]ntuple.Placed) (out []reconcile.Resource) {
	if c.Dataplane.NTuple == nil {
		return nil
	}
	for _, i := range c.Dataplane.Interfaces {
		if _, err := ethioctl.Rules(dev, i.Name); err != nil {
			continue // XDP has them all
		}
		at := i.At(c.Path)
		out = append(out, reconcile.Resource{
			Kind: NTupleKind, Name: i.Name, Want: ntupleWant(placed[i.Name]), Rank: ntupleRank, Enforce: nicOf(c, i.Name).Enforce,
			At: reconcile.PlaceOf(at),
		})
	}
	return out
}

// ntupleRank is behind the NIC's features and queues.
const ntupleRank = nicRank + 30

// NTupleNIC is what decides about which rules an interface takes now.
func NTupleNIC(name string) (ntuple.NIC, error) {
	client, err := ethnl.Dial()
	if err != nil {
		return ntuple.NIC{}, err
	}
	defer client.Close()
	features, err := client.Features(name)
	return ntuple.NIC{Driver: driver(name), NTuple: features[ntupleFeature].Active}, err
}
