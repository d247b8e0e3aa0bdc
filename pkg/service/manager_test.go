// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// host is an engine with services of the test's daemon.
type host struct {
	t    *testing.T
	d    *testDaemon
	m    *Manager
	e    *reconcile.Engine
	dir  string
	dirs Dirs
	log  *bytes.Buffer
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	dir := t.TempDir()
	h := &host{t: t, d: &testDaemon{}, dir: dir, dirs: Dirs{Run: filepath.Join(dir, "run")}}
	h.begin()
	t.Cleanup(func() {
		h.d.units, h.d.err = nil, nil
		if err := h.apply(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// begin is the start of a daemon; one before has ended without a word.
func (h *host) begin() {
	if h.m != nil {
		h.m.Close()
	}
	h.log = &bytes.Buffer{}
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: h.log}, nil))
	h.m = New([]Daemon{h.d}, h.dirs, filepath.Join(h.dir, "state"), log)
	h.m.runners[config.ModeChild].(*children).backoffLeast = 10 * time.Millisecond
	h.e = reconcile.New(filepath.Join(h.dir, "engine"), log, h.m, h.m.Slices)
}

// declare says which services shall be: names and texts.
func (h *host) declare(pairs ...string) {
	h.d.units = nil
	for i := 0; i < len(pairs); i += 2 {
		h.d.units = append(h.d.units, testUnit(h.dirs, pairs[i], pairs[i+1]))
	}
}

func (h *host) plan() (*reconcile.Plan, error) {
	list, err := h.m.Declare(&config.Config{})
	if err != nil {
		return nil, err
	}
	return h.e.Plan(context.Background(), list)
}

func (h *host) apply() error {
	p, err := h.plan()
	if err == nil {
		_, err = h.e.Apply(context.Background(), p, reconcile.Options{})
	}
	if err == nil {
		err = h.m.Watch(&config.Config{})
	}
	return err
}

func (h *host) must() {
	h.t.Helper()
	if err := h.apply(); err != nil {
		h.t.Fatal(err)
	}
}

// status of a service, which is there.
func (h *host) status(name string) Status {
	h.t.Helper()
	for _, s := range h.m.Statuses(context.Background()) {
		if s.Name == name {
			return s
		}
	}
	h.t.Fatalf("no service %s", name)
	return Status{}
}

func (h *host) file(name string) string { return filepath.Join(h.dirs.Of(name), "test.conf") }

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func alive(pid int) bool { _, err := startTime(pid); return err == nil }

// TestLife: a service starts, reads a changed file without another process, gets another process for
// another command line, and ends with all that it has started.
func TestLife(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	first := h.status("a")
	if first.Error != "" || first.Detail != "one" || first.PID == 0 {
		t.Fatalf("%+v", first)
	}
	h.declare("a", "two good")
	h.must()
	second := h.status("a")
	if second.Detail != "two" || second.PID != first.PID {
		t.Errorf("after a reload: %+v, and before %+v", second, first)
	}
	h.d.units[0].Argv = append(h.d.units[0].Argv, "more")
	h.must()
	third := h.status("a")
	if third.Detail != "two" || third.PID == first.PID || alive(first.PID) {
		t.Errorf("after a restart: %+v, and before %+v", third, first)
	}
	if p, err := h.plan(); err != nil || len(p.Changes) != 0 {
		t.Errorf("nothing is to do: %+v, %v", p, err)
	}
	if lines, err := h.m.Logs(t.Context(), "a", 10); err != nil || len(lines) == 0 || lines[0] != "has read its file" {
		t.Errorf("log: %q, %v", lines, err)
	}
	children, err := exec.Command("pgrep", "-P", itoa(third.PID)).Output()
	if err != nil || len(bytes.Fields(children)) != 1 {
		t.Fatalf("children: %s, %v", children, err)
	}
	h.declare()
	h.must()
	if alive(third.PID) || len(h.m.Statuses(t.Context())) != 0 {
		t.Error("it goes on")
	}
	// It gets its signal, and ends when it runs next.
	eventually(t, "what it has started goes on", func() bool { return !alive(atoi(t, children)) })
	if _, err := os.Stat(h.file("a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file: %v", err)
	}
}

// TestKilled: what ends is started again, and counted.
func TestKilled(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	for i := range 2 {
		before := h.status("a")
		if err := unix.Kill(before.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is not started again", func() bool {
			s := h.status("a")
			return s.Error == "" && s.PID != before.PID && s.Restarts == uint64(i+1)
		})
	}
	if s := h.status("a"); s.Exit != "signal: killed" {
		t.Errorf("%+v", s)
	}
}

