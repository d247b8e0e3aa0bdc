// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/mishap"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// thereAndBack makes a plan's changes, which wait for a confirmation, and undoes them.
func thereAndBack(ctx context.Context, e *reconcile.Engine, p *reconcile.Plan) error {
	pending, err := e.Apply(ctx, p, reconcile.Options{Confirm: time.Hour})
	if err != nil || pending == nil {
		return err
	}
	return e.Rollback(ctx, pending.ID)
}

// comeBack is what an operator does about what is left pending, with the daemon's next engine.
func comeBack(ctx context.Context, e *reconcile.Engine) error {
	if err := e.Recover(ctx); err != nil {
		return err
	}
	p := e.Pending()
	if p == nil {
		return nil
	}
	if p.Phase != reconcile.Waiting {
		return fmt.Errorf("recovered, and still %s", p.Phase)
	}
	return e.Rollback(ctx, p.ID)
}

// TestEachStep: whichever system call that can change the kernel's state fails, or the one behind it, of
// plans of all kinds, on their way there or back: the host is as it was, to the byte. What happens to
// the engine's own file is pkg/reconcile's to test.
func TestEachStep(t *testing.T) {
	h := newRig(t)
	w, err := mishap.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	total, kinds := 0, map[string]bool{}
	for seed := range uint64(8) {
		list, dir := randomWants(rand.New(rand.NewPCG(seed, 9))), t.TempDir()
		w.Skip(func(step string) bool { return strings.Contains(step, dir) })
		before, way := h.state(t), []mishap.Way{mishap.Fails, mishap.FailsBehind}[seed%2]
		for at := 0; ; at++ {
			e := engine(t, dir, h.kinds...)
			plan, err := e.Plan(t.Context(), list)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, c := range plan.Changes {
				kinds[c.Kind] = true
			}
			w.Arm(at, way)
			w.Do(func() { err = thereAndBack(t.Context(), e, plan) })
			steps, hit := w.Disarm()
			what := fmt.Sprintf("seed %d, %s %d: %s: %v", seed, way, at, hit, err)
			if hit == "" && err != nil {
				t.Fatal(what)
			}
			if err := comeBack(t.Context(), engine(t, dir, h.kinds...)); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			d := differences(before, h.state(t))
			for end := time.Now().Add(5 * time.Second); d != nil && time.Now().Before(end); d = differences(before, h.state(t)) {
				time.Sleep(50 * time.Millisecond) // the kernel's own look at carriers is a second late at most
			}
			if d != nil {
				t.Fatalf("%s: not undone: %v; of %+v", what, d, plan.Changes)
			}
			if hit == "" {
				total += len(steps)
				break
			}
		}
		// The next one begins with what this one is about.
		e := engine(t, dir, h.kinds...)
		plan, err := e.Plan(t.Context(), list)
		if err == nil {
			_, err = e.Apply(t.Context(), plan, reconcile.Options{})
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%d calls, of %v", total, kinds)
	if total < 200 || len(kinds) < 10 {
		t.Errorf("only %d calls, of %v", total, kinds)
	}
}
