// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/mishap"
)

// These tests have an engine stopped at each of its system calls that changes something: those of the file
// that it remembers a change in, and those of a host that is a file as well, of two tables of which one
// loses its rows by what is set in the other. pkg/host has the same with kinds of the kernel.

// scenario is what an engine does; made says whether the plan's changes are there when it has
// done all of it.
type scenario struct {
	name string
	run  func(e *Engine, p *Plan) error
	made bool
}

var scenarios = []scenario{
	{"apply", func(e *Engine, p *Plan) error {
		_, err := e.Apply(context.Background(), p, Options{})
		return err
	}, true},
	{"a gate is closed", func(e *Engine, p *Plan) error {
		closed := Gate{"closed", func(context.Context) error { return errClosed }}
		_, err := e.Apply(context.Background(), p, Options{Gates: []Gate{closed}})
		if len(p.Changes) > 0 && !errors.Is(err, errClosed) {
			return errors.Join(err, errors.New("not undone for its sake"))
		}
		if left := strings.ReplaceAll(fmt.Sprint(err), fmt.Sprintf("health gate closed: %v", errClosed), ""); left != "" && e.Pending() != nil {
			return err
		}
		return nil
	}, false},
	{"confirm", func(e *Engine, p *Plan) error {
		pending, err := e.Apply(context.Background(), p, Options{Confirm: time.Hour})
		if err != nil || pending == nil {
			return err
		}
		return e.Confirm(pending.ID)
	}, true},
	{"roll back", func(e *Engine, p *Plan) error {
		pending, err := e.Apply(context.Background(), p, Options{Confirm: time.Hour})
		if err != nil || pending == nil {
			return err
		}
		return e.Rollback(context.Background(), pending.ID)
	}, false},
}

var errClosed = errors.New("for a test")

// fileHost is the host in a file.
type fileHost struct {
	path   string
	tables *table
}

func newFileHost(path string) *fileHost {
	h := &fileHost{path, &table{shadow: &table{name: "shadow"}}}
	h.tables.written, h.tables.shadow.written = h.write, h.write
	return h
}

// openHost reads it.
func openHost(path string) (*fileHost, error) {
	h := newFileHost(path)
	return h, h.read()
}

func (h *fileHost) read() error {
	h.tables.rows, h.tables.shadow.rows = nil, nil
	b, err := os.ReadFile(h.path)
	if err == nil {
		err = json.Unmarshal(b, &[]any{&h.tables.rows, &h.tables.shadow.rows})
	}
	return err
}

// write is one step, as another file takes its place. What is not written is not so.
func (h *fileHost) write() error {
	b, err := json.Marshal([]any{h.tables.rows, h.tables.shadow.rows})
	if err == nil {
		err = os.WriteFile(h.path+draft, b, 0o600)
	}
	if err == nil {
		err = os.Rename(h.path+draft, h.path)
	}
	if err != nil {
		return errors.Join(err, h.read())
	}
	return nil
}

// draft ends the name of a file that does not count.
const draft = ".draft"

func isDraft(step string) bool {
	return strings.HasPrefix(step, "open ") && strings.HasSuffix(step, draft)
}

func (h *fileHost) engine(dir string) *Engine {
	return New(dir, slog.New(slog.DiscardHandler), h.tables, h.tables.shadow)
}

// begin makes a host, and a plan for it. Both are of a seed.
func begin(t *testing.T, seed uint64, path string) (*fileHost, []Resource) {
	t.Helper()
	h := newFileHost(path)
	var list []Resource
	h.tables.rows, h.tables.shadow.rows, list = randomTables(seed)
	if err := h.write(); err != nil {
		t.Fatal(err)
	}
	return h, list
}

// randomTables are the rows of both tables, and a plan for them.
func randomTables(seed uint64) (rows, shadow map[string]State, list []Resource) {
	r := rand.New(rand.NewPCG(seed, 1))
	var more []Resource
	rows, list = randomPlan(r, "table")
	shadow, more = randomPlan(r, "shadow")
	for i := range more { // behind what it can be lost by
		more[i].Rank += 3
	}
	return rows, shadow, append(list, more...)
}

// contents are the rows of both tables.
func contents(t *testing.T, path string) []map[string]State {
	t.Helper()
	h, err := openHost(path)
	if err != nil {
		t.Fatal(err)
	}
	return []map[string]State{h.tables.rows, h.tables.shadow.rows}
}

// isMade tells whether all is as a plan wants it.
func isMade(rows []map[string]State, list []Resource) bool {
	for _, r := range list {
		have := rows[0][r.Name]
		if r.Kind == "shadow" {
			have = rows[1][r.Name]
		}
		for key, v := range r.Want {
			if have[key] != v {
				return false
			}
		}
	}
	return true
}

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

