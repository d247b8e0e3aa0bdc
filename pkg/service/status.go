// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// Status is a service at a glance.
type Status struct {
	Name string `json:"name"`
	Mode string `json:"mode"`
	Process
	Health
	// Error is why it is not well; empty when it is.
	Error string `json:"error,omitempty"`
}

// healthTime bounds a look at a service. One that has just advertised a router answers a
// solicitation after up to 3.5 seconds: MIN_DELAY_BETWEEN_RAS and MAX_RA_DELAY_TIME of RFC 4861.
const healthTime = 5 * time.Second

// look asks a service how it is; nil is none.
func (m *Manager) look(ctx context.Context, u *Unit) Status {
	if u == nil {
		return Status{Error: "what it is is not kept"}
	}
	s := Status{Name: u.Name, Mode: u.Mode}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	if r := m.runners[u.Mode]; r != nil {
		var err error
		if s.Process, err = r.Process(ctx, u.Name); err != nil {
			s.Error = err.Error()
			return s
		}
		if !s.Running {
			s.Error = "does not run"
			if end := m.ending(ctx, u, s.Process); end != "" {
				s.Error += ": " + end
			}
			return s
		}
	}
	d := m.daemons[u.Daemon]
	if d == nil {
		s.Error = fmt.Sprintf("no daemon %s", u.Daemon)
		return s
	}
	var err error
	if s.Health, err = d.Health(ctx, u, s.Process); err != nil {
		s.Error = err.Error()
	}
	return s
}

// status is a look, and what the ruleset keeps from a service that runs. To start that again is no help: it is no part of
// the state of a resource.
func (m *Manager) status(ctx context.Context, u *Unit) Status {
	s := m.look(ctx, u)
	if s.Running || s.Error == "" {
		s.Error = strings.Join(append(nonEmpty(s.Error), m.dropped(ctx, u)...), "; ")
	}
	return s
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// dropped tells which packets that a service cannot do without the ruleset drops, and where.
func (m *Manager) dropped(ctx context.Context, u *Unit) (problems []string) {
	if u == nil || m.Dropped == nil {
		return nil
	}
	f, ok := m.daemons[u.Daemon].(Firewalled)
	if !ok {
		return nil
	}
	packets, err := f.Packets(u)
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range packets {
		why, err := m.Dropped(ctx, p.Text)
		if err != nil {
			m.log.Warn("not known whether the ruleset drops what a service needs", "service", u.Name, "packet", p.Text, "err", err)
		} else if why != "" {
			problems = append(problems, fmt.Sprintf("its %s are dropped: %s", p.Name, why))
		}
	}
	return problems
}

// lastWords is how many lines of its log are looked at for why a process has ended.
const lastWords = 20

// mostWords is how many bytes of them are shown: some quote a file that is broken.
const mostWords = 600

// ending is how a process has ended, and its last words, which say more than its exit code; empty if none has.
func (m *Manager) ending(ctx context.Context, u *Unit, p Process) string {
	if p.Exit == "" {
		return ""
	}
	lines, err := m.runners[u.Mode].Logs(ctx, u.Name, lastWords)
	if err != nil || len(lines) == 0 {
		return p.Exit
	}
	words := lines[len(lines)-1]
	if d, ok := m.daemons[u.Daemon].(Explainer); ok {
		words = d.Why(u, lines)
	}
	if words == "" {
		return p.Exit
	}
	if len(words) > mostWords {
		words = words[:mostWords] + "..."
	}
	return p.Exit + ": " + printable(m.masked(u, words))
}

// Statuses are those of all services that run or are watched, by name.
func (m *Manager) Statuses(ctx context.Context) (out []Status) {
	for _, name := range m.recorded() {
		s := m.status(ctx, m.installed(name, m.record(name)))
		s.Name = name
		out = append(out, s)
	}
	m.mu.Lock()
	watched := m.watched
	m.mu.Unlock()
	for _, u := range watched {
		s := m.status(ctx, u)
		s.Mode = config.ModeWatch
		out = append(out, s)
	}
	return out
}

// Logs returns the last lines that a service has written, the oldest first.
func (m *Manager) Logs(ctx context.Context, name string, lines int) ([]string, error) {
	u, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return m.runners[u.Mode].Logs(ctx, name, lines)
}

// Shown is a service as people can see it: without secrets.
type Shown struct {
	Name string `json:"name"`
	// Process is how it is run, a property a line; of a unit of systemd it is in the unit's file.
	Process string      `json:"process,omitempty"`
	Files   []ShownFile `json:"files"`
}

// ShownFile is a file of a service.
type ShownFile struct {
	Path string `json:"path"`
	// Owner has the mode, the owner and the group.
	Owner string `json:"owner"`
	Text  string `json:"text"`
}

// Show returns the files of a service as they are installed.
func (m *Manager) Show(ctx context.Context, name string) (Shown, error) {
	u, err := m.find(name)
	if err != nil {
		return Shown{}, err
	}
	keys := attributes(m.store.key, u).Keys()
	s, err := m.Observe(ctx, name, keys)
	if err != nil {
		return Shown{}, err
	}
	out := Shown{Name: name, Process: s[processKey], Files: []ShownFile{}}
	for i := range u.Files {
		path := u.Files[i].Path
		out.Files = append(out.Files, ShownFile{path, s[ownerKey+path], s[fileKey+path]})
	}
	return out, nil
}

// Restart starts a service again, and waits until it is well. Callers see to it that it does not change
// meanwhile.
func (m *Manager) Restart(ctx context.Context, name string) error {
	u, err := m.find(name)
	if err != nil {
		return err
	}
	m.expect(ctx, u)
	err = m.runners[u.Mode].Start(ctx, u)
	if err == nil {
		err = m.await(ctx, u, m.look)
	}
	if err != nil {
		return fmt.Errorf("service %s: %w", name, err)
	}
	return nil
}

// find returns the unit of a service that runs here.
func (m *Manager) find(name string) (*Unit, error) {
	if list := m.recorded(); !slices.Contains(list, name) { // also what is no name
		if m.watches(name) {
			return nil, fmt.Errorf("service %s has the mode watch: somebody else starts it, and has its files and its log: %w", name, fs.ErrNotExist)
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("there is no service %s, nor another one: %w", name, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("there is no service %s: want one of %s: %w", name, strings.Join(list, ", "), fs.ErrNotExist)
	}
	u := m.installed(name, m.record(name))
	if u == nil || m.runners[u.Mode] == nil {
		return nil, fmt.Errorf("there is no service %s: %w", name, fs.ErrNotExist)
	}
	return u, nil
}

// watches tells whether a service is one that is only looked at.
func (m *Manager) watches(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.watched, func(u *Unit) bool { return u.Name == name })
}

// UnitsOf returns what the services of a daemon are, with their secrets: those that run, and those
// that are watched.
func (m *Manager) UnitsOf(daemon string) (out []*Unit) {
	m.mu.Lock()
	all := slices.Clone(m.watched)
	m.mu.Unlock()
	for _, name := range m.recorded() {
		all = append(all, m.installed(name, m.record(name)))
	}
	for _, u := range all {
		if u != nil && u.Daemon == daemon {
			out = append(out, u)
		}
	}
	return out
}
