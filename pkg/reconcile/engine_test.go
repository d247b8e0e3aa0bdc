// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// table is a kind whose resources are rows of attributes. A write of the attribute
// "all" is one of every attribute of its row, as some of the kernel's are.
type table struct {
	rows map[string]State
	// fail is asked before each attribute is written.
	fail  func(name, key string) error
	order []string
	// shadow is another kind, whose rows are lost when this one's attribute x, or all, is
	// written; nil if there is none.
	shadow *table
	name   string
	// makes has a row that is there while the attribute x of "maker" is not 0.
	makes map[string]State
	// written is told of each attribute that was written; nil is nobody to tell.
	written func() error
}

func (t *table) Name() string { return cmp.Or(t.name, "table") }

func (t *table) Resets(name string, to State) []Ref {
	_, x := to["x"]
	if _, all := to["all"]; !x && !all || t.shadow == nil {
		return nil
	}
	return []Ref{{"shadow", name, []string{"all", "x", "y", "z"}}, {"shadow", "nosuch", []string{"x"}}, {"nosuch", name, nil}}
}

func (t *table) Check(_ context.Context, r *Resource) (out []Problem) {
	if t.rows[r.Name] == nil {
		return []Problem{{Resource: r, Problem: "no such row", Want: "a row"}}
	}
	for k, v := range r.Want {
		if strings.HasPrefix(v, "bad") {
			out = append(out, Problem{Resource: r, Key: k, Problem: "not a value", Want: "a value"})
		}
	}
	return out
}

