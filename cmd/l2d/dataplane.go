// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// dataplaneKind makes what the dataplane enforces a resource of the host: its change
// is planned, applied and undone like every other one. There is one, whose attributes
// are the texts of its files.
type dataplaneKind struct {
	d *daemon
	// prepared is a plan that was made of such texts already.
	prepared atomic.Pointer[enforce.Plan]
	// undoes tells that the daemon starts with what undoes a change.
	undoes bool
}

const (
	dataplaneName = "dataplane"
	// Attributes.
	configurationKey = "configuration" // all but what is declared of the host
	rulesetKey       = "ruleset"       // as nft lists it; not if it is the kernel's
	// dataplaneRank is behind those of the host: the firewall changes when its
	// interfaces are as they shall be.
	dataplaneRank = 100
)

// resource is the dataplane as a plan wants it.
func (k *dataplaneKind) resource(p *enforce.Plan) reconcile.Resource {
	k.prepared.Store(p)
	r := reconcile.Resource{
		Kind: k.Name(), Name: "l2d", Rank: dataplaneRank, At: reconcile.Place{File: p.Config.Path, Line: 1, Column: 1},
		Want: reconcile.State{configurationKey: p.Config.Text},
	}
	if !p.Config.Dataplane.Kernel() {
		r.Want[rulesetKey] = p.Text
	}
	return r
}

// Name implements reconcile.Kind.
func (k *dataplaneKind) Name() string { return dataplaneName }

// Check implements reconcile.Kind.
func (k *dataplaneKind) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if _, dp := k.d.state(); dp == nil {
		return []reconcile.Problem{{Resource: r, Problem: "it is detached", Want: "l2ctl reload, which attaches it", Skip: true}}
	}
	return nil
}

// Observe implements reconcile.Kind.
func (k *dataplaneKind) Observe(_ context.Context, _ string, keys []string) (reconcile.State, error) {
	p, _ := k.d.state()
	if p == nil {
		return nil, fmt.Errorf("no dataplane: %w", fs.ErrNotExist)
	}
	return reconcile.State{configurationKey: p.Config.Text, rulesetKey: p.Text}.Pick(keys), nil
}

// Same implements reconcile.Kind.
func (k *dataplaneKind) Same(key, want, have string) bool {
	if key != configurationKey || want == have {
		return want == have
	}
	a, err := config.Parse("", []byte(want))
	if err != nil {
		return false
	}
	b, err := config.Parse("", []byte(have))
	return err == nil && a.SameButHost(b)
}

// Effect implements reconcile.Kind. What nft lists it reads again, with a few bugs of
// its older versions: a change that could not be undone for one is not taken for one
// that could.
func (k *dataplaneKind) Effect(_ string, to reconcile.State) reconcile.Effect {
	p, _ := k.d.state()
	e := reconcile.Effect{Impact: reconcile.InPlace}
	if text, ok := to[configurationKey]; ok {
		e = xdpEffect(p.Config, text)
	}
	if text, ok := to[rulesetKey]; ok {
		again, err := enforce.PrepareText(context.Background(), p.Config, p.Text)
		if err == nil && again.Text != p.Text {
			err = errors.New("it comes to another one")
		}
		if err != nil {
			return reconcile.Effect{Impact: reconcile.NotRevertable, Why: fmt.Sprintf("nft does not read what it lists of the ruleset in force: %v", err)}
		}
		e = k.lost(e, text)
	}
	return e
}

// lost adds to an effect that elements of sets go with these: what undoes the change brings them back, and no later change
// does.
func (k *dataplaneKind) lost(e reconcile.Effect, ruleset string) reconcile.Effect {
	p, dp := k.d.state()
	next := k.prepared.Load()
	if dp == nil || next == nil || next.Text != ruleset {
		return e
	}
	var names []string
	err := dp.Maps(func(m map[string]*ebpf.Map) (err error) {
		names, err = p.Program.Lost(next.Program, m)
		return err
	})
	why := "elements that sets were given at run time go, for good when the change is final: " + strings.Join(names, ", ")
	if err != nil {
		why = fmt.Sprintf("it is not known which elements of sets go: %v", err)
	}
	if err != nil || names != nil {
		e.Impact = reconcile.Disruptive
		e.Why = strings.TrimPrefix(e.Why+"; "+why, "; ")
	}
	return e
}

