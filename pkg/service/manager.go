// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/internal/durable"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// KindName is the name of [Manager] as a kind.
const KindName = "service"

// cgroupMount is where control groups are.
const cgroupMount = "/sys/fs/cgroup"

// rank is behind the dataplane's: a service answers when its firewall is in force.
const rank = 110

// Manager is the kind of services, and runs them.
type Manager struct {
	// Slices is the kind of what services are in.
	Slices *Slices
	// Dropped, if it is set, is what drops a packet in the words of l2ctl explain; empty: nothing does.
	Dropped func(ctx context.Context, packet string) (string, error)

	dirs    Dirs
	store   *store
	log     *slog.Logger
	daemons map[string]Daemon
	order   []string
	runners map[string]runner
	// auto is the mode of services that have none.
	auto string
	// reloadTime bounds a reload.
	reloadTime time.Duration

	mu sync.Mutex
	// known are units by their identity; those of the last declarations.
	known map[string]*Unit
	// good are the identities that a daemon's checker has accepted, with the program that it was then:
	// another version has to look, too.
	good map[string]os.FileInfo
	// watched are services that somebody else runs.
	watched []*Unit
}

// New returns a manager of some daemons, with the directory for the files of services and the
// one of what has to outlive a reboot. It adopts what an earlier one has left running.
func New(daemons []Daemon, dirs Dirs, stateDir string, log *slog.Logger) *Manager {
	m := newManager(daemons, dirs, openStore(filepath.Join(stateDir, "services")), log)
	children := m.runners[config.ModeChild].(*children)
	for _, name := range m.recorded() {
		r := m.record(name)
		u := m.store.get(name, r.Loaded)
		if u == nil { // it is open what the process has read, or even that there is one
			u = m.installed(name, r)
		}
		if u != nil && u.Mode == config.ModeChild {
			if children.adopt(u) {
				log.Info("service goes on", "service", name)
			}
		}
	}
	return m
}

// newManager returns one that has adopted nothing.
func newManager(daemons []Daemon, dirs Dirs, s *store, log *slog.Logger) *Manager {
	groups := &cgroups{why: "systemd has the control groups"}
	if !systemdRuns() {
		groups = openCgroups(cgroupMount)
	}
	m := &Manager{
		dirs: dirs, store: s, log: log, auto: config.ModeChild, daemons: map[string]Daemon{}, known: map[string]*Unit{}, good: map[string]os.FileInfo{},
		runners: map[string]runner{}, reloadTime: 15 * time.Second,
	}
	m.runners[config.ModeChild] = newChildren(dirs, groups, log)
	m.Slices = &Slices{groups: groups}
	if systemdRuns() {
		m.auto = config.ModeSystemd
		m.Slices.units = &units{}
		m.runners[config.ModeSystemd] = m.Slices.units
	}
	for _, d := range daemons {
		m.daemons[d.Name()] = d
		m.order = append(m.order, d.Name())
	}
	return m
}

// Close leaves the services to the next daemon: they go on.
func (m *Manager) Close() {
	m.runners[config.ModeChild].(*children).close()
}

// inOrder are the daemons as they were given.
func (m *Manager) inOrder() (out []Daemon) {
	for _, name := range m.order {
		out = append(out, m.daemons[name])
	}
	return out
}

// Units are the services that a configuration declares of some daemons, rendered; nothing is
// written. All that is wrong with them is in one error.
func Units(c *config.Config, daemons []Daemon, dirs Dirs) (out []*Unit, err error) {
	if !c.Sound("services", "network", "host.links") {
		return nil, nil // what a daemon would be told is not known
	}
	var errs []error
	seen := map[string]bool{}
	for _, d := range daemons {
		units, err := d.Units(c, dirs)
		errs = append(errs, err)
		for _, u := range units {
			if seen[u.Name] {
				at := u.Service.At(c.Path)
				at.Problem, at.Want = "another service has the name "+u.Name, "each name once"
				errs = append(errs, at)
				continue
			}
			seen[u.Name] = true
			out = append(out, u)
		}
	}
	return out, errors.Join(errs...)
}