// restarted has a service start again, and wants another process, which is well.
func (h *host) restarted(name string) {
	h.t.Helper()
	before := h.status(name)
	if err := h.m.Restart(h.t.Context(), name); err != nil {
		h.t.Fatal(err)
	}
	if s := h.status(name); s.Error != "" || s.PID == before.PID || alive(before.PID) {
		h.t.Errorf("started again: %+v, and before %+v", s, before)
	}
}

// TestRestart: a service that somebody has start again is another process, also of one that hangs; what is wrong with it
// then is said, and which services there are.
func TestRestart(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good", "b", "two good")
	h.must()
	other := h.status("b").PID
	h.restarted("a")
	if err := unix.Kill(h.status("a").PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.restarted("a")
	if p, err := h.plan(); err != nil || len(p.Changes) != 0 {
		t.Errorf("nothing is to do: %+v, %v", p, err)
	}
	if err := os.WriteFile(h.file("a"), []byte("crash\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.m.Restart(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "service a: it ends again and again: exit status 3: crashing") {
		t.Errorf("one that ends: %v", err)
	}
	if err := h.m.Restart(t.Context(), "c"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is no service c: want one of a, b") {
		t.Errorf("one that there is not: %v", err)
	}
	if s := h.status("b"); s.Error != "" || s.PID != other {
		t.Errorf("another one: %+v, and before %d", s, other)
	}
}

// TestWatched: a service that somebody else shall run ends as l2d's, and is looked at; l2d does not start it again.
func TestWatched(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	before := h.status("a").PID
	h.d.units[0].Mode = config.ModeWatch
	if _, err := h.plan(); err != nil {
		t.Fatal(err)
	}
	if list := h.m.Statuses(t.Context()); len(list) != 1 || list[0].Mode != config.ModeChild {
		t.Errorf("a plan alone has it looked at: %+v", list)
	}
	h.must()
	list := h.m.Statuses(t.Context())
	if len(list) != 1 || list[0].Mode != config.ModeWatch || list[0].Detail != "one" || alive(before) {
		t.Errorf("%+v, and process %d goes on: %v", list, before, alive(before))
	}
	if err := h.m.Restart(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "service a has the mode watch") {
		t.Error(err)
	}
	h.d.units[0].Mode = config.ModeChild
	h.must()
	if s := h.status("a"); s.Error != "" || s.Mode != config.ModeChild || len(h.m.Statuses(t.Context())) != 1 {
		t.Errorf("l2d's again: %+v", s)
	}
}

// TestExpected: what a daemon has to find is waited for before it starts, is started again, and reads its files.
func TestExpected(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	var before []string
	h.d.expect = func(u *Unit) { before = append(before, h.d.loaded(u)) }
	h.must()
	h.declare("a", "two good")
	h.must()
	h.restarted("a")
	if want := []string{"", "one good\n", "two good\n"}; !slices.Equal(before, want) {
		t.Errorf("it waits when it has %q, want %q", before, want)
	}
}

// TestChecked: what a checker has accepted it is not asked again, but by another version of the program.
func TestChecked(t *testing.T) {
	h := newHost(t)
	program := filepath.Join(h.dir, "program")
	install := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(program+".new", []byte(text), 0o755), os.Rename(program+".new", program)); err != nil {
			t.Fatal(err)
		}
	}
	h.declare("a", "one good")
	h.d.units[0].Argv[0] = program
	install("version 1")
	for range 2 {
		if _, err := h.plan(); err != nil || h.d.checks != 1 {
			t.Fatalf("%v, %d checks", err, h.d.checks)
		}
	}
	install("version 2")
	h.d.version = errors.New("a word of version 1")
	if _, err := h.plan(); err == nil || !strings.Contains(err.Error(), "a word of version 1") || h.d.checks != 2 {
		t.Errorf("%v, %d checks", err, h.d.checks)
	}
}

