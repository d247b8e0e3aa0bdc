// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/internal/mishap"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

var (
	stepPlans = flag.Int("host.plans", 8, "TestEachStep: of how many random plans to stop each step")
	stepSeed  = flag.Uint64("host.seed", 0, "TestEachStep, TestRandomPlans: the seed of the first plan; TestWholePlan: see -host.oneway")
	stepRigs  = flag.Int("host.rigs", 2, "TestEachStep: how many namespaces share the plans, at the same time if -test.parallel lets them")
)

// errClosed is a closed gate's.
var errClosed = errors.New("for a test")

// thereAndBack makes a plan's changes, which wait for a confirmation, and undoes them. Those of which not all can
// be undone do not wait: they are undone for a gate's sake.
func thereAndBack(ctx context.Context, e *reconcile.Engine, p *reconcile.Plan) error {
	if p.Worst() == reconcile.NotRevertable {
		closed := reconcile.Gate{Name: "closed", Check: func(context.Context) error { return errClosed }}
		if _, err := e.Apply(ctx, p, reconcile.Options{Gates: []reconcile.Gate{closed}}); !errors.Is(err, errClosed) {
			return err
		}
		return nil
	}
	pending, err := e.Apply(ctx, p, reconcile.Options{Confirm: time.Hour})
	if err != nil || pending == nil {
		return err
	}
	return e.Rollback(ctx, pending.ID)
}

// comeBack is what an operator does about what is left pending, with the daemon's next engine. What cannot be undone
// stays pending.
func comeBack(ctx context.Context, e *reconcile.Engine) error {
	err := e.Recover(ctx)
	p := e.Pending()
	if err == nil && p != nil && p.Phase == reconcile.Waiting {
		return e.Rollback(ctx, p.ID)
	}
	if p != nil && (&reconcile.Plan{Changes: p.Changes}).Worst() == reconcile.NotRevertable {
		return nil
	}
	if err == nil && p != nil {
		return fmt.Errorf("recovered, and still %s", p.Phase)
	}
	return err
}

// victim is a process that is killed while its engine is at work, or the next one, which comes back.
type victim struct {
	Seed                 uint64
	Base, Dir, Algorithm string
	At                   int
	Next                 bool
}

// TestMain is that process, or the tests.
func TestMain(m *testing.M) { mishap.Main(m, new(victim)) }

// wayOf is what happens to the steps of the plan with a seed.
func wayOf(seed uint64) mishap.Way {
	return []mishap.Way{mishap.Kills, mishap.Fails, mishap.Kills, mishap.FailsBehind}[seed%4]
}

// Run implements mishap.Victim.
func (v *victim) Run() error {
	h, err := openRig(v.Base, v.Algorithm)
	if err != nil {
		return err
	}
	e, ctx := reconcile.New(v.Dir, slog.New(slog.DiscardHandler), h.kinds...), context.Background()
	var p *reconcile.Plan
	if !v.Next {
		if p, err = e.Plan(ctx, seedWants(v.Seed, h)); err != nil {
			return err
		}
	}
	w, err := mishap.Watch()
	if err != nil {
		return err
	}
	w.Skip(noStep(v.Dir))
	w.Arm(v.At, mishap.Kills)
	if v.Next {
		return comeBack(ctx, e)
	}
	return thereAndBack(ctx, e, p)
}

// noStep tells what is no step: of the engine's own file, which is pkg/reconcile's to test, and of a file that does
// not count.
func noStep(dir string) func(string) bool {
	return func(step string) bool { return strings.Contains(step, dir) || strings.HasSuffix(step, fakenic.Draft) }
}

// die runs the process, and tells whether it was killed.
func (v *victim) die(t *testing.T) bool {
	t.Helper()
	killed, err := mishap.Die(v)
	if err != nil {
		t.Fatal(err)
	}
	return killed
}

// stepped are plans that are stopped at each of their steps, one after the other, in one rig.
type stepped struct {
	*rig
	w *mishap.Thread

	plans, fails, kills, lost int
	seen                      map[string]bool // kinds
}