func (t *table) Observe(_ context.Context, name string, keys []string) (State, error) {
	row, ok := t.rows[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return row.Pick(keys), nil
}

func (*table) Same(_, want, have string) bool { return want == have || want == "~"+have }

func (t *table) Effect(name string, _ State) Effect {
	switch name[0] {
	case 'd':
		return Effect{Impact: Disruptive, Why: "the link goes down"}
	case 'm':
		return Effect{Impact: InPlace, Makes: t.makes[name] != nil}
	case 'n':
		return Effect{Impact: NotRevertable}
	}
	return Effect{Impact: InPlace}
}

func (t *table) Before(_ context.Context, name string, to State) (State, error) {
	if _, ok := to["all"]; ok {
		return maps.Clone(t.rows[name]), nil
	}
	return t.rows[name].Pick(to.Keys()), nil
}

func (t *table) Set(_ context.Context, name string, to State) error {
	row, ok := t.rows[name]
	if !ok {
		return fs.ErrNotExist
	}
	keys := to.Keys() // "all" is the first
	for _, k := range keys {
		if t.fail != nil {
			if err := t.fail(name, k); err != nil {
				return err
			}
		}
		t.order = append(t.order, name+"."+k)
		if k == "all" {
			for other := range row {
				row[other] = to[k]
			}
		}
		row[k] = to[k]
		if t.makes[name] != nil && to[k] == "0" {
			delete(t.rows, "made")
		} else if t.makes[name] != nil {
			t.rows["made"] = maps.Clone(t.makes[name])
		}
		if (k == "x" || k == "all") && t.shadow != nil {
			for other := range t.shadow.rows[name] {
				t.shadow.rows[name][other] = "lost"
			}
		}
		if t.written != nil {
			if err := t.written(); err != nil {
				return err
			}
		}
	}
	return nil
}

func newTable(rows map[string]State) *table { return &table{rows: rows} }

func newEngine(t *testing.T, dir string, k *table) (*Engine, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	kinds := []Kind{k}
	if k.shadow != nil {
		kinds = append(kinds, k.shadow)
	}
	return New(dir, slog.New(slog.NewTextHandler(&log, nil)), kinds...), &log
}

// TestLater: what is of something that is made in the same plan is checked and
// compared when that is there, and needs no undoing.
func TestLater(t *testing.T) {
	rows := map[string]State{"maker": {"x": "0"}}
	k := newTable(rows)
	k.makes = map[string]State{"maker": {"x": "1", "y": "2"}}
	e, _ := newEngine(t, t.TempDir(), k)
	of := func(want State) []Resource {
		return []Resource{
			{Kind: "table", Name: "maker", Want: State{"x": "7"}},
			{Kind: "table", Name: "made", Want: want, Rank: 1, Of: "table maker"},
		}
	}
	p := mustPlan(t, e, of(State{"x": "1", "y": "3"})...)
	if len(p.Changes) != 2 || !p.Changes[1].Later || len(p.Changes[1].Undo) != 0 {
		t.Fatalf("%+v", p)
	}
	failing := []Gate{{"fail", func(context.Context) error {
		if got := k.rows["made"]["y"]; got != "3" {
			t.Errorf("not set: %v", k.rows)
		}
		return errors.New("for a test")
	}}}
	if _, err := e.Apply(t.Context(), p, Options{Gates: failing}); err == nil || k.rows["made"] != nil || k.rows["maker"]["x"] != "0" {
		t.Errorf("%v, %v", k.rows, err)
	}
	p = mustPlan(t, e, of(State{"x": "bad"})...)
	if _, err := e.Apply(t.Context(), p, Options{}); err == nil || !strings.Contains(err.Error(), "not a value") || k.rows["made"] != nil {
		t.Errorf("%v, %v", k.rows, err)
	}
	p = mustPlan(t, e, of(State{"x": "1", "y": "3"})...)
	if _, err := e.Apply(t.Context(), p, Options{}); err != nil || p.Changes[1].From["y"] != "2" || len(p.Changes[1].To) != 1 {
		t.Errorf("%+v, %v", p.Changes[1], err)
	}
	// Of what cannot be made nothing is told twice.
	list := of(State{"x": "bad"})
	list[0].Want["x"] = "bad"
	if _, err := e.Plan(t.Context(), list); err == nil || strings.Count(err.Error(), "not a value") != 1 {
		t.Error(err)
	}
}

func mustPlan(t *testing.T, e *Engine, list ...Resource) *Plan {
	t.Helper()
	p, err := e.Plan(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func want(name string, to State) Resource { return Resource{Kind: "table", Name: name, Want: to} }

func TestPlan(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1", "y": "2"}, "d": {"x": "1"}, "c": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	late := want("a", State{"x": "5", "y": "2"})
	late.Rank = 1
	p := mustPlan(t, e, late, want("d", State{"x": "2"}), want("c", State{"x": "~1"}))
	var out strings.Builder
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	const text = `~ table d  (disruptive: the link goes down)
    x: 1 -> 2
~ table a
    x: 1 -> 5
Plan: 2 of 3 resources change, 1 disruptive.
`
	if out.String() != text {
		t.Errorf("%s\nnot\n%s", out.String(), text)
	}
	if w := p.Worst(); w != Disruptive {
		t.Errorf("worst: %s", w)
	}
	if len(k.order) != 0 {
		t.Errorf("a plan writes %v", k.order)
	}
}

// TestPlanProblems: all that is wrong is told together, and nothing is touched.
func TestPlanProblems(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	at := want("a", State{"x": "bad", "y": "bad"})
	at.At = Place{"f.yaml", 3, 4}
	_, err := e.Plan(t.Context(), []Resource{at, want("b", State{"x": "1"}), {Kind: "no", Name: "such"}, want("a", State{"x": "1"})})
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range []string{
		`f.yaml:3:4: table a: x: "bad": not a value: want a value`, `table a: y: "bad"`, "table b: no such row", "no such: no such kind", "declared twice",
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in\n%v", text, err)
		}
	}
}

// TestNoChange: a host that is as declared sees no write, nor does the disk.
func TestNoChange(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	if p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "1"})), Options{Confirm: time.Hour}); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 || len(k.order) != 0 {
		t.Errorf("written: %v, %v", files, k.order)
	}
}

// randomPlan is resources of a kind, and what they shall be.
func randomPlan(r *rand.Rand, kind string) (map[string]State, []Resource) {
	rows := map[string]State{}
	var list []Resource
	for i := range 1 + r.IntN(6) {
		name := string(rune('a'+r.IntN(4)*3)) + strconv.Itoa(i)
		rows[name] = State{}
		to := State{}
		for _, k := range []string{"all", "x", "y", "z"} {
			rows[name][k] = strconv.Itoa(r.IntN(3))
			if r.IntN(2) == 0 {
				to[k] = strconv.Itoa(r.IntN(3))
			}
		}
		// Of a row, either all attributes or some.
		if _, ok := to["all"]; ok {
			to = State{"all": to["all"]}
		}
		list = append(list, Resource{Kind: kind, Name: name, Want: to, Rank: r.IntN(3)})
	}
	return rows, list
}

