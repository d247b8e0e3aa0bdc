// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// purgeInterval is how often expired elements are removed from sets. They match
// nothing from the moment they expire; this is about memory.
const purgeInterval = time.Minute

// families are those that a set can be in.
var families = map[string]nft.Family{
	nft.FamilyIPv4.String(): nft.FamilyIPv4,
	nft.FamilyIPv6.String(): nft.FamilyIPv6,
	nft.FamilyInet.String(): nft.FamilyInet,
}

// withSet calls do with a set and its map.
func (d *daemon) withSet(name api.SetName, do func(*policy.Set, policy.Maps) error) error {
	// A set of a policy that is being replaced would lose the change.
	d.change.Lock()
	defer d.change.Unlock()
	plan, dp := d.state()
	if dp == nil {
		return errDetached
	}
	family, ok := families[name.Family]
	if !ok {
		return api.BadInput(fmt.Errorf("family %q: want ip, ip6 or inet", name.Family))
	}
	set, err := plan.Program.Set(family, name.Table, name.Set)
	if err != nil {
		return &api.Error{Status: http.StatusNotFound, Message: err.Error()}
	}
	return dp.Maps(func(m map[string]*ebpf.Map) error { return do(set, m) })
}

// withOwnSet is withSet for who changes it.
func (d *daemon) withOwnSet(name api.SetName, do func(*policy.Set, policy.Maps) error) error {
	plan, _ := d.state()
	if err := followsInterface(plan, name); err != nil {
		return err
	}
	return d.withSet(name, do)
}

// SetList implements api.Service.
func (d *daemon) SetList(_ context.Context, name api.SetName) ([]api.Element, error) {
	var list []api.Element
	err := d.withSet(name, func(s *policy.Set, m policy.Maps) error {
		elements, err := s.Elements(m)
		if err != nil {
			return err
		}
		for _, e := range elements {
			list = append(list, api.Element{Value: e.Element, Expires: e.Expires.Seconds(), State: e.State})
		}
		return nil
	})
	return list, err
}

// SetAdd implements api.Service. What nftables has of the set gets the element
// as well.
func (d *daemon) SetAdd(ctx context.Context, name api.SetName, element string, timeout time.Duration) error {
	err := d.withOwnSet(name, func(s *policy.Set, m policy.Maps) error {
		if err := s.Add(m, element, timeout); err != nil {
			return api.BadInput(err)
		}
		if !d.inKernel(s) {
			return nil
		}
		if err := enforce.AddElement(ctx, s, element, timeout); err != nil {
			return errors.Join(fmt.Errorf("set %v: element %q: not in nftables: %w", s, element, err), s.Delete(m, element))
		}
		return nil
	})
	if err == nil {
		text := element
		if timeout > 0 {
			text += " timeout " + timeout.String()
		}
		d.tellSet("add", name, text)
	}
	return err
}

// tellSet tells those who watch of a change of a set, in the words of nft.
func (d *daemon) tellSet(verb string, name api.SetName, element string) {
	d.told.tell(api.WatchSets, fmt.Sprintf("%s element %s %s %s { %s }", verb, name.Family, name.Table, name.Set, element))
}

// SetDelete implements api.Service.
func (d *daemon) SetDelete(ctx context.Context, name api.SetName, element string) error {
	err := d.withOwnSet(name, func(s *policy.Set, m policy.Maps) error {
		err := s.Delete(m, element)
		switch {
		case err != nil && !errors.Is(err, ebpf.ErrKeyNotExist):
			return api.BadInput(err)
		case d.inKernel(s) && enforce.DeleteElement(ctx, s, element) == nil:
			return nil
		case err != nil:
			return &api.Error{Status: http.StatusNotFound, Message: err.Error()}
		}
		return nil // one that a rule added
	})
	if err == nil {
		d.tellSet("delete", name, element)
	}
	return err
}

// inKernel tells whether nftables has the set, too. The caller holds change.
func (d *daemon) inKernel(s *policy.Set) bool {
	return d.live.sets[setName{nft.TableName{Family: s.Family, Name: s.Table}, s.Name}] != nil
}

// purgeSets removes expired elements until ctx ends.
func (d *daemon) purgeSets(ctx context.Context) {
	every(ctx, purgeInterval, "expired elements not removed", d.purgeOnce)
}

func (d *daemon) purgeOnce() error {
	d.change.Lock()
	defer d.change.Unlock()
	plan, dp := d.state()
	if dp == nil {
		return nil
	}
	var errs []error
	for _, s := range plan.Program.Sets {
		if !s.Timeouts {
			continue
		}
		errs = append(errs, dp.Maps(func(m map[string]*ebpf.Map) error {
			_, err := s.Purge(m)
			return err
		}))
	}
	return errors.Join(errs...)
}
