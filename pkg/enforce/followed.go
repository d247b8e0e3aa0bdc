// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
	"github.com/randomizedcoder/l2d/pkg/prefixes"
)

// Followed is a set that has the networks, or the addresses, of an interface beside what the ruleset says.
type Followed struct {
	*config.FollowedSet
	Set *policy.Set

	src    *nft.Set
	family int // 4 or 6, of its elements
}

// keyFamilies are the types of keys that such a set can have.
var keyFamilies = map[string]int{"ipv4_addr": 4, "ipv6_addr": 6}

// Followed are the sets that follow interfaces. The error names those that cannot.
func (p *Plan) Followed() ([]Followed, error) {
	var out []Followed
	var errs config.List
	for i := range p.Config.Dataplane.Sets {
		f := Followed{FollowedSet: &p.Config.Dataplane.Sets[i]}
		if problem, want := p.find(&f); problem != "" {
			e := f.At(p.Config.Path)
			e.Problem, e.Want = problem, want
			errs = append(errs, e)
			continue
		}
		out = append(out, f)
	}
	if errs != nil {
		return nil, errs
	}
	return out, nil
}

// find completes f, or says why it cannot.
func (p *Plan) find(f *Followed) (problem, want string) {
	set, err := p.Program.Set(familyOf(f.Family), f.Table, f.FollowedSet.Set)
	if err != nil {
		return err.Error(), `a set of the ruleset without the flag "constant"`
	}
	f.Set, f.src, f.family = set, p.setOf(set), keyFamilies[set.KeyType]
	switch {
	case f.src == nil || set.Kind() != "set" || f.family == 0:
		return "is a " + set.Kind() + " of " + set.KeyType, "a set of ipv4_addr or ipv6_addr"
	case set.Dynamic():
		return "is a set that rules add to", "a set of its own"
	case set.Timeouts:
		return "is a set whose elements expire", `a set without the flag "timeout"`
	}
	return "", ""
}

func familyOf(name string) nft.Family {
	for _, f := range []nft.Family{nft.FamilyIPv4, nft.FamilyIPv6} {
		if f.String() == name {
			return f
		}
	}
	return nft.FamilyInet
}

// Follow makes the set what its interface is for, and returns the elements that come and go by that, as nft writes
// them. inKernel says that nftables has the set, too.
func (f *Followed) Follow(ctx context.Context, maps Maps, inKernel bool) (come, gone []string, err error) {
	list, err := f.wanted()
	if err != nil {
		return nil, nil, err
	}
	err = maps(func(m map[string]*ebpf.Map) (err error) {
		come, gone, err = f.differs(m, list)
		if err != nil || len(come)+len(gone) == 0 {
			return err
		}
		return f.Set.Sync(m, list)
	})
	if err != nil || len(come)+len(gone) == 0 || !inKernel {
		return come, gone, err
	}
	var b strings.Builder
	for _, c := range []struct {
		verb string
		list []string
	}{{"delete", gone}, {"add", come}} {
		if len(c.list) > 0 {
			fmt.Fprintf(&b, "%s element %v { %s }\n", c.verb, f.Set, strings.Join(c.list, ", "))
		}
	}
	if err := runNFT(ctx, "/", b.String()); err != nil {
		return come, gone, fmt.Errorf("set %v: not in nftables: %w", f.Set, err)
	}
	return come, gone, nil
}

// Count is how many elements the set has.
func (f *Followed) Count(maps Maps) (n int, err error) {
	err = maps(func(m map[string]*ebpf.Map) error {
		list, err := f.Set.Elements(m)
		n = len(list)
		return err
	})
	return n, err
}

// wanted is what the ruleset says, and what the interface has beside that.
func (f *Followed) wanted() ([]nft.Range, error) {
	addrs, err := prefixes.Of(f.Interface, f.family)
	if err != nil {
		return nil, err
	}
	if f.Set.Interval {
		addrs = prefixes.Networks(addrs)
	}
	list := f.src.Ranges()
	for _, a := range addrs {
		if !f.Set.Interval {
			a = netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
		}
		r := rangeOf(a)
		if !slices.ContainsFunc(list, func(o nft.Range) bool { return string(o.From) <= string(r.To) && string(r.From) <= string(o.To) }) {
			list = append(list, r)
		}
	}
	return list, nil
}

// rangeOf is a prefix as an element.
func rangeOf(p netip.Prefix) nft.Range {
	from := p.Masked().Addr().AsSlice()
	to := slices.Clone(from)
	for i := p.Bits(); i < 8*len(to); i++ {
		to[i/8] |= 0x80 >> (i % 8)
	}
	return nft.Range{From: from, To: to, Element: nft.Element{Key: from}}
}

// differs compares what the set has with what it is to have.
func (f *Followed) differs(maps policy.Maps, list []nft.Range) (come, gone []string, err error) {
	has, err := f.Set.Elements(maps)
	if err != nil {
		return nil, nil, err
	}
	wanted := map[string]bool{}
	for _, r := range list {
		for _, k := range f.Set.Keys(r) {
			text, err := f.Set.Decode(k)
			if err != nil {
				return nil, nil, err
			}
			wanted[text] = true
		}
	}
	for _, e := range has {
		if !wanted[e.Element] {
			gone = append(gone, e.Element)
		}
		delete(wanted, e.Element)
	}
	for text := range wanted {
		come = append(come, text)
	}
	slices.Sort(come)
	return come, gone, nil
}
