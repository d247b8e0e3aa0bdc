// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// AlgorithmKind is the name of [Algorithm].
const AlgorithmKind = "congestion_control"

// bbr3Dir has the pins of the congestion control: it outlives the dataplane.
const bbr3Dir = "/sys/fs/bpf/l2d-bbr3"

// Attributes of an algorithm. Times are as Go writes them, shares in thousandths.
const (
	sourceKey           = "source"
	lossThresholdKey    = "loss_threshold"
	probeRTTIntervalKey = "probe_rtt_interval"
	marksKey            = "marks"
	l4sMaxRTTKey        = "l4s_max_rtt"
)

// How marks are answered.
const (
	marksL4S     = "l4s"
	marksClassic = "classic"
)

// forgetting is how long the kernel may take to forget a name.
const forgetting = 10 * time.Second

// Algorithm is the kind of congestion controls that l2d brings along: bbr3. Its source is
// bpf, module, none or, if it is wanted that connections keep it to their end, drain.
type Algorithm struct {
	registration bbr3.Registration
	trials       *trials
}

// NewAlgorithm returns the kind for the running kernel.
func NewAlgorithm() *Algorithm {
	return &Algorithm{bbr3.Registration{Dir: bbr3Dir}, ofKernel}
}

// BBR3 reads what l2d has registered of it.
func BBR3() (bbr3.Status, error) { return NewAlgorithm().registration.Status() }

// Name implements [reconcile.Kind].
func (*Algorithm) Name() string { return AlgorithmKind }

// Whole implements [reconcile.Whole]: settings are those of a registration.
func (*Algorithm) Whole() {}

// name is that of the congestion control.
func (k *Algorithm) name() string {
	if k.registration.Name != "" {
		return k.registration.Name
	}
	return bbr3.Name
}

// source is where the kernel has it from.
func (k *Algorithm) source() (string, bbr3.Status, error) {
	s, err := k.registration.Status()
	switch {
	case err != nil:
		return "", s, err
	case s.Registered:
		return config.BBR3BPF, s, nil
	case slices.Contains(algorithms(), k.name()):
		return config.BBR3Module, s, nil
	}
	return config.BBR3None, s, nil
}

// Check implements [reconcile.Kind].
func (k *Algorithm) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	problem := func(what, want string) []reconcile.Problem {
		return []reconcile.Problem{{Resource: r, Key: sourceKey, Problem: what, Want: want}}
	}
	now, status, err := k.source()
	if err != nil {
		return problem(err.Error(), "")
	}
	switch r.Want[sourceKey] {
	case config.BBR3BPF:
		if now == config.BBR3Module {
			return problem("the kernel has one by that name that is not l2d's, such as a module's", "module, or that one to be removed")
		}
		if err := bbr3.Supported(); err != nil {
			return problem(err.Error(), "module")
		}
	case config.BBR3Module:
		if now == config.BBR3None && k.trials.try(congestionControl, k.name()) != nil {
			return problem("this kernel has no module for it", "bpf or auto")
		}
	case config.BBR3None:
		if now == config.BBR3BPF && status.Connections > 0 {
			return problem(fmt.Sprintf("%d connections use it", status.Connections), "drain, which leaves these to their end with it, or none when there are none")
		}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (k *Algorithm) Observe(_ context.Context, _ string, keys []string) (reconcile.State, error) {
	source, status, err := k.source()
	if err != nil {
		return nil, err
	}
	out := reconcile.State{sourceKey: source}
	if status.Registered {
		out = stateOf(status.Settings)
		// Another build's is not what is wanted, and is replaced.
		if !status.Has(status.Settings) {
			out[sourceKey] = config.BBR3BPF + ", of another build"
		}
	}
	return out.Pick(keys), nil
}

// stateOf are the attributes of l2d's.
func stateOf(s bbr3.Settings) reconcile.State {
	marks := marksClassic
	if s.ECN {
		marks = marksL4S
	}
	rtt := noAlgorithm
	if s.ECNMaxRTT > 0 {
		rtt = s.ECNMaxRTT.String()
	}
	return reconcile.State{
		sourceKey: config.BBR3BPF, lossThresholdKey: strconv.Itoa(s.LossThreshold), probeRTTIntervalKey: s.ProbeRTTInterval.String(),
		marksKey: marks, l4sMaxRTTKey: rtt,
	}
}

// settingsOf are the settings by the attributes.
func settingsOf(s reconcile.State) (out bbr3.Settings, err error) {
	out = bbr3.DefaultSettings
	if v, ok := s[lossThresholdKey]; ok {
		if out.LossThreshold, err = strconv.Atoi(v); err != nil {
			return out, err
		}
	}
	if v, ok := s[probeRTTIntervalKey]; ok {
		if out.ProbeRTTInterval, err = time.ParseDuration(v); err != nil {
			return out, err
		}
	}
	out.ECN = s[marksKey] == marksL4S
	switch v := s[l4sMaxRTTKey]; v {
	case "":
	case noAlgorithm:
		out.ECNMaxRTT = 0
	default:
		out.ECNMaxRTT, err = time.ParseDuration(v)
	}
	return out, err
}

// Same implements [reconcile.Kind].
func (*Algorithm) Same(key, want, have string) bool {
	return want == have || key == sourceKey && want == config.BBR3Drain && have == config.BBR3None
}

// Effect implements [reconcile.Kind].
func (*Algorithm) Effect(_ string, to reconcile.State) reconcile.Effect {
	why := ""
	if to[sourceKey] != config.BBR3Module {
		why = "connections keep what they have begun with"
	}
	return reconcile.Effect{Impact: reconcile.InPlace, Why: why}
}

// Before implements [reconcile.Kind]: settings go with the registration.
func (k *Algorithm) Before(ctx context.Context, name string, _ reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, []string{sourceKey, lossThresholdKey, probeRTTIntervalKey, marksKey, l4sMaxRTTKey})
}

