// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/internal/linediff"
	"github.com/randomizedcoder/l2d/internal/located"
)

// Change is what becomes of one resource.
type Change struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// From and To have the attributes that differ; or that are as they shall be, if
	// Again names the change that is going to change them along with its own.
	From State `json:"from"`
	To   State `json:"to"`
	// Undo is what is set to undo it: From, and what changes along with it.
	Undo  State  `json:"undo"`
	Again string `json:"again,omitempty"`
	// Along are attributes of To that are as they shall be, and set along with the rest.
	Along []string `json:"along,omitempty"`
	// Restore is what the change resets of other resources, and is set when it has been
	// undone.
	Restore []Restore `json:"restore,omitempty"`
	Effect  Effect    `json:"effect"`
	// Rank is the resource's.
	Rank int `json:"rank"`
	// Later: the resource is of something that an earlier change makes, and which
	// takes it along when it is undone. What differs is known then.
	Later bool `json:"later,omitempty"`
	// Enforce is the resource's.
	Enforce bool `json:"enforce,omitempty"`
}

// Restore is the state of a resource that another one's change resets.
type Restore struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	State State  `json:"state"`
}

// ID is the resource's.
func (c *Change) ID() string { return c.Kind + " " + c.Name }

// Plan is the changes that bring the host into the state that is wanted, in the
// order that they are made in.
type Plan struct {
	// Resources is how many were looked at.
	Resources int      `json:"resources"`
	Changes   []Change `json:"changes"`
	// Notes say what is left out, as the host cannot have it.
	Notes []string `json:"notes,omitempty"`
	// Warnings say what is possible, and probably not meant.
	Warnings []string `json:"warnings,omitempty"`

	notes, warnings []error
}

// texts are what some errors say, in the order of their places.
func texts(errs []error) (out []string) {
	for _, err := range located.Split(located.Join(errs...)) {
		out = append(out, err.Error())
	}
	return out
}

// Worst is the greatest impact of the changes; empty if there are none.
func (p *Plan) Worst() Impact {
	var worst Impact
	for _, c := range p.Changes {
		switch {
		case c.Effect.Impact == NotRevertable, worst == "":
			worst = c.Effect.Impact
		case c.Effect.Impact == Disruptive && worst == InPlace:
			worst = Disruptive
		}
	}
	return worst
}

// Write writes the plan for people.
func (p *Plan) Write(w io.Writer) error {
	var err error
	printf := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format, args...)
		}
	}
	for _, n := range p.Notes {
		printf("! left out: %s\n", n)
	}
	for _, w := range p.Warnings {
		printf("! %s\n", w)
	}
	for _, c := range p.Changes {
		printf("%s %s", c.sign(), c.ID())
		if c.Effect.Impact != InPlace || c.Effect.Why != "" {
			printf("  (%s", c.Effect.Impact)
			if c.Effect.Why != "" {
				printf(": %s", c.Effect.Why)
			}
			printf(")")
		}
		printf("\n")
		for _, key := range c.To.Keys() {
			if slices.Contains(c.Along, key) {
				continue
			}
			if c.From[key] == c.To[key] && c.Again != "" {
				printf("    %s: %s, again, as %s changes it\n", key, c.To[key], c.Again)
				continue
			}
			if isText(c.From[key]) || isText(c.To[key]) {
				printf("    %s:\n", key)
				for l := range strings.Lines(linediff.Of(c.From[key], c.To[key])) {
					printf("      %s", l)
				}
				continue
			}
			if c.Later && c.From[key] == "" {
				printf("    %s: %s, when it is there\n", key, c.To[key])
				continue
			}
			if c.From[key] == "" {
				printf("    %s: %s\n", key, c.To[key])
				continue
			}
			printf("    %s: %s -> %s\n", key, c.From[key], c.To[key])
		}
	}
	if len(p.Changes) == 0 {
		printf("No changes: %d resources are as declared.\n", p.Resources)
		return err
	}
	counts := map[Impact]int{}
	for _, c := range p.Changes {
		counts[c.Effect.Impact]++
	}
	printf("Plan: %d of %d resources change", len(p.Changes), p.Resources)
	for _, i := range []Impact{Disruptive, NotRevertable} {
		if counts[i] > 0 {
			printf(", %d %s", counts[i], i)
		}
	}
	printf(".\n")
	return err
}

// sign is what a plan shows in front of a change.
func (c *Change) sign() string {
	switch {
	case c.To.isAbsent():
		return "-"
	case c.Later, c.From.isAbsent():
		return "+"
	}
	return "~"
}

