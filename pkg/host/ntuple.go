// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// NTuple is the kind of the rules that a network interface sorts packets by itself. A
// resource has the interface's name. Its value is all of them, with semicolons between;
// those that are there have their locations in front.
type NTuple struct{ dev ethioctl.Device }

// NTupleKind is the name of [NTuple].
const NTupleKind = "ntuple"

const (
	ruleSeparator = "; "
	noRules       = "none"
)

// Name implements [reconcile.Kind].
func (*NTuple) Name() string { return NTupleKind }

// Check implements [reconcile.Kind].
func (n *NTuple) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	if _, err := ethioctl.Rules(n.dev, r.Name); err != nil {
		return []reconcile.Problem{linkProblem(r, "rules of its own", err)}
	}
	for _, text := range ruleTexts(r.Want[valueKey]) {
		if _, _, err := ntuple.ParseSpec(text); err != nil {
			out = append(out, reconcile.Problem{Resource: r, Key: valueKey, Problem: err.Error()})
		}
	}
	return out
}

// ruleTexts are the rules of a value.
func ruleTexts(value string) []string {
	if value == noRules {
		return nil
	}
	return strings.Split(value, ruleSeparator)
}

func rulesText(texts []string) string {
	if len(texts) == 0 {
		return noRules
	}
	return strings.Join(texts, ruleSeparator)
}

// Observe implements [reconcile.Kind].
func (n *NTuple) Observe(_ context.Context, name string, _ []string) (reconcile.State, error) {
	table, err := ethioctl.Rules(n.dev, name)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, s := range table.Rules {
		texts = append(texts, ntuple.SpecText(s))
	}
	return reconcile.State{valueKey: rulesText(texts)}, nil
}

// Same implements [reconcile.Kind]: rules of a NIC do not overlap, so that their places
// are no matter.
func (*NTuple) Same(_, want, have string) bool {
	bare := func(value string) (out []string) {
		for _, text := range ruleTexts(value) {
			if strings.HasPrefix(text, "@") {
				_, text, _ = strings.Cut(text, " ")
			}
			out = append(out, text)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(bare(want), bare(have))
}

// Effect implements [reconcile.Kind].
func (*NTuple) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (n *NTuple) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return n.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind]. Rules that stay are not touched; what goes does so
// first, as it may be in the way of what comes.
func (n *NTuple) Set(_ context.Context, name string, to reconcile.State) error {
	table, err := ethioctl.Rules(n.dev, name)
	if err != nil {
		return err
	}
	var specs []ethioctl.Spec
	var located []bool
	for _, text := range ruleTexts(to[valueKey]) {
		s, at, err := ntuple.ParseSpec(text)
		if err != nil {
			return err
		}
		specs, located = append(specs, s), append(located, at && !table.AnyLocation)
	}
	var stay, leave []ethioctl.Spec
	for _, have := range table.Rules {
		i := indexOfSpec(specs, located, have)
		if i < 0 {
			leave = append(leave, have)
			continue
		}
		stay = append(stay, have)
		specs, located = slices.Delete(specs, i, i+1), slices.Delete(located, i, i+1)
	}
	for _, s := range leave {
		if err := ethioctl.Delete(n.dev, name, s.Location()); err != nil {
			return err
		}
	}
	return n.insert(name, table.AnyLocation, stay, specs, located)
}

// indexOfSpec is which of the rules that are wanted one that is there is; -1 for none.
func indexOfSpec(specs []ethioctl.Spec, located []bool, have ethioctl.Spec) int {
	return slices.IndexFunc(specs, func(s ethioctl.Spec) bool {
		i := slices.Index(specs, s)
		if !located[i] {
			s.SetLocation(have.Location())
		}
		return s == have
	})
}

// insert adds rules beside those that stay, each at its location or a free one.
func (n *NTuple) insert(name string, anyLocation bool, stay, specs []ethioctl.Spec, located []bool) error {
	used := map[uint32]bool{}
	for _, s := range stay {
		used[s.Location()] = true
	}
	for i, s := range specs {
		if located[i] {
			used[s.Location()] = true
		}
	}
	next := ntuple.FirstLocation(driver(name))
	for i := range specs {
		s := &specs[i]
		if anyLocation {
			s.SetLocation(ethioctl.AnyLocation)
		} else if !located[i] {
			for used[next] {
				next++
			}
			used[next] = true
			s.SetLocation(next)
		}
		if _, err := ethioctl.Insert(n.dev, name, *s); err != nil {
			text := ntuple.SpecText(*s)
			if errors.Is(err, errors.ErrUnsupported) {
				return fmt.Errorf("the NIC does not take %q: %w; its feature rx-ntuple-filter may be off", text, err)
			}
			return fmt.Errorf("the NIC does not take %q, see l2ctl ntuple test: %w", text, err)
		}
	}
	return nil
}

// ntupleWant is the value of rules.
func ntupleWant(rules []ntuple.Placed) reconcile.State {
	var texts []string
	list := slices.Clone(rules)
	slices.SortStableFunc(list, func(a, b ntuple.Placed) int { return cmp.Compare(a.Of, b.Of) })
	for i := range list {
		if list[i].Hardware {
			texts = append(texts, list[i].String())
		}
	}
	return reconcile.State{valueKey: rulesText(texts)}
}