// finish is what an operator does about what is left pending, with the daemon's next engine.
func finish(t *testing.T, h *fileHost, dir string) {
	t.Helper()
	e := h.engine(dir)
	if err := e.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := e.Pending(); p != nil {
		if p.Phase != Waiting {
			t.Fatalf("recovered, and still %s", p.Phase)
		}
		if err := e.Rollback(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) || len(files) != 0 {
		t.Fatalf("left: %v, %v", files, err)
	}
}

// TestFails: whichever call of whatever an engine does fails, or the one behind it, of two hundred plans: either it
// says so and the host is as it was, or as soon as the next engine has begun; or it is as planned.
func TestFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := memory(t)
	path := filepath.Join(dir, "host")
	w, err := mishap.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.Skip(isDraft)
	total := 0
	for seed := range uint64(200) {
		way := []mishap.Way{mishap.Fails, mishap.FailsBehind}[seed/4%2]
		s := scenarios[seed%4]
		for at := 0; ; at++ {
			h, list := begin(t, seed, path)
			before := contents(t, path)
			state := filepath.Join(dir, "state")
			e := h.engine(state)
			p := mustPlan(t, e, list...)
			w.Arm(at, way)
			w.Do(func() { err = s.run(e, p) })
			steps, hit := w.Disarm()
			what := fmt.Sprintf("seed %d, %s, %s %d: %s: %v", seed, s.name, way, at, hit, err)
			made := err == nil && s.made
			if hit == "" && err != nil || made && !isMade(contents(t, path), list) || err == nil && e.Pending() != nil {
				t.Fatalf("%s: %v", what, contents(t, path))
			}
			if left, _ := load(state); left != nil && e.Pending() == nil {
				t.Fatalf("%s: the next engine finds %+v", what, left)
			}
			finish(t, h, state)
			if now := contents(t, path); !made && !reflect.DeepEqual(now, before) {
				t.Fatalf("%s: not undone:\n%v, not\n%v", what, now, before)
			} else if made && !isMade(now, list) {
				t.Fatalf("%s: undone: %v", what, now)
			}
			if hit == "" {
				total += len(steps)
				break
			}
		}
	}
	t.Logf("%d calls", total)
	if total < 4000 {
		t.Errorf("only %d calls", total)
	}
}

// victim is a process that is killed while its engine is at work.
type victim struct {
	Seed      uint64
	Path, Dir string
	Scenario  int // of scenarios; behind the last one it is to go on where another was killed
	At        int // the step
}

// TestMain is that process, or the tests.
func TestMain(m *testing.M) { mishap.Main(m, new(victim)) }

// Run implements mishap.Victim.
func (v *victim) Run() error {
	h, err := openHost(v.Path)
	if err != nil {
		return err
	}
	e := h.engine(v.Dir)
	var p *Plan
	if v.Scenario < len(scenarios) {
		_, _, list := randomTables(v.Seed)
		if p, err = e.Plan(context.Background(), list); err != nil {
			return err
		}
	}
	w, err := mishap.Watch()
	if err != nil {
		return err
	}
	w.Skip(isDraft)
	w.Arm(v.At, mishap.Kills)
	if v.Scenario == len(scenarios) {
		return e.Recover(context.Background())
	}
	return scenarios[v.Scenario].run(e, p)
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

// TestKilled: a process gets SIGKILL at each system call that changes something, of whatever an engine does, and one that
// goes on from there at some of its own: the next one leaves the host as it was, unless the change was
// final, or lets it wait for its confirmation if that is how far it was. No file is left.
func TestKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := memory(t)
	path, state := filepath.Join(dir, "host"), filepath.Join(dir, "state")
	kills, waited := 0, 0
	for seed := range uint64(28) {
		r := rand.New(rand.NewPCG(seed, 2))
		for at := 0; ; at++ {
			_, list := begin(t, seed, path)
			before := contents(t, path)
			v := victim{seed, path, state, int(seed % 4), at}
			killed := v.die(t)
			what := fmt.Sprintf("seed %d, %s, killed at %d", seed, scenarios[v.Scenario].name, at)
			pending, err := load(state)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			now := contents(t, path)
			final := pending == nil && !reflect.DeepEqual(now, before)
			if final && !(scenarios[v.Scenario].made && isMade(now, list)) {
				t.Fatalf("%s: the engine is done, but not with this: %v", what, now)
			}
			if pending != nil && pending.Phase == Waiting {
				if waited++; !isMade(now, list) {
					t.Fatalf("%s: it waits, and is not made: %v", what, now)
				}
				// The next engine is late.
				pending.Deadline = time.Now().Add([]time.Duration{-1, time.Hour}[r.IntN(2)])
				if err := save(state, pending); err != nil {
					t.Fatal(err)
				}
			}
			for r.IntN(3) == 0 {
				again := victim{seed, path, state, len(scenarios), r.IntN(20)}
				again.die(t)
			}
			h, err := openHost(path)
			if err != nil {
				t.Fatal(err)
			}
			finish(t, h, state)
			if now = contents(t, path); !final && !reflect.DeepEqual(now, before) {
				t.Fatalf("%s: not undone:\n%v, not\n%v", what, now, before)
			} else if final && !isMade(now, list) {
				t.Fatalf("%s: undone: %v", what, now)
			}
			if !killed {
				break
			}
			kills++
		}
	}
	t.Logf("%d kills, %d of them of what waited", kills, waited)
	if kills < 500 || waited < 25 {
		t.Errorf("only %d kills, %d of them of what waited", kills, waited)
	}
}