// Plan compares resources with the host. The error joins every [Problem] there
// is; then nothing is to be applied.
func (e *Engine) Plan(ctx context.Context, resources []Resource) (*Plan, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.compare(ctx, resources)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// compare is the plan of the resources that nothing is wrong with, and what is wrong with the others.
func (e *Engine) compare(ctx context.Context, resources []Resource) (*Plan, error) {
	sorted := slices.Clone(resources)
	slices.SortStableFunc(sorted, func(a, b Resource) int { return cmp.Compare(a.Rank, b.Rank) })
	p := &Plan{Resources: len(sorted), Changes: []Change{}}
	seen, made, failed, touched := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]string{}
	var errs []error
	for i := range sorted {
		r := &sorted[i]
		k, ok := e.kinds[r.Kind]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: no such kind of resource", r.ID()))
			continue
		case seen[r.ID()]:
			errs = append(errs, Problem{Resource: r, Problem: "declared twice", Want: "each resource once"})
			continue
		}
		seen[r.ID()] = true
		if failed[r.Of] {
			continue // that is told already
		}
		if made[r.Of] {
			if !checkAhead(ctx, k, r, p, &errs) {
				continue
			}
			made[r.ID()] = true
			p.Changes = append(p.Changes, Change{
				Kind: r.Kind, Name: r.Name, From: State{}, To: maps.Clone(r.Want), Undo: State{}, Later: true,
				Effect: Effect{Impact: InPlace}, Enforce: r.Enforce, Rank: r.Rank,
			})
			continue
		}
		if len(r.Want) > 0 {
			before := len(errs)
			left := check(ctx, k, r, p, &errs)
			if wrong := len(errs) > before; wrong || !left && len(r.Before) == 0 {
				failed[r.ID()] = wrong
				continue
			}
		}
		r.Want = r.all()
		c, err := e.change(ctx, k, r, touched[r.ID()])
		if err != nil {
			errs = append(errs, err)
		}
		if c == nil {
			continue
		}
		p.Changes = append(p.Changes, *c)
		made[c.ID()] = c.Effect.Makes
		for key := range c.Undo {
			if _, own := c.To[key]; !own {
				touched[c.Kind+" "+key] = c.ID()
			}
		}
		for _, lost := range c.Restore {
			touched[lost.Kind+" "+lost.Name] = c.ID()
		}
	}
	p.Notes, p.Warnings = texts(p.notes), texts(p.warnings)
	return p, errors.Join(errs...)
}

// all are the values of all attributes that matter.
func (r *Resource) all() State {
	all := State{}
	maps.Copy(all, r.Before)
	maps.Copy(all, r.Want)
	return all
}

// check asks a kind about a resource. What the host cannot have is noted, and not
// wanted of it any more. It returns whether anything is left to look at.
func check(ctx context.Context, k Kind, r *Resource, p *Plan, errs *[]error) bool {
	return sort(k.Check(ctx, r), r, p, errs)
}

// checkAhead is check of a resource that is of something that is not there yet.
func checkAhead(ctx context.Context, k Kind, r *Resource, p *Plan, errs *[]error) bool {
	a, ok := k.(Ahead)
	return !ok || sort(a.CheckAhead(ctx, r), r, p, errs)
}

// sort has the problems of a resource where they belong in a plan.
func sort(problems []Problem, r *Resource, p *Plan, errs *[]error) bool {
	good := true
	r.Want = maps.Clone(r.Want)
	for _, problem := range problems {
		switch {
		case problem.Warn:
			p.warnings = append(p.warnings, problem)
			continue
		case !problem.Skip:
			*errs = append(*errs, problem)
			good = false
			continue
		case problem.Key == "":
			good = false
		}
		problem.value = r.Want[problem.Key]
		p.notes = append(p.notes, problem)
		delete(r.Want, problem.Key)
	}
	return good && len(r.Want) > 0
}

// change is what a resource needs, or nil. An earlier change may change it along
// with its own resource.
func (e *Engine) change(ctx context.Context, k Kind, r *Resource, by string) (*Change, error) {
	have, err := k.Observe(ctx, r.Name, r.Want.Keys())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID(), err)
	}
	c := &Change{Kind: r.Kind, Name: r.Name, From: State{}, To: State{}, Again: by, Enforce: r.Enforce, Rank: r.Rank}
	for key, want := range r.Want {
		if by != "" || !k.Same(key, want, have[key]) {
			c.From[key], c.To[key] = have[key], want
		}
	}
	if len(c.To) == 0 {
		return nil, nil
	}
	if _, whole := k.(Whole); whole {
		for key, want := range r.Want {
			if _, differs := c.To[key]; !differs {
				c.From[key], c.To[key], c.Along = have[key], want, append(c.Along, key)
			}
		}
	}
	c.Effect = k.Effect(r.Name, c.To)
	if c.Undo, err = k.Before(ctx, r.Name, c.To); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID(), err)
	}
	if resetter, ok := k.(Resetter); ok {
		c.Restore = e.lost(ctx, resetter.Resets(r.Name, c.To))
	}
	return c, nil
}

// lost is the state of what a change resets. What cannot be read, as the host or the
// interface does not have it, is not lost.
func (e *Engine) lost(ctx context.Context, refs []Ref) (out []Restore) {
	for _, ref := range refs {
		k, ok := e.kinds[ref.Kind]
		if !ok {
			continue
		}
		if s, err := k.Observe(ctx, ref.Name, ref.Keys); err == nil && len(s) > 0 {
			out = append(out, Restore{ref.Kind, ref.Name, s})
		}
	}
	return out
}
