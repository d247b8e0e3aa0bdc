// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Engine plans, applies and undoes. Its methods may be called concurrently.
type Engine struct {
	// Undone is called when a change that was applied is undone, with what it was.
	// It must not call the engine's methods; nil is nobody to tell. It is set before
	// the first use.
	Undone func(id, why string)
	// Final is called when a change becomes final, while it still is on disk what undoes it: an
	// engine that goes on from here does that. Else as Undone.
	Final func(id string)

	kinds map[string]Kind
	dir   string
	log   *slog.Logger

	mu      sync.Mutex
	pending *Pending
	timer   *time.Timer
	// shown is what pending was last, and progress how far it is: who asks does not wait for
	// a change to be made.
	shown    atomic.Pointer[Pending]
	progress atomic.Pointer[Progress]
}

// Progress is how far a change is that is being made.
type Progress struct {
	// Doing is "changes", "checks" or "undoes"; What is the resource or the health gate, the
	// one with this number, from 1 on, of so many.
	Doing  string `json:"doing"`
	Number int    `json:"number"`
	Of     int    `json:"of"`
	What   string `json:"what"`
}

// Progress tells how far a change is that is being made; nil: none is.
func (e *Engine) Progress() *Progress { return e.progress.Load() }

func (e *Engine) at(doing string, number, of int, what string) {
	e.progress.Store(&Progress{doing, number, of, what})
}

// Gate is a check of the host's health after a change. An error undoes it.
type Gate struct {
	Name  string
	Check func(ctx context.Context) error
}

// Errors about pending changes.
var (
	// ErrPending refuses a change while another one is not final.
	ErrPending = errors.New("another change waits for its confirmation")
	// ErrStuck refuses it while what could be undone in part alone is open.
	ErrStuck = errors.New("another change could not be undone")
	// ErrNotPending answers a confirmation of what is not pending.
	ErrNotPending = errors.New("no such change is pending")
	// ErrNotRevertable refuses to wait for a confirmation of what cannot be undone.
	ErrNotRevertable = errors.New("it cannot be undone, so there is nothing to wait for a confirmation with")
)

// New returns an engine that keeps what it has to remember in a directory. It
// makes that, for root alone, with the first change.
func New(dir string, log *slog.Logger, kinds ...Kind) *Engine {
	e := &Engine{kinds: map[string]Kind{}, dir: dir, log: log}
	for _, k := range kinds {
		e.kinds[k.Name()] = k
	}
	return e
}

// Pending returns the change that is not final; nil if there is none.
func (e *Engine) Pending() *Pending {
	return e.shown.Load().byClock()
}

// show has others see what is pending.
func (e *Engine) show() {
	if e.pending == nil {
		e.shown.Store(nil)
		return
	}
	p := *e.pending
	e.shown.Store(&p)
}

// keep has what is pending on disk.
func (e *Engine) keep() error {
	e.show()
	return save(e.dir, e.pending)
}

// Options of [Engine.Apply].
type Options struct {
	// Confirm is how long to wait for a confirmation before the change is undone;
	// 0: none is needed.
	Confirm time.Duration
	// Gates are asked when all changes are made.
	Gates []Gate
	// Begins is called when it is on disk what undoes the change, before that is made. After an
	// error nothing is; nil is nobody to tell.
	Begins func(id string) error
}

