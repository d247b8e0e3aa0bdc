// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/randomizedcoder/l2d/internal/nearest"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// nicGroups are the groups of settings that are kinds of resources, in the order
// that they are set in: a change of channels makes rings anew.
var nicGroups = []*ethnl.Group{ethnl.Channels, ethnl.Rings, ethnl.Coalesce, ethnl.Pause, ethnl.EEE}

// Settings is the kind of a group of a network interface's settings. A resource has
// the interface's name; its attributes are the group's settings, as numbers.
type Settings struct {
	group *ethnl.Group
	dial  func() (*ethnl.Client, error)
}

// dialOnce has one client for all kinds, made when it is needed first.
func dialOnce() func() (*ethnl.Client, error) { return sync.OnceValues(ethnl.Dial) }

// Name implements [reconcile.Kind].
func (s *Settings) Name() string { return s.group.Name }

func (s *Settings) get(link string) (ethnl.Settings, error) {
	c, err := s.dial()
	if err != nil {
		return ethnl.Settings{}, err
	}
	return c.Get(s.group, link)
}

// Check implements [reconcile.Kind].
func (s *Settings) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	now, err := s.get(r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, s.group.Name, err)}
	}
	for _, key := range r.Want.Keys() {
		p := reconcile.Problem{Resource: r, Key: key}
		value, err := strconv.ParseUint(r.Want[key], 10, 32)
		limit, limited := now.Max[key]
		hint := hintOf(driver(r.Name), s.group.Name, key)
		switch _, has := now.Now[key]; {
		case !has || hint.never:
			p.Problem, p.Skip = "the driver "+driver(r.Name)+" has no such setting"+because(hint.why), true
		case s.group.IsFlag(key) && value > 1:
			p.Problem, p.Want = "neither on nor off", "true or false"
		case err != nil:
			p.Problem, p.Want = "not a number", "a whole number"
		case limited && value > uint64(limit):
			p.Problem, p.Want = "more than the device has", fmt.Sprintf("at most %d", limit)
		case hint.most > 0 && value > uint64(hint.most):
			p.Problem, p.Want = "more than the driver takes"+because(hint.why), fmt.Sprintf("at most %d", hint.most)
		default:
			out = append(out, unwise(driver(r.Name), r, key)...)
			continue
		}
		out = append(out, p)
	}
	return out
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// linkProblem is what is wrong if something of an interface cannot be read.
func linkProblem(r *reconcile.Resource, what string, err error) reconcile.Problem {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return reconcile.Problem{Resource: r, Problem: "no such interface", Want: "one of " + linkNames() + ", or optional: true"}
	case errors.Is(err, errors.ErrUnsupported):
		return reconcile.Problem{Resource: r, Problem: lacks(driver(r.Name), r.Kind, what), Skip: true}
	}
	return reconcile.Problem{Resource: r, Problem: err.Error()}
}

// lacks says that a driver has no resources of a kind, and why if that is known.
func lacks(driver, kind, what string) string {
	s := "the driver " + driver + " has no " + what
	if h := hintOf(driver, kind, ""); h.never {
		s += because(h.why)
	}
	return s
}

// linkNames are the interfaces but lo.
func linkNames() string {
	names, err := linkNameList()
	if err != nil || len(names) == 0 {
		return "the host's interfaces"
	}
	return strings.Join(names, ", ")
}

// driver is the name of an interface's driver; "of the interface" if it has none
// of a device.
func driver(link string) string {
	target, err := os.Readlink(filepath.Join("/sys/class/net", link, "device/driver"))
	if err != nil {
		return "of " + link
	}
	return filepath.Base(target)
}

// Observe implements [reconcile.Kind].
func (s *Settings) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	now, err := s.get(name)
	if err != nil {
		return nil, err
	}
	out := reconcile.State{}
	for _, key := range keys {
		if v, ok := now.Now[key]; ok {
			out[key] = strconv.FormatUint(uint64(v), 10)
		}
	}
	return out, nil
}

// ringGrain is what drivers round rings up to: I40E_REQ_DESCRIPTOR_MULTIPLE.
const ringGrain = 32