// Declare renders what a configuration declares, and returns the resources: those, and the
// services that run and are not declared any more, which end.
func (m *Manager) Declare(c *config.Config) ([]reconcile.Resource, error) {
	list := m.Slices.Resources(c)
	units, err := Units(c, m.inOrder(), m.dirs)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, u := range units {
		if u.Mode == config.ModeWatch {
			continue // and what ran it before ends
		}
		seen[u.Name] = true
		if err := m.store.ensure(); err != nil {
			return nil, err
		}
		list = append(list, m.resource(u, u.Service.At(c.Path)))
	}
	for _, name := range m.recorded() {
		if !seen[name] {
			list = append(list, reconcile.Resource{Kind: KindName, Name: name, Want: reconcile.State{stateKey: absent}, Rank: rank - 1})
		}
	}
	return list, nil
}

// Watch has those services of a configuration looked at that somebody else runs. It is the one that is in force: what
// is [Manager.Declare]d may never be.
func (m *Manager) Watch(c *config.Config) error {
	units, err := Units(c, m.inOrder(), m.dirs)
	if err != nil {
		return err
	}
	watched := slices.DeleteFunc(units, func(u *Unit) bool { return u.Mode != config.ModeWatch })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = watched
	return nil
}

// settle chooses the mode of a unit that has none, and adds the file that this takes.
func (m *Manager) settle(u *Unit) {
	if u.Mode == config.ModeAuto {
		u.Mode = m.auto
	}
	if u.Mode == config.ModeSystemd {
		u.Files = append(u.Files, unitFile(u))
	}
}

// resource is a unit as the engine wants it.
func (m *Manager) resource(u *Unit, at config.Error) reconcile.Resource {
	m.settle(u)
	want := attributes(m.store.key, u)
	m.mu.Lock()
	m.known[identity(m.store.key, want)] = u
	m.mu.Unlock()
	want[stateKey] = up
	return reconcile.Resource{
		Kind: KindName, Name: u.Name, Want: want, Rank: rank, Enforce: u.Enforce,
		At: reconcile.PlaceOf(at),
	}
}

// unit finds what attributes stand for; nil if that is not known.
func (m *Manager) unit(name string, s reconcile.State) *Unit {
	id := identity(m.store.key, s)
	m.mu.Lock()
	u := m.known[id]
	m.mu.Unlock()
	if u == nil || u.Name != name {
		u = m.store.get(name, id)
	}
	return u
}

// Name implements [reconcile.Kind].
func (*Manager) Name() string { return KindName }

// Whole implements [reconcile.Whole]: only together attributes stand for a unit.
func (*Manager) Whole() {}

// checkTime bounds a daemon's own check.
const checkTime = 30 * time.Second

// Check implements [reconcile.Kind].
func (m *Manager) Check(ctx context.Context, r *reconcile.Resource) []reconcile.Problem {
	if r.Want[stateKey] == absent {
		return nil
	}
	problem := func(what, want string) []reconcile.Problem {
		return []reconcile.Problem{{Resource: r, Problem: what, Want: want}}
	}
	u := m.unit(r.Name, r.Want)
	if u == nil {
		return problem("is not known", "a plan that was made since the daemon started")
	}
	id := identity(m.store.key, r.Want)
	program, err := os.Stat(u.Argv[0])
	m.mu.Lock()
	good := m.good[id]
	m.mu.Unlock()
	same := err == nil && sameFile(good, program)
	if what, want := m.fault(ctx, u, same); what != "" {
		return problem(what, want)
	}
	m.mu.Lock()
	m.good[id] = program
	m.mu.Unlock()
	return nil
}

