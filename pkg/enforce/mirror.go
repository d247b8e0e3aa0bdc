// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// mirrorComment begins the comment of a table that mirrors the sets of a ruleset
// file, for others to write to. What follows says which policy's they are.
const mirrorComment = "l2d mirror "

func isMirror(t *nft.Table) bool { return strings.HasPrefix(t.Comment, mirrorComment) }

// mirror is a table that is to be in the kernel's nftables.
type mirror struct {
	family nft.Family
	name   string
	sets   []*policy.Set
}

func (m *mirror) String() string { return fmt.Sprintf("%v %s", m.family, m.name) }

// mirrors are the tables of the plan's file that have sets which can change.
// Maps whose elements name chains or objects are left out: a mirror has none.
func (p *Plan) mirrors() []*mirror {
	var out []*mirror
	for _, s := range p.Program.Sets {
		src := p.setOf(s)
		if s.Constant || src == nil || src.Has(nft.SetObject) || slices.ContainsFunc(src.Elements, namesChain) {
			continue
		}
		i := slices.IndexFunc(out, func(m *mirror) bool { return m.family == s.Family && m.name == s.Table })
		if i < 0 {
			i = len(out)
			out = append(out, &mirror{family: s.Family, name: s.Table})
		}
		out[i].sets = append(out[i].sets, s)
	}
	return out
}

func namesChain(e nft.Element) bool { return e.Verdict != nil && e.Verdict.Chain != "" }

// setOf is the set of the ruleset that became s; nil if there is none.
func (p *Plan) setOf(s *policy.Set) *nft.Set {
	if t := p.Ruleset.Table(s.Family, s.Table); t != nil {
		return t.Set(s.Name)
	}
	return nil
}

// checkMirror refuses a ruleset whose mirror would take the place of a table of
// others.
func (p *Plan) checkMirror(ctx context.Context) error {
	if !p.Config.Dataplane.Mirror {
		return nil
	}
	all, err := nft.ListTables(ctx)
	if err != nil {
		return err
	}
	ours, err := fallbackTables(p.Config.Control.RunDir())
	if err != nil {
		return err
	}
	for _, m := range p.mirrors() {
		for _, t := range all.Tables {
			if t.String() == m.String() && !isMirror(t) && !slices.Contains(ours, t.String()) {
				return fmt.Errorf("%s: dataplane.mirror: the kernel's nftables has a table %v already, which is not l2d's: delete it, or set mirror to false", p.Config.Path, t)
			}
		}
	}
	return nil
}

// Mirror makes the mirror tables of the plan's file what they are to be: those of
// the policy in force are left as they are, others are made anew, with the
// elements that the dataplane's sets have. Then it makes the dataplane's sets
// what the mirrors say. The returned ruleset is that of the mirrors.
func (p *Plan) Mirror(ctx context.Context, maps Maps) (*nft.Ruleset, error) {
	hash := p.Program.Hash()
	comment := mirrorComment + hex.EncodeToString(hash[:8])
	wanted := p.mirrors()
	is, err := nft.ReadSets(ctx, isMirror)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, t := range is.Tables {
		if !slices.ContainsFunc(wanted, func(m *mirror) bool { return m.String() == t.String() }) {
			fmt.Fprintf(&b, "delete table %v\n", t)
		}
	}
	for _, m := range wanted {
		t := is.Table(m.family, m.name)
		if t != nil && t.Comment == comment && p.complete(m, t) {
			continue
		}
		if t != nil {
			if err := p.takeExpiring(m, t, maps); err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "delete table %v\n", t)
		}
		if err := p.mirrorCommands(&b, m, comment, maps); err != nil {
			return nil, err
		}
	}
	if b.Len() > 0 {
		if err := runNFT(ctx, "/", b.String()); err != nil {
			return nil, fmt.Errorf("mirror the ruleset's sets in nftables: %w", err)
		}
	}
	if is, err = nft.ReadSets(ctx, isMirror); err != nil {
		return nil, err
	}
	for _, m := range wanted {
		t := is.Table(m.family, m.name)
		if t == nil || !p.complete(m, t) {
			return nil, nft.ErrChanged
		}
		for _, s := range m.sets {
			if err := maps(func(bpf map[string]*ebpf.Map) error { return s.Sync(bpf, t.Set(s.Name).Ranges()) }); err != nil {
				return nil, err
			}
		}
	}
	return is, nil
}

// complete tells whether a table has all sets of a mirror.
func (p *Plan) complete(m *mirror, t *nft.Table) bool {
	return !slices.ContainsFunc(m.sets, func(s *policy.Set) bool { return !sameSet(t.Set(s.Name), p.setOf(s)) })
}

func sameSet(a, b *nft.Set) bool {
	return a != nil && b != nil && a.Flags == b.Flags && a.KeyType == b.KeyType && a.KeyLen == b.KeyLen && a.Timeout == b.Timeout && a.Size == b.Size
}

// takeExpiring gives the dataplane's sets the elements that expire of a mirror
// that was made for another policy: others may have added them a moment ago.
func (p *Plan) takeExpiring(m *mirror, t *nft.Table, maps Maps) error {
	for _, s := range m.sets {
		src := t.Set(s.Name)
		if !s.Timeouts || src == nil || src.KeyType != s.KeyType || src.Has(nft.SetInterval) != s.Interval {
			continue
		}
		ranges := slices.DeleteFunc(src.Ranges(), func(r nft.Range) bool { return r.Element.Expires == 0 })
		if err := maps(func(bpf map[string]*ebpf.Map) error { return s.Update(bpf, nil, ranges) }); err != nil {
			return err
		}
	}
	return nil
}

// mirrorCommands are those that make a mirror, where there is no such table.
func (p *Plan) mirrorCommands(b *strings.Builder, m *mirror, comment string, maps Maps) error {
	fmt.Fprintf(b, "create table %v { comment %q; }\ntable %v {\n", m, comment, m)
	for _, s := range m.sets {
		lines := p.Ruleset.Definition(p.setOf(s))
		if lines == nil {
			return fmt.Errorf("set %v: not in nft's listing", s)
		}
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	b.WriteString("}\n")
	for _, s := range m.sets {
		commands, err := elementCommands(s, p.setOf(s), maps)
		if err != nil {
			return err
		}
		b.WriteString(commands)
	}
	return nil
}

// DropMirrors deletes the mirror tables of a plan, or of one before, from the
// kernel's nftables.
func DropMirrors(ctx context.Context) error {
	all, err := nft.ListTables(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, t := range all.Tables {
		if isMirror(t) {
			fmt.Fprintf(&b, "delete table %v\n", t)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := runNFT(ctx, "/", b.String()); err != nil {
		return fmt.Errorf("delete the mirror of the ruleset's sets: %w", err)
	}
	return nil
}

// Follows tells whether changes of the kernel's nftables are to be followed.
func Follows(c *config.Config) bool { return c.Dataplane.Kernel() || c.Dataplane.Mirror }