// Set implements [reconcile.Kind]. What undoes a registration is no reason to take it from
// connections.
func (k *Algorithm) Set(ctx context.Context, _ string, to reconcile.State) error {
	switch source := to[sourceKey]; source {
	case config.BBR3None, config.BBR3Drain:
		return k.forget(ctx)
	case config.BBR3Module:
		if err := k.forget(ctx); err != nil {
			return err
		}
		return k.trials.try(congestionControl, k.name())
	default:
		s, err := settingsOf(to)
		if err != nil {
			return err
		}
		c, err := k.registration.Register(s)
		if err == nil && (c.Made || c.Replaced) {
			slog.Info("congestion control is there", "name", k.name(), "replaced", c.Replaced, "calls that this kernel does not make", c.Without)
		}
		return err
	}
}

// forget removes l2d's and waits until the name is free.
func (k *Algorithm) forget(ctx context.Context) error {
	s, err := k.registration.Status()
	if err != nil || !s.Registered {
		return err
	}
	if err := k.registration.Unregister(true); err != nil {
		return err
	}
	k.trials.forget(k.name())
	ctx, cancel := context.WithTimeout(ctx, forgetting)
	defer cancel()
	for slices.Contains(algorithms(), k.name()) {
		select {
		case <-ctx.Done():
			return errors.New("the kernel still has it")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// algorithmRank is before that of sysctls, which use it.
const algorithmRank = -1

// algorithmResource is what a configuration says of bbr3; nil if it says nothing.
func (k *Algorithm) resource(c *config.Config) *reconcile.Resource {
	b := c.Host.BBR3
	if b == nil {
		return nil
	}
	k.trials.forget(k.name())
	at := b.At(c.Path)
	want := reconcile.State{sourceKey: b.Source}
	if b.Source == config.BBR3Auto {
		want[sourceKey] = k.choose()
	}
	if want[sourceKey] == config.BBR3BPF {
		want = stateOf(bbr3Settings(b))
	}
	k.trials.provide(k.name(), want[sourceKey] == config.BBR3BPF)
	return &reconcile.Resource{
		Kind: AlgorithmKind, Name: k.name(), Want: want, Rank: algorithmRank, Enforce: b.Enforce,
		At: reconcile.PlaceOf(at),
	}
}

// choose is the source when it is left open: the one there is, or a module's if the kernel
// loads one.
func (k *Algorithm) choose() string {
	if now, _, err := k.source(); err == nil && now != config.BBR3None {
		return now
	}
	if k.trials.try(congestionControl, k.name()) == nil {
		return config.BBR3Module
	}
	return config.BBR3BPF
}

// bbr3Settings are those of a configuration, with the defaults.
func bbr3Settings(b *config.BBR3) bbr3.Settings {
	s := bbr3.DefaultSettings
	if b.LossThreshold != 0 {
		s.LossThreshold = b.LossThreshold
	}
	if b.ProbeRTTInterval != 0 {
		s.ProbeRTTInterval = b.ProbeRTTInterval
	}
	s.ECN = b.L4S
	if b.ECNMaxRTT != 0 {
		s.ECNMaxRTT = max(b.ECNMaxRTT, 0)
	}
	return s
}