// fault is why a unit cannot run here, and what could; empty if it can. What the daemon accepts is known already, or it is
// asked.
func (m *Manager) fault(ctx context.Context, u *Unit, accepted bool) (what, want string) {
	if _, ok := m.runners[u.Mode]; !ok {
		return "cannot run in mode " + u.Mode + " here", "mode: " + m.auto
	}
	if !executable(u.Argv[0]) {
		return u.Argv[0] + " is not installed", "its package, or " + u.Service.Key() + ".binary"
	}
	if why := m.Slices.groups.refuses(&u.Service.Limits); u.Mode == config.ModeChild && why != "" {
		return why, "no cpu_weight, memory_high and memory_max, or mode: systemd"
	}
	for _, who := range append([]Dir{{Owner: u.User, Group: u.Group}}, u.Dirs...) {
		if _, _, err := ids(who.Owner, who.Group); err != nil {
			return err.Error(), "one that is there"
		}
	}
	if accepted {
		return "", ""
	}
	if err := m.check(ctx, u); err != nil {
		return err.Error(), "what " + u.Daemon + " accepts"
	}
	return "", ""
}

// Faults is all that is wrong with the services that a configuration declares, also what their own programs say of their
// files, as a plan would have it; none of them is touched.
func Faults(ctx context.Context, c *config.Config, daemons []Daemon, dirs Dirs) error {
	units, err := Units(c, daemons, dirs)
	errs := []error{err}
	key := make([]byte, keySize) // for digests of what is secret
	_, _ = rand.Read(key)        // never fails
	m := newManager(daemons, dirs, &store{key: key}, slog.New(slog.DiscardHandler))
	for _, u := range units {
		if u.Mode == config.ModeWatch {
			continue
		}
		m.settle(u)
		if what, want := m.fault(ctx, u, false); what != "" {
			at := reconcile.PlaceOf(u.Service.At(c.Path))
			errs = append(errs, reconcile.Problem{Resource: &reconcile.Resource{Kind: KindName, Name: u.Name, At: at}, Problem: what, Want: want})
		}
	}
	return errors.Join(errs...)
}