// Apply makes the changes of a plan. What it returns is pending if it is to be
// confirmed, else nil. After an error the host is as it was; if that failed too,
// the error says of what.
func (e *Engine) Apply(ctx context.Context, p *Plan, o Options) (*Pending, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending != nil {
		return nil, e.pending.Refuses()
	}
	if len(p.Changes) == 0 {
		return nil, nil
	}
	if o.Confirm > 0 {
		for _, c := range p.Changes {
			if c.Effect.Impact == NotRevertable {
				return nil, fmt.Errorf("%s: %w", c.ID(), ErrNotRevertable)
			}
		}
	}
	if err := e.begin(p); err != nil {
		return nil, err
	}
	defer e.progress.Store(nil)
	if o.Begins != nil {
		if err := o.Begins(e.pending.ID); err != nil {
			return nil, errors.Join(err, e.undo(context.WithoutCancel(ctx), nil))
		}
	}
	made, err := e.make(ctx, p.Changes)
	if err == nil {
		err = e.ask(ctx, o.Gates)
	}
	switch {
	case err != nil:
	case o.Confirm == 0:
		err = e.final()
	default:
		err = e.wait(o.Confirm)
	}
	if err != nil {
		// What has begun is ended, also for a caller who is gone.
		if left := e.undo(context.WithoutCancel(ctx), made); left != nil {
			return nil, errors.Join(err, left)
		}
		return nil, fmt.Errorf("%w; all that was changed is undone", err)
	}
	return e.Pending(), nil
}

// begin has on disk what it takes to undo the changes.
func (e *Engine) begin(p *Plan) error {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	boot, err := BootID()
	if err != nil {
		return err
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	e.pending = &Pending{ID: hex.EncodeToString(id), Phase: Applying, Boot: boot, Changes: p.Changes}
	if err := e.keep(); err != nil {
		// It may be there all the same, for the next engine to undo what nobody has done.
		err = errors.Join(err, forget(e.dir))
		e.pending = nil
		e.show()
		return err
	}
	return nil
}

// wait has the pending change wait for its confirmation.
func (e *Engine) wait(confirm time.Duration) error {
	e.pending.Phase, e.pending.Deadline, e.pending.Until = Waiting, time.Now().Add(confirm), sinceBoot()+confirm
	if err := e.keep(); err != nil {
		return err
	}
	e.arm()
	return nil
}

// final makes the pending change final, and tells of it.
func (e *Engine) final() error {
	if e.Final != nil {
		e.Final(e.pending.ID)
	}
	return e.end()
}

// end lets go of the pending change. After an error it is still pending, for this engine; whether the next
// one finds it on disk is open.
func (e *Engine) end() error {
	if err := forget(e.dir); err != nil {
		return err
	}
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.pending = nil
	e.show()
	e.forget()
	return nil
}

// forget lets go of what kinds have kept to undo by.
func (e *Engine) forget() {
	for _, k := range e.kinds {
		if keeper, ok := k.(Keeper); ok {
			if err := keeper.Forget(); err != nil {
				e.log.Warn("what is of no use any more is kept", "kind", k.Name(), "err", err)
			}
		}
	}
}

// make makes changes, and returns those that may have been made.
func (e *Engine) make(ctx context.Context, changes []Change) ([]Change, error) {
	for i := range changes {
		c := &changes[i]
		e.at("changes", i+1, len(changes), c.ID())
		if c.Later {
			if err := e.see(ctx, c); err != nil {
				return changes[:i+1], err
			}
			if len(c.To) == 0 {
				continue
			}
		}
		if err := e.set(ctx, c, c.To); err != nil {
			return changes[:i+1], err
		}
		e.log.Info("changed", "resource", c.ID(), "from", c.From, "to", c.To)
	}
	return changes, nil
}

// see finds what differs of a resource whose thing is there by now.
func (e *Engine) see(ctx context.Context, c *Change) error {
	k, ok := e.kinds[c.Kind]
	if !ok {
		return fmt.Errorf("%s: no such kind of resource", c.ID())
	}
	r := &Resource{Kind: c.Kind, Name: c.Name, Want: c.To}
	var p Plan
	var errs []error
	good := check(ctx, k, r, &p, &errs)
	for _, note := range append(p.Notes, p.Warnings...) {
		e.log.Warn("change", "resource", c.ID(), "note", note)
	}
	c.To = State{}
	if !good {
		return errors.Join(errs...)
	}
	differs, err := e.change(ctx, k, r, "")
	if err == nil && differs != nil {
		c.From, c.To = differs.From, differs.To
	}
	return err
}

// set gives attributes of a change's resource their values, and reads them back.
// What is not there is an error.
func (e *Engine) set(ctx context.Context, c *Change, to State) error {
	if len(to) == 0 {
		return nil
	}
	k, ok := e.kinds[c.Kind]
	if !ok {
		return fmt.Errorf("%s: no such kind of resource", c.ID())
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", c.ID(), err)
	}
	if err := k.Set(ctx, c.Name, to); err != nil {
		return fmt.Errorf("%s: %w", c.ID(), err)
	}
	have, err := k.Observe(ctx, c.Name, to.Keys())
	if err != nil {
		return fmt.Errorf("%s: read back: %w", c.ID(), err)
	}
	for _, key := range to.Keys() {
		if _, there := have[key]; !there {
			return fmt.Errorf("%s: read back: %s: %w", c.ID(), key, fs.ErrNotExist)
		}
		if !k.Same(key, to[key], have[key]) {
			return fmt.Errorf("%s: %s was set to %q, but is %q", c.ID(), key, to[key], have[key])
		}
	}
	return nil
}

func (e *Engine) ask(ctx context.Context, gates []Gate) error {
	var errs []error
	for i, g := range gates {
		e.at("checks", i+1, len(gates), g.Name)
		if err := g.Check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("health gate %s: %w", g.Name, err))
		}
	}
	return errors.Join(errs...)
}

