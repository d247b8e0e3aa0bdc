// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Modes is the kind of a setting of a network interface that is a choice of
// several words at once. A resource has the interface's name, its value the words
// in order, with spaces between them.
type Modes struct {
	name string
	dial func() (*ethnl.Client, error)
	// get returns the words that are chosen, and those that can be.
	get func(c *ethnl.Client, link string) (chosen, all []string, err error)
	set func(c *ethnl.Client, link string, words []string) error
}

// Names of kinds that are [Modes].
const (
	FECKind = "fec"
	WoLKind = "wol"
)

const (
	// noMode is the value of none.
	noMode = "off"
	// unsaid is that of a driver which has been told of no mode, not even of that.
	unsaid = "none"
)

// newFEC is forward error correction.
func newFEC(dial func() (*ethnl.Client, error)) *Modes {
	return &Modes{FECKind, dial,
		func(c *ethnl.Client, link string) ([]string, []string, error) {
			words, err := c.FEC(link)
			if len(words) == 0 {
				words = []string{unsaid}
			}
			return words, ethnl.FECModes(), err
		},
		func(c *ethnl.Client, link string, words []string) error {
			if slices.Contains(words, unsaid) { // which nobody can say
				words = []string{noMode}
			}
			return c.SetFEC(link, words)
		},
	}
}

// newWoL is what wakes the host.
func newWoL(dial func() (*ethnl.Client, error)) *Modes {
	return &Modes{WoLKind, dial,
		func(c *ethnl.Client, link string) (chosen, all []string, err error) {
			flags, err := c.Flags(ethnl.WoL, link)
			for _, word := range slices.Sorted(maps.Keys(flags)) {
				all = append(all, word)
				if flags[word] {
					chosen = append(chosen, word)
				}
			}
			return chosen, append(all, noMode), err
		},
		func(c *ethnl.Client, link string, words []string) error {
			flags, err := c.Flags(ethnl.WoL, link)
			if err != nil {
				return err
			}
			for word := range flags {
				flags[word] = slices.Contains(words, word)
			}
			return c.SetFlags(ethnl.WoL, link, flags)
		},
	}
}

// modesText is the value of words.
func modesText(words []string) string {
	if len(words) == 0 {
		return noMode
	}
	return strings.Join(slices.Sorted(slices.Values(words)), " ")
}

// Name implements [reconcile.Kind].
func (m *Modes) Name() string { return m.name }

// Check implements [reconcile.Kind].
func (m *Modes) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	c, err := m.dial()
	if err != nil {
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	_, all, err := m.get(c, r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, m.name, err)}
	}
	for word := range strings.FieldsSeq(r.Want[valueKey]) {
		if !slices.Contains(all, word) {
			return []reconcile.Problem{{Resource: r, Key: valueKey, Problem: "the driver " + driver(r.Name) + " has no " + word, Want: anyOf(all)}}
		}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (m *Modes) Observe(_ context.Context, name string, _ []string) (reconcile.State, error) {
	c, err := m.dial()
	if err != nil {
		return nil, err
	}
	chosen, _, err := m.get(c, name)
	if err != nil {
		return nil, err
	}
	return reconcile.State{valueKey: modesText(chosen)}, nil
}

// Same implements [reconcile.Kind].
func (*Modes) Same(_, want, have string) bool {
	no := func(s string) bool { return s == noMode || s == unsaid }
	return want == have || no(want) && no(have)
}

// Effect implements [reconcile.Kind].
func (m *Modes) Effect(name string, _ reconcile.State) reconcile.Effect {
	if now, err := m.Observe(context.Background(), name, nil); err == nil && now[valueKey] == unsaid {
		return reconcile.Effect{Impact: reconcile.NotRevertable, Why: "the driver has been told of no mode yet, and can only be told that it is off"}
	}
	if m.name == FECKind {
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: "the link goes down until both ends agree again"}
	}
	return effectOf(driver(name), m.name)
}

// Before implements [reconcile.Kind].
func (m *Modes) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return m.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (m *Modes) Set(_ context.Context, name string, to reconcile.State) error {
	c, err := m.dial()
	if err != nil {
		return err
	}
	words := strings.Fields(to[valueKey])
	if m.name == WoLKind {
		words = slices.DeleteFunc(words, func(w string) bool { return w == noMode })
	}
	return m.set(c, name, words)
}

// anyOf lists names as what would be accepted.
func anyOf(names []string) string {
	if len(names) == 0 {
		return "it left out"
	}
	return "one of " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}