// TestUndone: a service that is not well with its new file has the one before, and is well; so are the
// others. What is wrong is said.
func TestUndone(t *testing.T) {
	for text, want := range map[string]string{
		"two crash":     "it ended: exit status 3",
		"two ill":       "is ill",
		"two deaf good": "reload took more than 1s",
		"two nonsense":  "line 1: two nonsense",
	} {
		t.Run(text, func(t *testing.T) {
			h := newHost(t)
			h.declare("a", "one good", "b", "one good")
			h.must()
			before, other := h.status("a"), h.status("b")
			h.declare("a", text, "b", "one good")
			if !strings.Contains(text, "nonsense") {
				h.m.reloadTime, h.d.units[0].Patience = time.Second, time.Second
			}
			err := h.apply()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if p := h.e.Pending(); p != nil {
				t.Errorf("not undone: %+v", p)
			}
			if b, err := os.ReadFile(h.file("a")); string(b) != "one good\n" {
				t.Errorf("its file: %q, %v", b, err)
			}
			eventually(t, "it is not as it was", func() bool { s := h.status("a"); return s.Error == "" && s.Detail == "one" })
			if s := h.status("a"); text == "two nonsense" && s.PID != before.PID {
				t.Errorf("it was started again: %+v", s)
			}
			if s := h.status("b"); s.Error != "" || s.PID != other.PID || s.Restarts != 0 {
				t.Errorf("the other one: %+v, and before %+v", s, other)
			}
		})
	}
}

// TestFirst: a service that cannot start the first time leaves nothing behind.
func TestFirst(t *testing.T) {
	h := newHost(t)
	h.declare("b", "one good")
	h.must()
	h.declare("a", "two crash", "b", "one good")
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "ends again and again: exit status 3") {
		t.Error(err)
	}
	if list := h.m.Statuses(t.Context()); len(list) != 1 || list[0].Name != "b" || list[0].Error != "" {
		t.Errorf("%+v", list)
	}
	if _, err := os.Stat(h.file("a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file: %v", err)
	}
	h.d.units[0].Argv = []string{"no-such-daemon"}
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "no-such-daemon is not installed") {
		t.Error(err)
	}
	h.declare("a", "two good")
	h.d.units[0].User = "nobody-of-this-name"
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "nobody-of-this-name") {
		t.Error(err)
	}
}

// TestLastWords: why a service ends is what the processes that ended have said, not the one that runs at the moment.
func TestLastWords(t *testing.T) {
	h := newHost(t)
	h.m.runners[config.ModeChild].(*children).backoffLeast = leastBackoff
	h.declare("a", "ill")
	h.d.units[0].Argv = []string{"/bin/sh", "-c", `echo >> "$0.runs"
		if [ "$(wc -l < "$0.runs")" -le 3 ]; then echo the reason; exit 4; fi
		echo starting; exec sleep 1000`, h.file("a")}
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "ends again and again: exit status 4: the reason") {
		t.Error(err)
	}
}