// undoPasses is how often undoing is tried.
const undoPasses = 3

// undo undoes changes, the last one first, as far as it gets. What cannot be undone
// yet, or not for long, may depend on what is undone after it, as a table of queues
// does on their number: it is undone again.
func (e *Engine) undo(ctx context.Context, changes []Change) error {
	defer e.progress.Store(nil)
	// From here on there is nothing to confirm, also for the next engine.
	e.pending.Phase = Undoing
	if err := e.keep(); err != nil {
		e.log.Error("an engine that goes on from here would not know that a change is being undone", "id", e.pending.ID, "err", err)
	}
	var err error
	left := changes
	for range undoPasses {
		err = e.undoOnce(ctx, left)
		if left = e.notUndone(ctx, changes); len(left) == 0 {
			err = e.end()
			break
		}
	}
	if e.pending == nil {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("undo: %s: changed again by what is undone after it", left[0].ID())
	}
	e.pending.Phase, e.pending.Error = Stuck, err.Error()
	return errors.Join(err, e.keep())
}

func (e *Engine) undoOnce(ctx context.Context, changes []Change) error {
	var errs []error
	for i := range slices.Backward(changes) {
		c := &changes[i]
		e.at("undoes", len(changes)-i, len(changes), c.ID())
		errs = append(errs, e.putBack(ctx, c, c.Undo))
		for _, lost := range c.Restore {
			errs = append(errs, e.putBack(ctx, &Change{Kind: lost.Kind, Name: lost.Name, From: lost.State}, lost.State))
		}
	}
	return errors.Join(errs...)
}

// notUndone are the changes of which not all is as it was.
func (e *Engine) notUndone(ctx context.Context, changes []Change) (left []Change) {
	for _, c := range changes {
		as := e.isAs(ctx, c.Kind, c.Name, c.Undo)
		for _, lost := range c.Restore {
			as = as && e.isAs(ctx, lost.Kind, lost.Name, lost.State)
		}
		if !as {
			left = append(left, c)
		}
	}
	return left
}

// isAs tells whether a resource is in a state, as far as it is there.
func (e *Engine) isAs(ctx context.Context, kind, name string, want State) bool {
	k, ok := e.kinds[kind]
	if !ok {
		return false
	}
	have, err := k.Observe(ctx, name, want.Keys())
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for key, v := range have {
		if !k.Same(key, want[key], v) {
			return false
		}
	}
	return true
}