// TestReadBack: a write that the host ignores is an error.
func TestReadBack(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	p := mustPlan(t, e, want("a", State{"x": "2"}))
	e.kinds["table"] = deaf{k}
	_, err := e.Apply(t.Context(), p, Options{})
	if err == nil || !strings.Contains(err.Error(), `x was set to "2", but is "1"`) {
		t.Errorf("%v", err)
	}
	if e.Pending() != nil {
		t.Error("still pending")
	}
}

// deaf does not do as it is told.
type deaf struct{ *table }

func (deaf) Set(context.Context, string, State) error { return nil }

// TestGate: what makes the host ill is undone, and not tried further.
func TestGate(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	gate := Gate{"link", func(context.Context) error { return errors.New("down") }}
	_, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Gates: []Gate{gate}})
	if err == nil || !strings.Contains(err.Error(), "health gate link: down; all that was changed is undone") || k.rows["a"]["x"] != "1" {
		t.Errorf("%v, %v", err, k.rows)
	}
}

// TestProgress: who looks sees which change is made, which gate is asked, and what is undone.
func TestProgress(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}, "b": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	var seen []Progress
	look := func() { seen = append(seen, *e.Progress()) }
	k.fail = func(string, string) error { look(); return nil }
	gate := Gate{"link", func(context.Context) error { look(); return errors.New("down") }}
	if _, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"}), want("b", State{"x": "2"})), Options{Gates: []Gate{gate}}); err == nil {
		t.Error("the gate is closed")
	}
	want := []Progress{
		{"changes", 1, 2, "table a"}, {"changes", 2, 2, "table b"}, {"checks", 1, 1, "link"}, {"undoes", 1, 2, "table b"}, {"undoes", 2, 2, "table a"},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got %+v", seen)
	}
	if p := e.Progress(); p != nil {
		t.Errorf("at last %+v", p)
	}
}

func TestConfirm(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}, "n": {"x": "1"}})
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	if _, err := e.Apply(t.Context(), mustPlan(t, e, want("n", State{"x": "2"})), Options{Confirm: time.Hour}); !errors.Is(err, ErrNotRevertable) {
		t.Errorf("not revertable: %v", err)
	}
	p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: time.Hour})
	if err != nil || p == nil || p.Phase != Waiting {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "3"})), Options{}); !errors.Is(err, ErrPending) {
		t.Errorf("a second one: %v", err)
	}
	if err := e.Confirm("00"); !errors.Is(err, ErrNotPending) {
		t.Errorf("another's confirmation: %v", err)
	}
	if err := e.Confirm(p.ID); err != nil || e.Pending() != nil || k.rows["a"]["x"] != "2" {
		t.Errorf("%v, %v", err, k.rows)
	}
	if p, err = e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "3"})), Options{Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil || k.rows["a"]["x"] != "2" {
		t.Errorf("%v, %v", err, k.rows)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// TestBegins: who has to know of a change is told when it can be undone, before it is made; if that fails, it is
// not.
func TestBegins(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	told := ""
	failed := errors.New("no room")
	begins := func(id string) error {
		if kept, err := load(dir); err != nil || kept == nil || kept.ID != id || kept.Phase != Applying || k.rows["a"]["x"] != "1" {
			t.Errorf("%+v, %v, %v", kept, err, k.rows)
		}
		told = id
		return failed
	}
	if p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Begins: begins}); !errors.Is(err, failed) || p != nil || e.Pending() != nil || k.rows["a"]["x"] != "1" {
		t.Errorf("%+v, %v, %v", p, err, k.rows)
	}
	failed = nil
	p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: time.Hour, Begins: begins})
	if err != nil || p.ID != told || k.rows["a"]["x"] != "2" {
		t.Errorf("%+v, %v, %v, told of %s", p, err, k.rows, told)
	}
}

