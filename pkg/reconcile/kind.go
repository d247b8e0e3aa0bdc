// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"cmp"
	"context"
	"fmt"

	"github.com/randomizedcoder/l2d/internal/located"
)

// Kind is a sort of resources. Its methods are not called concurrently.
type Kind interface {
	// Name is the first part of the resources' identifiers.
	Name() string
	// Check says what is wrong with a resource before anything is touched: what
	// does not exist, what the device does not take.
	Check(ctx context.Context, r *Resource) []Problem
	// Observe returns the values of the attributes named by keys, without those
	// that are not there. What is not there at all is fs.ErrNotExist.
	Observe(ctx context.Context, name string, keys []string) (State, error)
	// Same tells whether an attribute that was observed is what is wanted. The
	// kernel rounds some, and formats others in its own way.
	Same(key, want, have string) bool
	// Effect says what else happens when attributes change.
	Effect(name string, to State) Effect
	// Before returns all that changes when attributes are set: these, and those
	// that the kernel changes along with them, as attributes that are named for
	// their resources of the kind. It is what [Kind.Set] is given to undo the change.
	Before(ctx context.Context, name string, to State) (State, error)
	// Set gives attributes their values. It may have set some of them when it
	// fails. What is not there at all is fs.ErrNotExist.
	Set(ctx context.Context, name string, to State) error
}

// Whole is a kind that sets the attributes of a resource together: a change has all that
// are wanted, also those that are the same, as others depend on them.
type Whole interface {
	Whole()
}

// Ahead is a kind that knows something of a resource before what that is of has been
// made: what [Kind.Check] would find wrong with it wherever it is.
type Ahead interface {
	CheckAhead(ctx context.Context, r *Resource) []Problem
}

// Resetter is a kind whose changes make resources of other kinds lose their state.
type Resetter interface {
	// Resets names these resources, and the attributes that are lost. What is not
	// there has nothing to lose.
	Resets(name string, to State) []Ref
}

// Keeper is a kind that keeps something besides a change's values to undo it by.
type Keeper interface {
	// Forget lets go of that: there is nothing to undo any more.
	Forget() error
}

// Ref names attributes of a resource.
type Ref struct {
	Kind, Name string
	Keys       []string
}

// Impact is how much a change disturbs.
type Impact string

// Impacts, from the least to the most.
const (
	InPlace    Impact = "in place"
	Disruptive Impact = "disruptive"
	// NotRevertable cannot be undone.
	NotRevertable Impact = "not revertable"
)

// Effect is the impact of a change, and why it has it.
type Effect struct {
	// Makes says that the change makes what other resources may be of.
	Makes  bool   `json:"makes,omitempty"`
	Impact Impact `json:"impact"`
	Why    string `json:"why,omitempty"`
}

// Resource is something on the host, as it shall be.
type Resource struct {
	// Kind is the name of a [Kind].
	Kind string
	// Name is unique within it.
	Name string
	// Want has values for the attributes that matter; others are left alone.
	Want State
	// Before has values for others, that were observed once: they are set, and not checked.
	Before State
	// Rank orders changes: lower ones are made first. Those of the same rank are
	// made in the order they are given in.
	Rank int
	// Of is the identifier of the resource that makes what this one is of; empty if
	// that is there anyway. Until it is made, this one can be neither checked nor
	// observed.
	Of string
	// At is the place of the declaration, KeysAt those of attributes that have one of
	// their own.
	At     Place
	KeysAt map[string]Place
	// Enforce has a drift corrected when it is seen, and not just reported.
	Enforce bool
}

// ID is the kind and the name.
func (r *Resource) ID() string { return r.Kind + " " + r.Name }

// Place is one in a file, with numbers from 1.
type Place struct {
	File         string
	Line, Column int
}

// PlaceOf is the place that an error is about.
func PlaceOf(e located.Error) Place {
	file, line, column := e.Place()
	return Place{file, line, column}
}

// String is FILE:LINE:COLUMN.
func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is something that makes a plan impossible.
type Problem struct {
	Resource *Resource
	// Key is the attribute at fault; empty if the resource is.
	Key string
	// Problem says what is wrong, Want what would be accepted.
	Problem, Want string
	// Skip says that the device cannot have it at all: the plan leaves it out, and
	// says so.
	Skip bool
	// Warn says that nothing is wrong, but that the plan is to say this.
	Warn bool

	// value is what is wanted of the attribute, if the resource does not say so any more.
	value string
}

// Place is where that is declared.
func (p Problem) Place() (file string, line, column int) {
	at, own := p.Resource.KeysAt[p.Key]
	if !own {
		at = p.Resource.At
	}
	return at.File, at.Line, at.Column
}

// Error names the place, the resource, the attribute, its value and what would be accepted.
func (p Problem) Error() string {
	s := p.Resource.ID()
	if file, line, column := p.Place(); file != "" {
		s = Place{file, line, column}.String() + ": " + s
	}
	if p.Key != "" {
		s += fmt.Sprintf(": %s: %q", p.Key, cmp.Or(p.Resource.Want[p.Key], p.value))
	}
	s += ": " + p.Problem
	if p.Want != "" {
		s += ": want " + p.Want
	}
	return s
}