// TestDiskFull: what does not fit is not installed, and what runs goes on.
func TestDiskFull(t *testing.T) {
	h := newHost(t)
	if err := os.MkdirAll(h.dirs.Run, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", h.dirs.Run, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.d.units = nil
		h.must()
		if err := unix.Unmount(h.dirs.Run, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h.declare("a", "one good")
	h.must()
	before := h.status("a")
	h.declare("a", "two good "+strings.Repeat("x", 1<<20))
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Error(err)
	}
	if s := h.status("a"); s.Error != "" || s.PID != before.PID || s.Detail != "one" {
		t.Errorf("%+v, and before %+v", s, before)
	}
}

// TestAdopted: a new daemon goes on with what runs, and starts again what has ended since.
func TestAdopted(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good", "b", "one good")
	h.must()
	a, b := h.status("a"), h.status("b")
	h.begin()
	if s := h.status("a"); s.PID != a.PID || s.Error != "" || !s.Started.Truncate(time.Second).Equal(a.Started.Truncate(time.Second)) && a.Started.Sub(s.Started).Abs() > time.Second {
		t.Errorf("%+v, and before %+v", s, a)
	}
	h.declare("a", "two good", "b", "one good")
	h.must()
	if s := h.status("a"); s.PID != a.PID || s.Detail != "two" {
		t.Errorf("after a reload: %+v", s)
	}
	if err := unix.Kill(b.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not started again", func() bool { s := h.status("b"); return s.Error == "" && s.PID != b.PID })
}

// TestAdoptedUnread: a new daemon knows a process of which the one before has not noted any more what it has read.
func TestAdoptedUnread(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	a := h.status("a")
	if err := h.m.note("a", &record{Installed: h.m.record("a").Installed, Changing: true}); err != nil {
		t.Fatal(err)
	}
	h.begin()
	h.d.units = nil
	h.must()
	eventually(t, "it runs on", func() bool { return unix.Kill(a.PID, 0) != nil })
}

// TestGate: a process that l2d has not noted before its own end does not become the service.
func TestGate(t *testing.T) {
	for _, noted := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "begun")
		cmd := exec.Command("/usr/bin/touch", path)
		begin, err := gate(cmd)
		if err != nil {
			t.Fatal(err)
		}
		err = cmd.Start()
		cmd.ExtraFiles[0].Close()
		if err != nil {
			t.Fatal(err)
		}
		if noted {
			_, err = begin.Write([]byte("\n"))
		}
		if err := errors.Join(err, begin.Close()); err != nil {
			t.Fatal(err)
		}
		ended := cmd.Wait()
		if _, err := os.Stat(path); (err == nil) != noted || (ended == nil) != noted {
			t.Errorf("noted: %t: %v, %v", noted, err, ended)
		}
	}
}

// TestCutOff: what was undone up to the files, and not told to the process, is not undone yet.
func TestCutOff(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	one := h.m.installed("a", h.m.record("a"))
	h.declare("a", "two good")
	p, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	pending, err := h.e.Apply(t.Context(), p, reconcile.Options{Confirm: time.Hour})
	if err != nil || h.status("a").Detail != "two" {
		t.Fatalf("%v, %+v", err, h.status("a"))
	}
	// As far as a daemon comes that is killed.
	two := h.m.record("a").Loaded
	err = h.m.note("a", &record{Installed: identity(h.m.store.key, attributes(h.m.store.key, one)), Loaded: two, Changing: true})
	if _, e := installFiles(one); err != nil || e != nil {
		t.Fatal(err, e)
	}
	h.begin()
	if err := errors.Join(h.e.Recover(t.Context()), h.e.Rollback(t.Context(), pending.ID)); err != nil {
		t.Fatal(err)
	}
	if s := h.status("a"); s.Error != "" || s.Detail != "one" {
		t.Errorf("%+v", s)
	}
	if r := h.m.record("a"); r.Changing || r.Loaded != r.Installed {
		t.Errorf("%+v", r)
	}
}

// TestCrash: a daemon that ends while it changes a service leaves the next one what it takes to
// undo that.
func TestCrash(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good", "b", "one good")
	h.must()
	h.e = reconcile.New(filepath.Join(h.dir, "engine"), slog.New(slog.DiscardHandler), dying{h.m}, h.m.Slices)
	h.declare("a", "two good", "c", "two good")
	func() {
		defer func() { _ = recover() }()
		_ = h.apply()
	}()
	h.begin()
	if err := h.e.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := h.status("a"); a.Error != "" || a.Detail != "one" {
		t.Errorf("%+v", a)
	}
	if b := h.status("b"); b.Error != "" || b.Detail != "one" {
		t.Errorf("%+v", b)
	}
	if list := h.m.Statuses(t.Context()); len(list) != 2 {
		t.Errorf("%+v", list)
	}
}

// dying ends the process after a change.
type dying struct{ *Manager }

func (k dying) Set(ctx context.Context, name string, to reconcile.State) error {
	if err := k.Manager.Set(ctx, name, to); err != nil {
		return err
	}
	if name == "a" {
		panic("died")
	}
	return nil
}