// TestDeadline: what is not confirmed is undone, also by the next engine.
func TestDeadline(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	undone := func(e *Engine) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); e.Pending() != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("still pending")
			}
		}
		if k.rows["a"]["x"] != "1" {
			t.Errorf("not undone: %v", k.rows)
		}
	}
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	if _, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	undone(e)
	for _, wait := range []time.Duration{time.Hour, 0} {
		p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		e.timer.Stop() // the process is gone
		// Meanwhile somebody has set the clock, which does not matter.
		p.Deadline = time.Now().Add(10 * (time.Hour/2 - wait))
		if wait == 0 {
			p.Until = sinceBoot()
		}
		if err := save(dir, p); err != nil {
			t.Fatal(err)
		}
		e, _ = newEngine(t, dir, k)
		if err := e.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if wait > 0 {
			if q := e.Pending(); q == nil || q.ID != p.ID || k.rows["a"]["x"] != "2" || time.Until(q.Deadline) < wait/2 || time.Until(q.Deadline) > wait {
				t.Fatalf("%+v, %v", q, k.rows)
			}
			if err := e.Rollback(t.Context(), p.ID); err != nil {
				t.Fatal(err)
			}
		}
		undone(e)
	}
}

// TestReboot: after another boot there is nothing to undo.
func TestReboot(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "2"}})
	dir := t.TempDir()
	if err := save(dir, &Pending{ID: "1", Phase: Applying, Boot: "another", Changes: []Change{{Kind: "table", Name: "a", Undo: State{"x": "1"}}}}); err != nil {
		t.Fatal(err)
	}
	e, _ := newEngine(t, dir, k)
	if err := e.Recover(t.Context()); err != nil || k.rows["a"]["x"] != "2" || e.Pending() != nil {
		t.Errorf("%v, %v", err, k.rows)
	}
}

// TestStuck: what cannot be undone stays pending, for another try or for a
// confirmation; what is gone has nothing to undo.
func TestStuck(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}, "b": {"x": "1"}})
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	broken := errors.New("broken")
	k.fail = func(name, _ string) error {
		if name == "b" || k.rows["a"]["x"] == "2" {
			return broken
		}
		return nil
	}
	_, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"}), want("b", State{"x": "2"})), Options{})
	p := e.Pending()
	if !errors.Is(err, broken) || p == nil || p.Phase != Stuck || p.Error == "" {
		t.Fatalf("%v, %+v", err, p)
	}
	k.fail = nil
	e, _ = newEngine(t, dir, k)
	delete(k.rows, "b")
	if err := e.Recover(t.Context()); err != nil || k.rows["a"]["x"] != "1" || e.Pending() != nil {
		t.Errorf("%v, %v", err, k.rows)
	}
	// Who is told that a change is undone is told if it is not, and other changes are refused for that.
	why := ""
	e.Undone = func(_, text string) { why = text }
	if p, err = e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	other := mustPlan(t, e, want("a", State{"x": "3"}))
	if _, err := e.Apply(t.Context(), other, Options{}); !errors.Is(err, ErrPending) || !strings.HasSuffix(err.Error(), p.ID+": want l2ctl confirm "+p.ID+", or l2ctl rollback") {
		t.Error(err)
	}
	k.fail = func(string, string) error { return broken }
	if err := e.Rollback(t.Context(), p.ID); !errors.Is(err, broken) || why != "rolled back, but for what could not be" {
		t.Errorf("%v, told: %s", err, why)
	}
	if _, err := e.Apply(t.Context(), other, Options{}); !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "l2ctl confirm "+p.ID+" leaves it") {
		t.Error(err)
	}
	k.fail = nil
	if err := e.Rollback(t.Context(), p.ID); err != nil || why != "rolled back" || e.Pending() != nil {
		t.Errorf("%v, told: %s", err, why)
	}
}

func TestBadPendingFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, pendingFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, _ := newEngine(t, dir, newTable(nil))
	if err := e.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), pendingFile) {
		t.Errorf("%v", err)
	}
}

