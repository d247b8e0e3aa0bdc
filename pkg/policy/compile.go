// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Compile lowers a ruleset. The error, if any, joins an [*Unsupported] for each
// thing that is refused, in the ruleset's order.
func Compile(rs *nft.Ruleset, opt Options) (*Program, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, errors.New("policy: only little-endian machines are supported")
	}
	if opt.SetSize == 0 {
		opt.SetSize = DefaultSetSize
	}
	opt.Links = maps.Clone(opt.Links)
	c := &compiler{
		p:    &Program{options: opt, chains: make(map[*nft.Chain]*chain)},
		sets: make(map[*nft.Set]int),

		objects: make(map[*nft.Object]*object),
	}
	for name := range opt.Links {
		c.links = append(c.links, name)
	}
	slices.Sort(c.links)

	for _, t := range rs.Tables {
		if !t.Dormant {
			c.table(t)
		}
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	c.p.nameMaps()
	c.order()
	c.findNATOfOutput()
	c.checkHooks()
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	if err := c.plan(); err != nil {
		return nil, err
	}
	c.findEarly()
	c.findTCOnly()
	c.checkZones()
	c.checkZonesOfCopies()
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	c.p.pool(setMaps)
	if _, err := c.p.generate(plainLayout()); err != nil {
		return nil, err
	}
	return c.p, nil
}

type compiler struct {
	p     *Program
	links []string // names, sorted
	sets  map[*nft.Set]int
	// objects that rules have asked for.
	objects map[*nft.Object]*object
	bases   []*chain
	errs    []error
}

var families = []nft.Family{nft.FamilyIPv4, nft.FamilyIPv6, nft.FamilyInet, nft.FamilyNetdev}

// table lowers a table's chains.
func (c *compiler) table(t *nft.Table) {
	if !slices.Contains(families, t.Family) {
		for _, ch := range t.Chains {
			if ch.Base != nil {
				c.refuseChain(ch, "family", fmt.Sprintf("family %v: it stays with the kernel, so load it with nft, in a file of its own", t.Family), "ip, ip6, inet, netdev")
			}
		}
		return
	}
	for _, ch := range t.Chains {
		if ch.Base == nil || c.supported(ch) {
			c.chain(ch)
		}
	}
	c.namedSets(t)
}

func (c *compiler) refuseChain(ch *nft.Chain, property, why, supported string) {
	b := ch.Base
	c.errs = append(c.errs, &Unsupported{
		Table:     ch.Table.String(),
		Chain:     ch.Name,
		Text:      fmt.Sprintf("type %s hook %s priority %d", b.Type, ch.HookName(), b.Priority),
		Expr:      property,
		Why:       why,
		Supported: supported,
	})
}

// supported tells whether a base chain is to be compiled and refuses it if it
// cannot be.
func (c *compiler) supported(ch *nft.Chain) bool {
	b := ch.Base
	switch {
	case b.Hook >= nft.HookIngress && !c.hasDevices(ch):
		return false
	case findPhase(b) != nil:
		return true
	case b.Type != "filter" && b.Type != "nat" && b.Type != typeRoute:
		c.refuseChain(ch, "type", "type "+b.Type, "filter, nat, route")
	default:
		c.refuseChain(ch, "hook", fmt.Sprintf("hook %v", b.Hook), "prerouting, input, forward, output, postrouting, ingress, egress")
	}
	return false
}

// chain lowers a chain's rules and gives counters to them.
func (c *compiler) chain(src *nft.Chain) {
	ch := &chain{src: src}
	c.p.chains[src] = ch
	for _, r := range src.Rules {
		index := c.counter(RuleInfo{
			Table:  src.Table.String(),
			Chain:  src.Name,
			Handle: r.Handle,
			Text:   r.Text,
			Line:   r.Line,
		})
		ops, err := c.lower(r, index)
		if err != nil {
			c.errs = append(c.errs, err)
			continue
		}
		ch.rules = append(ch.rules, &rule{src: r, index: index, ops: ops})
	}
	if src.Base != nil {
		if src.Base.Type == "nat" {
			c.p.nat |= natChains(src.Table.Family)
		}
		ch.policy = c.counter(RuleInfo{
			Table: src.Table.String(),
			Chain: src.Name,
			Text:  "policy " + src.Base.Policy.String(),
		})
		c.bases = append(c.bases, ch)
	}
}

func (c *compiler) counter(info RuleInfo) uint32 {
	info.Index = uint32(len(c.p.Rules))
	c.p.Rules = append(c.p.Rules, info)
	return info.Index
}

// order sorts the base chains into phases. Of chains with one priority the one
// that was made last runs first, as in the kernel.
func (c *compiler) order() {
	for i := range phaseTable {
		info := &phaseTable[i]
		ph := &phase{phaseInfo: info}
		for _, ch := range slices.Backward(c.bases) {
			if findPhase(ch.src.Base) == info {
				ph.chains = append(ph.chains, ch)
			}
		}
		if len(ph.chains) == 0 {
			continue
		}
		slices.SortStableFunc(ph.chains, func(a, b *chain) int {
			return cmp.Compare(a.src.Base.Priority, b.src.Base.Priority)
		})
		c.p.phases = append(c.p.phases, ph)
		c.p.Phases |= 1 << info.bit
		if slices.ContainsFunc(ph.chains, func(ch *chain) bool { return ch.src.Base.Type == typeRoute }) {
			c.p.Phases |= phaseRoute
		}
	}
}

// sortedChains returns the chains in an order of their names.
func (p *Program) sortedChains() []*chain {
	var out []*chain
	for _, ch := range p.chains {
		out = append(out, ch)
	}
	slices.SortFunc(out, func(a, b *chain) int {
		if n := strings.Compare(a.src.Table.String(), b.src.Table.String()); n != 0 {
			return n
		}
		return strings.Compare(a.src.Name, b.src.Name)
	})
	return out
}

// identifier makes a name that BTF accepts for a function.
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, s)
}