const secret = "correct horse battery staple"

// TestSecrets: nobody sees a secret, and what somebody has written in its place.
func TestSecrets(t *testing.T) {
	h := newHost(t)
	declare := func(text, secret string) {
		h.declare("a", text+"\npassword="+secret)
		h.d.units[0].Files[0].Secrets = []string{secret}
	}
	texts := func() string {
		p, err := h.plan()
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	declare("one good", secret)
	first := texts()
	h.must()
	if !strings.Contains(first, "+ password=<secret ") {
		t.Errorf("the plan does not show the line: %s", first)
	}
	declare("one good", secret+"!")
	changed := texts()
	if !strings.Contains(changed, "- password=<secret ") || !strings.Contains(changed, "+ password=<secret ") {
		t.Errorf("the plan does not show that it changes: %s", changed)
	}
	declare("one nonsense", secret)
	refused := texts()
	if !strings.Contains(refused, "line 1: one nonsense") {
		t.Error(refused)
	}
	declare("one good", secret)
	if err := os.WriteFile(h.file("a"), []byte("one good\npassword=another secret\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.file("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	drift := texts()
	if !strings.Contains(drift, "- <another line ") || !strings.Contains(drift, "0644 root:root -> 0600 root:root") {
		t.Errorf("drift: %s", drift)
	}
	p, err := h.plan()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.e.Apply(t.Context(), p, reconcile.Options{Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	pending, err := os.ReadFile(filepath.Join(h.dir, "engine", "pending.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.e.Rollback(t.Context(), h.e.Pending().ID); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(h.file("a")); string(b) != "one good\npassword=another secret\n" {
		t.Errorf("what was there is not back: %q, %v", b, err)
	}
	for what, text := range map[string]string{"first": first, "changed": changed, "refused": refused, "drift": drift, "pending": string(pending), "log": h.log.String()} {
		if strings.Contains(text, secret) || strings.Contains(text, "another secret") {
			t.Errorf("%s has a secret: %s", what, text)
		}
	}
	err = filepath.WalkDir(filepath.Join(h.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLimits: limits change without another process.
func TestLimits(t *testing.T) {
	h := newHost(t)
	h.declare("a", "one good")
	h.must()
	before := h.status("a")
	five := 5
	h.declare("a", "one good")
	h.d.units[0].Service.Nice = &five
	h.d.units[0].Service.CPUs = []int{0}
	h.must()
	after := h.status("a")
	if after.PID != before.PID && before.Error == "" {
		t.Logf("a niceness where there was none takes another process")
	}
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, after.PID); err != nil || 20-n != five {
		t.Errorf("nice %d, %v", 20-n, err)
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(after.PID, &set); err != nil || set.Count() != 1 || !set.IsSet(0) {
		t.Errorf("CPUs %v, %v", set, err)
	}
	ten := 10
	h.d.units[0].Service.Nice = &ten
	h.must()
	if s := h.status("a"); s.PID != after.PID {
		t.Errorf("another niceness takes another process: %+v", s)
	}
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, after.PID); err != nil || 20-n != ten {
		t.Errorf("nice %d, %v", 20-n, err)
	}
	h.d.units[0].Service.MemoryMax = 64 << 20
	if err := h.apply(); h.m.Slices.groups.root == "" && (err == nil || !strings.Contains(err.Error(), "its limits cannot be kept")) {
		t.Errorf("a limit that cannot be: %v", err)
	} else if h.m.Slices.groups.root != "" && err != nil {
		t.Error(err)
	}
}

// TestIOClass: a service has the class of disk accesses that its unit says.
func TestIOClass(t *testing.T) {
	h := newHost(t)
	for class, want := range map[string]uintptr{"realtime": 1, "best-effort": 2, "idle": 3} {
		h.declare("a", "one good")
		h.d.units[0].Sandbox.IOClass = class
		h.must()
		prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, uintptr(h.status("a").PID), 0)
		if prio>>ioprioClassShift != want || errno != 0 {
			t.Errorf("%s: class %d, %v", class, prio>>ioprioClassShift, errno)
		}
	}
}