// xdpEffect is what XDP programs that come to interfaces, or go, do to these when another
// configuration follows one.
func xdpEffect(was *config.Config, text string) reconcile.Effect {
	e := reconcile.Effect{Impact: reconcile.InPlace}
	is, err := config.Parse("", []byte(text))
	if err != nil {
		return e // it is refused
	}
	had, has := xdpInterfaces(was), xdpInterfaces(is)
	var whys []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(had, has...)))) {
		if x := hostkinds.XDPEffect(name); slices.Contains(had, name) != slices.Contains(has, name) && x.Why != "" {
			e.Impact = x.Impact
			whys = append(whys, "XDP of "+name+" comes or goes: "+x.Why)
		}
	}
	e.Why = strings.Join(whys, "; ")
	return e
}

// xdpInterfaces are the interfaces that have an XDP program, as far as drivers take one.
func xdpInterfaces(c *config.Config) (names []string) {
	for _, i := range c.Dataplane.Interfaces {
		if i.XDP != config.XDPOff {
			names = append(names, i.Name)
		}
	}
	return names
}

// Before implements reconcile.Kind: either text is of no use without the other.
func (k *dataplaneKind) Before(ctx context.Context, name string, _ reconcile.State) (reconcile.State, error) {
	s, err := k.Observe(ctx, name, []string{configurationKey, rulesetKey})
	if s[rulesetKey] == "" {
		delete(s, rulesetKey)
	}
	return s, err
}

// Set implements reconcile.Kind.
func (k *dataplaneKind) Set(ctx context.Context, _ string, to reconcile.State) error {
	k.d.change.Lock()
	defer k.d.change.Unlock()
	p, err := k.prepare(ctx, to)
	if err != nil {
		return err
	}
	pending := k.d.host.engine.Pending()
	undoes := pending != nil && pending.Phase == reconcile.Undoing
	if !k.d.begun {
		// Before its start, the daemon is told what to start with.
		k.d.setPlan(p)
		k.undoes = undoes
		return nil
	}
	if _, dp := k.d.state(); dp == nil {
		return fmt.Errorf("the dataplane is detached: %w", fs.ErrNotExist)
	}
	return k.d.apply(ctx, keeping(p, undoes))
}

// keeping is a plan that keeps what sets were given at run time, for the change to be undone, or that undoes
// one.
func keeping(p *enforce.Plan, undoes bool) *enforce.Plan {
	if p.Config.Dataplane.Kernel() {
		return p // the kernel has the elements
	}
	own := *p
	if undoes {
		own.Loader.Restore = own.Program.Restore
	} else {
		own.Loader.Keep = true
	}
	return &own
}

// Forget implements reconcile.Keeper.
func (k *dataplaneKind) Forget() error {
	k.d.change.Lock()
	defer k.d.change.Unlock()
	if !k.d.begun {
		return nil // what undoes a change is not in force yet
	}
	return k.forget()
}

// forget lets go of the sets that were kept. The caller holds change.
func (k *dataplaneKind) forget() error {
	p, _ := k.d.state()
	return loader.Forget(p.Config.Dataplane.PinPath)
}

// start puts in force what the daemon starts with. The caller holds change.
func (k *dataplaneKind) start(ctx context.Context) error {
	p, _ := k.d.state()
	if k.undoes {
		p = keeping(p, true)
	}
	if err := k.d.apply(ctx, p); err != nil {
		return err
	}
	if k.d.host.engine.Pending() != nil {
		return nil
	}
	if err := k.forget(); err != nil {
		slog.Warn("sets of an earlier ruleset are kept", "err", err)
	}
	return nil
}

// prepare makes a plan of texts, and of those in force where one is missing.
func (k *dataplaneKind) prepare(ctx context.Context, to reconcile.State) (*enforce.Plan, error) {
	text, ruleset := to[configurationKey], to[rulesetKey]
	if p, _ := k.d.state(); p != nil {
		if _, ok := to[configurationKey]; !ok {
			text = p.Config.Text
		}
		if _, ok := to[rulesetKey]; !ok {
			ruleset = p.Text
		}
	}
	c, err := config.Parse(k.d.path, []byte(text))
	if err != nil {
		return nil, err
	}
	if p := k.prepared.Load(); p != nil && p.Text == ruleset && p.Config.SameButHost(c) {
		return p, nil
	}
	return enforce.PrepareText(ctx, c, ruleset)
}