// putBack sets what was before a change, if it is still there. What is so already was not changed, or is
// undone: to set it again could be more than nothing.
func (e *Engine) putBack(ctx context.Context, c *Change, to State) error {
	if k, ok := e.kinds[c.Kind]; ok {
		if have, err := k.Observe(ctx, c.Name, to.Keys()); err == nil && maps.Equal(have, to) {
			return nil
		}
	}
	err := e.set(ctx, c, to)
	if errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("nothing to undo: it is gone", "resource", c.ID(), "err", err)
		return nil
	}
	if err != nil {
		e.log.Error("not undone", "resource", c.ID(), "to", c.From, "err", err)
		return fmt.Errorf("undo: %w", err)
	}
	e.log.Warn("undone", "resource", c.ID(), "to", c.From)
	return nil
}

// Confirm makes a pending change final.
func (e *Engine) Confirm(id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.is(id); err != nil {
		return err
	}
	if err := e.final(); err != nil {
		// It goes on waiting, also for the next engine, which may not have seen it any more.
		return errors.Join(err, e.keep())
	}
	e.log.Info("change confirmed", "id", id)
	return nil
}

// Rollback undoes a pending change now.
func (e *Engine) Rollback(ctx context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.is(id); err != nil {
		return err
	}
	return e.revert(context.WithoutCancel(ctx), "rolled back")
}

// revert undoes the pending change, after all of it was made.
func (e *Engine) revert(ctx context.Context, why string) error {
	id := e.pending.ID
	err := e.undo(ctx, e.pending.Changes)
	if err != nil {
		why += ", but for what could not be"
	}
	if e.Undone != nil {
		e.Undone(id, why)
	}
	return err
}

func (e *Engine) is(id string) error {
	if e.pending == nil || e.pending.ID != id {
		return fmt.Errorf("%w: %s", ErrNotPending, id)
	}
	return nil
}

// arm has the pending change undone when its time is up.
func (e *Engine) arm() {
	id := e.pending.ID
	e.timer = time.AfterFunc(e.pending.left(), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.is(id) != nil || e.pending.Phase != Waiting {
			return
		}
		e.log.Warn("change was not confirmed in time", "id", id)
		_ = e.revert(context.Background(), "not confirmed in time") // has logged
	})
}

// Recover goes on where an engine before was ended: it undoes a change that was
// being made, and one that waits when its time is up. It is called once, before
// all others.
func (e *Engine) Recover(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := load(e.dir)
	if err != nil || p == nil {
		return err
	}
	boot, err := BootID()
	if err != nil {
		return err
	}
	e.pending = p
	e.show()
	switch {
	case p.Boot != boot:
		e.log.Warn("a change that was not final went with the reboot", "id", p.ID)
		if e.Undone != nil {
			e.Undone(p.ID, "it went with the reboot")
		}
		return e.end()
	case p.Phase == Waiting && p.left() > 0:
		e.log.Warn("a change still waits for its confirmation", "id", p.ID, "until", p.byClock().Deadline)
		e.arm()
		return nil
	}
	e.log.Warn("undoing a change that was not final", "id", p.ID, "phase", string(p.Phase))
	return e.revert(ctx, "not final when the daemon before ended")
}

// Drift compares what is declared with the host again, sets what is to be
// enforced, and returns the changes that are left to make. A pending change holds
// it back. What is declared is asked for when no other change can be made any more:
// it may have been undone the moment before. It must not call the engine's methods.
// The error is of what cannot be compared; the rest is.
func (e *Engine) Drift(ctx context.Context, declared func() ([]Resource, error)) ([]Change, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending != nil {
		return nil, nil
	}
	resources, errDeclared := declared()
	p, err := e.compare(ctx, resources)
	var left []Change
	for i := range p.Changes {
		c := &p.Changes[i]
		if !c.Enforce {
			left = append(left, *c)
			continue
		}
		if err := e.set(ctx, c, c.To); err != nil {
			e.log.Error("drift is not corrected", "resource", c.ID(), "err", err)
			left = append(left, *c)
			continue
		}
		e.log.Warn("drift corrected", "resource", c.ID(), "was", c.From, "is", c.To)
	}
	return left, errors.Join(errDeclared, err)
}