func TestDrift(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}, "b": {"x": "1"}})
	e, log := newEngine(t, t.TempDir(), k)
	a, b := want("a", State{"x": "2"}), want("b", State{"x": "2"})
	b.Enforce = true
	left, err := e.Drift(t.Context(), func() ([]Resource, error) { return []Resource{a, b}, nil })
	if err != nil || len(left) != 1 || left[0].Name != "a" || k.rows["b"]["x"] != "2" || k.rows["a"]["x"] != "1" {
		t.Errorf("%v, %v, %v", left, err, k.rows)
	}
	if !strings.Contains(log.String(), "drift corrected") {
		t.Errorf("%s", log)
	}
	// What is wrong with one is no reason not to look at the others.
	k.rows["b"]["x"] = "1"
	lacked := errors.New("no such interface")
	left, err = e.Drift(t.Context(), func() ([]Resource, error) {
		return []Resource{a, want("gone", State{"x": "2"}), b}, lacked
	})
	if !errors.Is(err, lacked) || !strings.Contains(err.Error(), "no such row") || len(left) != 1 || left[0].Name != "a" || k.rows["b"]["x"] != "2" {
		t.Errorf("%v, %v, %v", left, err, k.rows)
	}
}

// TestFinal: who has to know that a change is final is told while an engine that goes on from there would undo it.
func TestFinal(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	dir := t.TempDir()
	e, _ := newEngine(t, dir, k)
	var told []string
	e.Final = func(id string) {
		if kept, err := load(dir); err != nil || kept == nil || kept.ID != id {
			t.Errorf("%+v, %v", kept, err)
		}
		told = append(told, id)
	}
	if _, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{}); err != nil || len(told) != 1 {
		t.Errorf("%v, %v", told, err)
	}
	for i, end := range []func(id string) error{e.Confirm, func(id string) error { return e.Rollback(t.Context(), id) }} {
		p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": strconv.Itoa(i + 3)})), Options{Confirm: time.Hour})
		if err != nil || len(told) != i+1 {
			t.Fatalf("%v, %v", told, err)
		}
		if err := end(p.ID); err != nil || len(told) != 2 || i == 0 && told[1] != p.ID {
			t.Errorf("%v, %v", told, err)
		}
	}
}

// TestDriftUndone: what is declared is asked for when a change that is being undone has been: what was declared with it
// is no drift, and not enforced.
func TestDriftUndone(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	undone := false
	e.Undone = func(string, string) { undone = true }
	p, err := e.Apply(t.Context(), mustPlan(t, e, want("a", State{"x": "2"})), Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	undoing, looked := make(chan struct{}), make(chan error)
	k.written = func() error {
		k.written = nil
		close(undoing)
		time.Sleep(10 * time.Millisecond) // for the look to come in between, if it can
		return nil
	}
	go func() {
		<-undoing
		_, err := e.Drift(context.Background(), func() ([]Resource, error) {
			if !undone {
				return nil, errors.New("asked too early")
			}
			return nil, nil
		})
		looked <- err
	}()
	if err := errors.Join(e.Rollback(t.Context(), p.ID), <-looked); err != nil {
		t.Error(err)
	}
}

// bound is a table in which row b is never more than row a: it follows.
type bound struct{ *table }

func (k bound) Set(ctx context.Context, name string, to State) error {
	if name == "b" && to["x"] > k.rows["a"]["x"] {
		return errors.New("more than a has")
	}
	if err := k.table.Set(ctx, name, to); err != nil {
		return err
	}
	if k.rows["b"]["x"] > k.rows["a"]["x"] {
		k.rows["b"]["x"] = k.rows["a"]["x"]
	}
	return nil
}

// TestUndoneAgain: what can be undone only after what is undone after it is, in the end.
func TestUndoneAgain(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "8"}, "b": {"x": "7"}})
	e := New(t.TempDir(), slog.New(slog.DiscardHandler), bound{k})
	list := []Resource{want("a", State{"x": "4"}), want("b", State{"x": "3"})}
	p, err := e.Apply(t.Context(), mustPlan(t, e, list...), Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil || k.rows["a"]["x"] != "8" || k.rows["b"]["x"] != "7" || e.Pending() != nil {
		t.Errorf("%v: %v", err, k.rows)
	}
}