// check has the daemon check staged files.
func (m *Manager) check(ctx context.Context, u *Unit) error {
	if err := os.MkdirAll(m.dirs.Run, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.dirs.Run, ".check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := stage(dir, u); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	err = m.daemons[u.Daemon].Check(ctx, u, dir)
	if err == nil {
		return nil
	}
	return errors.New(m.masked(u, err.Error())) // checkers quote what they do not like
}

// masked is what a daemon has said, without its secrets.
func (m *Manager) masked(u *Unit, text string) string {
	var secrets []string
	for i := range u.Files {
		secrets = append(secrets, u.Files[i].Secrets...)
	}
	return mask(m.store.key, text, secrets, nil)
}

// Observe implements [reconcile.Kind].
func (m *Manager) Observe(ctx context.Context, name string, keys []string) (reconcile.State, error) {
	s := reconcile.State{}
	r := m.record(name)
	installed := m.installed(name, r)
	for _, key := range keys {
		switch kind, path := splitKey(key); kind {
		case stateKey:
			s[key] = m.state(ctx, name, r)
		case processKey:
			if installed != nil && installed.Argv != nil {
				s[key] = process(installed)
			}
		case fileKey:
			b, err := os.ReadFile(path)
			switch {
			case err == nil:
				f := File{Content: b}
				f.conceal(m.files(name, path))
				s[key] = mask(m.store.key, string(b), f.Secrets, f.Hidden)
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		case ownerKey:
			is, err := ownershipOf(path)
			switch {
			case err == nil:
				s[key] = is
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
	}
	return s, nil
}

// splitKey is the sort of an attribute, and the path of the file that it is of.
func splitKey(key string) (kind, path string) {
	for _, k := range []string{fileKey, ownerKey} {
		if len(key) > len(k) && key[:len(k)] == k {
			return k, key[len(k):]
		}
	}
	return key, ""
}

// files are all versions of a file that are known of a service.
func (m *Manager) files(name, path string) (out []*File) {
	if r := m.record(name); r != nil {
		for _, id := range []string{r.Installed, r.Loaded} {
			if f := m.store.get(name, id).File(path); f != nil {
				out = append(out, f)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.known {
		if f := u.File(path); u.Name == name && f != nil {
			out = append(out, f)
		}
	}
	return out
}

// installed is the unit whose files are there; nil if none is.
func (m *Manager) installed(name string, r *record) *Unit {
	if r == nil {
		return nil
	}
	return m.store.get(name, r.Installed)
}

// state tells whether a service is up, with what is installed.
func (m *Manager) state(ctx context.Context, name string, r *record) string {
	if r == nil {
		return absent
	}
	if s := m.look(ctx, m.installed(name, r)); r.Changing || s.Error != "" {
		return down
	}
	return up
}

// Same implements [reconcile.Kind]. What was down may be up by now.
func (*Manager) Same(key, want, have string) bool {
	return want == have || key == stateKey && want == down && have == up
}

// Effect implements [reconcile.Kind].
func (m *Manager) Effect(name string, to reconcile.State) reconcile.Effect {
	r := m.record(name)
	if to[stateKey] == absent {
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: "it ends"}
	}
	u := m.unit(name, to)
	if r == nil || u == nil {
		return reconcile.Effect{Impact: reconcile.InPlace, Why: "it is started"}
	}
	e := m.effect(m.store.get(name, r.Loaded), u)
	out := reconcile.Effect{Impact: reconcile.InPlace, Why: e.Why}
	if e.Disruptive {
		out.Impact = reconcile.Disruptive
	}
	return out
}

// effect is the way from a unit that runs to another one.
func (m *Manager) effect(old, u *Unit) Effect {
	switch {
	case old == nil || old.Argv == nil:
		return Effect{Action: Restart, Why: "it is started"}
	case !sameProcess(old, u):
		e := m.daemons[u.Daemon].Effect(old, u)
		if e.Action == Restart {
			return e
		}
		return Effect{Action: Restart, Disruptive: true, Why: "it is started again"}
	case !differs(old, u):
		return Effect{}
	}
	return m.daemons[u.Daemon].Effect(old, u)
}

// sameProcess tells whether a process of one unit can become one of another: limits can be
// given to one that runs.
func sameProcess(old, u *Unit) bool {
	a, b := *old, *u
	a.Service.Limits, b.Service.Limits = config.Limits{}, config.Limits{}
	a.Service.Restart, b.Service.Restart = "", ""
	if a.Service.Nice != nil && b.Service.Nice != nil && a.Mode == config.ModeChild {
		a.Service.Nice, b.Service.Nice = nil, nil
	}
	return process(&a) == process(&b) && string(unitFile(&a).Content) == string(unitFile(&b).Content)
}

// differs tells whether the daemon's own files are others.
func differs(old, u *Unit) bool {
	own := func(u *Unit) string {
		var b strings.Builder
		for i := range u.Files {
			if f := &u.Files[i]; f.Path != unitPath(u.Name) {
				fmt.Fprintf(&b, "%q %q %s\n", f.Path, f.Content, ownership(f.Mode, f.Owner, f.Group))
			}
		}
		return b.String()
	}
	return own(old) != own(u)
}

// Before implements [reconcile.Kind]: what is there is kept as a unit.
func (m *Manager) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	r := m.record(name)
	found := &Unit{Name: name}
	if installed := m.installed(name, r); installed != nil {
		*found = *installed
	}
	var files []File
	for _, path := range m.paths(found, to) {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := foundFile(path, b, m.files(name, path))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	found.Files = files
	s := attributes(m.store.key, found)
	id := identity(m.store.key, s)
	if r == nil && len(files) == 0 {
		return reconcile.State{stateKey: absent}, nil
	}
	if err := m.store.put(name, id, found); err != nil {
		return nil, err
	}
	s[stateKey] = m.state(ctx, name, r)
	return s, nil
}

// paths are those of the files of a unit and of those that attributes are about.
func (m *Manager) paths(u *Unit, to reconcile.State) (out []string) {
	for i := range u.Files {
		out = append(out, u.Files[i].Path)
	}
	for _, key := range to.Keys() {
		if kind, path := splitKey(key); kind == fileKey && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// foundFile is a file that is there, of which some versions are known.
func foundFile(path string, b []byte, known []*File) (File, error) {
	f := File{Path: path, Content: b}
	owner, group, mode, err := whose(path)
	if err != nil {
		return f, err
	}
	f.Owner, f.Group, f.Mode = owner, group, mode
	f.conceal(known)
	return f, nil
}

// Set implements [reconcile.Kind].
func (m *Manager) Set(ctx context.Context, name string, to reconcile.State) error {
	var u *Unit
	if len(to) > 1 {
		if u = m.unit(name, to); u == nil {
			return errors.New("what it was is not kept")
		}
	}
	if to[stateKey] == absent {
		return m.remove(ctx, name, u)
	}
	if u == nil {
		return errors.New("a state without a unit")
	}
	return m.run(ctx, u, to[stateKey] == up)
}

// remove ends a service, and has the files of a unit in the place of its own.
func (m *Manager) remove(ctx context.Context, name string, u *Unit) error {
	if r := m.record(name); r != nil {
		for _, runner := range m.runners {
			if err := runner.Stop(ctx, name); err != nil {
				return err
			}
		}
		if err := removeFiles(m.installed(name, r), u); err != nil {
			return err
		}
		if err := m.forget(name); err != nil {
			return err
		}
	}
	if u == nil {
		return nil
	}
	_, err := installFiles(u)
	return err
}

// Resume starts what is noted to run and does not: after a reboot, when nothing else may be
// changed. Errors are logged.
func (m *Manager) Resume(ctx context.Context) {
	for _, name := range m.recorded() {
		u := m.installed(name, m.record(name))
		if u == nil || m.runners[u.Mode] == nil {
			continue
		}
		if p, err := m.runners[u.Mode].Process(ctx, name); err == nil && p.Running {
			continue
		}
		if err := m.run(ctx, u, false); err != nil {
			m.log.Error("service not started", "service", name, "err", err)
		}
	}
}

// run has a unit run, by the least that it takes.
func (m *Manager) run(ctx context.Context, u *Unit, wait bool) error {
	id := identity(m.store.key, attributes(m.store.key, u))
	if err := m.store.put(u.Name, id, u); err != nil {
		return err
	}
	r := m.record(u.Name)
	if r == nil {
		r = &record{}
	}
	before, loaded := m.installed(u.Name, r), m.store.get(u.Name, r.Loaded)
	// From here on, files are known to be of this unit: so undoing removes them. Which of the two the process has is open.
	r.Installed, r.Changing = id, true
	if err := m.note(u.Name, r); err != nil {
		return err
	}
	if err := makeDirs(u); err != nil {
		return err
	}
	changed, err := installFiles(u)
	if err != nil {
		return err
	}
	if err := removeFiles(before, u); err != nil {
		return err
	}
	if err := m.proceed(ctx, u, loaded, r, changed); err != nil {
		return err
	}
	r.Loaded, r.Changing = id, false
	if err := m.note(u.Name, r); err != nil {
		return err
	}
	if !wait {
		return nil
	}
	judge := m.look
	if before == nil { // else the ruleset was like that before, or another change has made it so
		judge = m.status
	}
	if err := m.await(ctx, u, judge); err != nil {
		// Who is told to read other files may not: what it was is started anew.
		r.Loaded = ""
		return errors.Join(err, m.note(u.Name, r))
	}
	return nil
}

// proceed has the process of a unit take its files.
func (m *Manager) proceed(ctx context.Context, u, loaded *Unit, r *record, changed bool) error {
	run := m.runners[u.Mode]
	if run == nil {
		return fmt.Errorf("no mode %s here", u.Mode)
	}
	if loaded != nil && loaded.Mode != u.Mode && m.runners[loaded.Mode] != nil {
		if err := m.runners[loaded.Mode].Stop(ctx, u.Name); err != nil {
			return err
		}
	}
	p, err := run.Process(ctx, u.Name)
	if err != nil {
		return err
	}
	e := m.effect(loaded, u)
	if e.Action == Nothing && changed {
		e = Effect{Action: Reload}
	}
	if !p.Running || e.Action == Restart {
		m.expect(ctx, u)
		return run.Start(ctx, u)
	}
	if err := run.Refresh(ctx, u); err != nil {
		return err
	}
	if e.Action == Nothing {
		return nil
	}
	m.expect(ctx, u)
	limited, cancel := context.WithTimeout(ctx, m.reloadTime)
	defer cancel()
	err = m.daemons[u.Daemon].Reload(limited, u, func(sig string) error { return run.Signal(limited, u.Name, sig) })
	if now, _ := run.Process(ctx, u.Name); err != nil && now.PID != p.PID { // else it is the one of before
		err = fmt.Errorf("%w: it ended: %s", err, now.Exit)
	}
	switch {
	case err == nil:
		return nil
	case limited.Err() != nil:
		err = fmt.Errorf("reload took more than %v: %w", m.reloadTime, err)
	case !errors.Is(err, os.ErrDeadlineExceeded): // its client has waited less
		return err
	}
	// Nobody knows what it has read: the next change starts it anew.
	r.Loaded = ""
	return errors.Join(err, m.note(u.Name, r))
}

// expectTime bounds the wait for what a daemon has to find: the kernel looks for others with an address of an interface that has
// come up for one to two seconds.
const expectTime = 5 * time.Second

// expect waits for what the daemon of a unit has to find.
func (m *Manager) expect(ctx context.Context, u *Unit) {
	if d, ok := m.daemons[u.Daemon].(Expectant); ok {
		limited, cancel := context.WithTimeout(ctx, expectTime)
		defer cancel()
		d.Expect(limited, u)
	}
}

// defaultPatience is how long a service may take until it is well.
const defaultPatience = 10 * time.Second

// hopeless is how often a process may end before it is given up.
const hopeless = 3

// await waits until a service is well, as judge says, and a moment longer: some end soon after.
func (m *Manager) await(ctx context.Context, u *Unit, judge func(context.Context, *Unit) Status) error {
	patience := u.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	const moment = 300 * time.Millisecond
	pid, restarts, ended := 0, m.look(ctx, u).Restarts, ""
	for end := time.Now().Add(patience); ; {
		s := judge(ctx, u)
		// Of a process that has been started anew systemd does not know the end any more, and the last words are not those of the
		// one that has ended.
		if s.Exit != "" && (!s.Running || ended == "") {
			ended = m.ending(ctx, u, s.Process)
		}
		switch {
		case s.Error == "" && s.PID == pid:
			return nil
		case s.Error != "" && s.Restarts-restarts >= hopeless:
			return fmt.Errorf("it ends again and again: %s", cmp.Or(ended, "exit status not seen"))
		case s.Error != "" && time.Now().After(end):
			return errors.New(s.Error)
		case s.Error == "":
			pid = s.PID
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(moment):
		}
	}
}

// record is what is noted of a service that runs.
type record struct {
	// Installed is the unit whose files are there, Loaded the one that the process has.
	Installed string `json:"installed"`
	Loaded    string `json:"loaded"`
	// Changing says that a change from one to the other has begun. What was cut off stays so.
	Changing bool `json:"changing,omitempty"`
}

const recordFile = "unit.json"

func (m *Manager) recordPath(name string) string { return filepath.Join(m.store.dir, name, recordFile) }

// record returns what is noted; nil if nothing is.
func (m *Manager) record(name string) *record {
	b, err := os.ReadFile(m.recordPath(name))
	if err != nil {
		return nil
	}
	var r record
	if json.Unmarshal(b, &r) != nil {
		return nil
	}
	return &r
}

func (m *Manager) note(name string, r *record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(m.recordPath(name), b)
}

func (m *Manager) forget(name string) error {
	return durable.Remove(m.recordPath(name))
}

// recorded are the names of the services that are noted, in order.
func (m *Manager) recorded() (names []string) {
	entries, _ := os.ReadDir(m.store.dir) // none
	for _, e := range entries {
		if e.IsDir() && m.record(e.Name()) != nil {
			names = append(names, e.Name())
		}
	}
	return names
}