// TestEachStep: whichever system call that can change the kernel's state fails, or the one behind it, or is the one
// that the process gets SIGKILL at, of random plans of all kinds, on their way there or back: the host is as it was, to
// the byte, or as soon as the next process has begun; but for what a plan has said cannot be put back.
func TestEachStep(t *testing.T) {
	t.Logf("-host.seed %d -host.plans %d", *stepSeed, *stepPlans)
	var mu sync.Mutex
	all := stepped{seen: map[string]bool{}}
	t.Run("rigs", func(t *testing.T) {
		for n := range *stepRigs {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				h := newRig(t, n)
				w, err := mishap.New()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(w.Close)
				s := stepped{rig: h, w: w, seen: map[string]bool{}}
				for i := n; i < *stepPlans; i += *stepRigs {
					s.step(t, *stepSeed+uint64(i), memory(t))
				}
				mu.Lock()
				defer mu.Unlock()
				all.plans, all.fails, all.kills, all.lost = all.plans+s.plans, all.fails+s.fails, all.kills+s.kills, all.lost+s.lost
				maps.Copy(all.seen, s.seen)
			})
		}
	})
	if os.Geteuid() != 0 || t.Failed() {
		return
	}
	t.Logf("%d plans, %d calls failed, %d processes were killed; %d times something was not as before, as the plan had said", all.plans, all.fails, all.kills, all.lost)
	if all.plans != *stepPlans || all.fails < 10*all.plans || all.kills < 10*all.plans || all.lost == 0 {
		t.Error("these are too few")
	}
	for _, k := range Kinds() {
		if !all.seen[k.Name()] && steppedElsewhere[k.Name()] == "" {
			t.Errorf("%s: no plan has any", k.Name())
		}
	}
}

// step stops a plan at each of its steps, and makes its changes for good then: the next plan begins with them.
func (s *stepped) step(t *testing.T, seed uint64, dir string) {
	t.Helper()
	s.mend(t)
	p := s.plan(t, seed, dir)
	for _, c := range p.Changes {
		s.seen[c.Kind] = true
	}
	before := s.state(t)
	way, at := wayOf(seed), 0
	for s.stop(t, seed, way, at, filepath.Join(dir, fmt.Sprint(at))) {
		s.wasUndone(t, fmt.Sprintf("seed %d, %s %d", seed, way, at), p, before)
		at++
	}
	s.wasUndone(t, fmt.Sprintf("seed %d, there and back", seed), p, before)
	t.Logf("seed %d: %s, %d steps of %d changes", seed, way, at, len(p.Changes))
	if way == mishap.Kills {
		s.kills += at
	} else {
		s.fails += at
	}
	s.plans++
	if _, err := engine(t, dir, s.kinds...).Apply(t.Context(), p, reconcile.Options{}); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

// plan is the plan with a seed.
func (s *stepped) plan(t *testing.T, seed uint64, dir string) *reconcile.Plan {
	t.Helper()
	p, err := engine(t, dir, s.kinds...).Plan(t.Context(), seedWants(seed, s.rig))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return p
}

// stop stops a plan at a step, and tells whether it has that one. The next process comes back from there; some of
// these are killed, too.
func (s *stepped) stop(t *testing.T, seed uint64, way mishap.Way, at int, dir string) (stopped bool) {
	t.Helper()
	v := victim{seed, s.base, dir, s.algorithm.name(), at, false}
	if way == mishap.Kills {
		stopped = v.die(t)
	} else {
		h, err := openRig(s.base, s.algorithm.name())
		if err != nil {
			t.Fatal(err)
		}
		p, e := s.plan(t, seed, dir), engine(t, dir, h.kinds...)
		s.w.Skip(noStep(dir))
		s.w.Arm(at, way)
		s.w.Do(func() { err = thereAndBack(t.Context(), e, p) })
		_, hit := s.w.Disarm()
		if stopped = hit != ""; !stopped && err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	v.Next = true
	for r := rand.New(rand.NewPCG(seed, uint64(at))); r.IntN(4) == 0; {
		v.At = r.IntN(20)
		v.die(t)
	}
	if v.At = mishap.Never; v.die(t) {
		t.Fatalf("seed %d, %s %d: killed by another", seed, way, at)
	}
	return stopped
}

// wasUndone compares the state with that before, and mends what a plan has said cannot be put back.
func (s *stepped) wasUndone(t *testing.T, what string, p *reconcile.Plan, before map[string]string) {
	t.Helper()
	said := func(line string) bool {
		return slices.ContainsFunc(mayDiffer(p), func(key string) bool { return strings.HasPrefix(line, key+": ") })
	}
	all := mapdiff.Of(before, s.state(t))
	d := slices.DeleteFunc(slices.Clone(all), said)
	if len(d) > 0 {
		t.Fatalf("%s: not undone: %v; of %+v", what, d, p.Changes)
	}
	if slices.ContainsFunc(all, said) {
		s.lost++
		s.mend(t)
	}
}

// steppedElsewhere are kinds of which a rig has no resource, with the test that stops each of their steps.
var steppedElsewhere = map[string]string{RegdomKind: "TestRadioSteps"}

// memory is a directory whose files need no disk: what is tested is not the file system.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "l2d-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