// Same implements [reconcile.Kind].
func (s *Settings) Same(_, want, have string) bool {
	if want == have || s.group != ethnl.Rings {
		return want == have
	}
	w, err := strconv.Atoi(want)
	h, err2 := strconv.Atoi(have)
	return err == nil && err2 == nil && h >= w && h < w+ringGrain
}

// Effect implements [reconcile.Kind].
func (s *Settings) Effect(name string, _ reconcile.State) reconcile.Effect {
	if s.group == ethnl.Coalesce {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	why := "packets that wait in the queues are lost"
	if h := hintOf(driver(name), s.group.Name, ""); h.why != "" {
		why = h.why
	}
	return reconcile.Effect{Impact: reconcile.Disruptive, Why: why}
}

// Before implements [reconcile.Kind].
func (s *Settings) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return s.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (s *Settings) Set(_ context.Context, name string, to reconcile.State) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	values := map[string]uint32{}
	for key, text := range to {
		v, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		values[key] = uint32(v)
	}
	return c.Set(s.group, name, values)
}

// Features is the kind of a network interface's features. A resource has the
// interface's name; its attributes are features by the kernel's names, on or off.
type Features struct{ dial func() (*ethnl.Client, error) }

// FeaturesKind is the name of [Features].
const FeaturesKind = "features"

// Name implements [reconcile.Kind].
func (*Features) Name() string { return FeaturesKind }

func (f *Features) get(link string) (map[string]ethnl.Feature, error) {
	c, err := f.dial()
	if err != nil {
		return nil, err
	}
	return c.Features(link)
}

// Check implements [reconcile.Kind].
func (f *Features) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	now, err := f.get(r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, FeaturesKind, err)}
	}
	for _, key := range r.Want.Keys() {
		p := reconcile.Problem{Resource: r, Key: key}
		switch feature, there := now[key]; {
		case !there:
			p.Problem, p.Want = "no such feature", "the kernel's name of one, as ethtool -k shows them"
			if near := nearest.Of(key, slices.Sorted(maps.Keys(now))); near != "" {
				p.Want = near
			}
		case feature.Fixed && onOff(feature.Active) != r.Want[key]:
			p.Problem, p.Skip = "the driver "+driver(r.Name)+" does not change it", true
		default:
			out = append(out, unwise(driver(r.Name), r, key)...)
			continue
		}
		out = append(out, p)
	}
	return out
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// featureText is a feature's state. One that is on, or off, because of others
// has what is wanted of it, too.
func featureText(f ethnl.Feature) string {
	s := onOff(f.Active)
	if f.Active != f.Wanted && !f.Fixed {
		s += " (requested " + onOff(f.Wanted) + ")"
	}
	return s
}

// requested is what a state of [featureText] asks for.
func requested(state string) bool {
	if _, r, ok := strings.Cut(state, "(requested "); ok {
		return strings.HasPrefix(r, "on")
	}
	return state == "on"
}

// Observe implements [reconcile.Kind].
func (f *Features) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	now, err := f.get(name)
	if err != nil {
		return nil, err
	}
	out := reconcile.State{}
	for _, key := range keys {
		if feature, ok := now[key]; ok {
			out[key] = featureText(feature)
		}
	}
	return out, nil
}

// Same implements [reconcile.Kind].
func (*Features) Same(_, want, have string) bool {
	// A feature that is off for another one's sake is off.
	active, _, _ := strings.Cut(have, " ")
	return want == have || want == active
}

// Effect implements [reconcile.Kind].
func (*Features) Effect(name string, to reconcile.State) reconcile.Effect {
	for _, key := range to.Keys() {
		if h := hintOf(driver(name), FeaturesKind, key); h.why != "" {
			return reconcile.Effect{Impact: reconcile.Disruptive, Why: h.why}
		}
	}
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (f *Features) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return f.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (f *Features) Set(_ context.Context, name string, to reconcile.State) error {
	c, err := f.dial()
	if err != nil {
		return err
	}
	on := map[string]bool{}
	for key, state := range to {
		on[key] = requested(state)
	}
	return c.SetFeatures(name, on)
}
