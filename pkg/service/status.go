// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"fmt"
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

// healthTime bounds a look at a service.
const healthTime = 3 * time.Second

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
			if s.Exit != "" {
				s.Error += ": " + s.Exit
			}
			// Its last words say more than its exit code.
			if lines, err := r.Logs(ctx, u.Name, 1); err == nil && len(lines) > 0 {
				s.Error += ": " + lines[0]
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
	if s.Health, err = d.Health(ctx, u); err != nil {
		s.Error = err.Error()
	}
	return s
}

// Statuses are those of all services that run or are watched, by name.
func (m *Manager) Statuses(ctx context.Context) (out []Status) {
	for _, name := range m.recorded() {
		s := m.look(ctx, m.installed(name, m.record(name)))
		s.Name = name
		out = append(out, s)
	}
	m.mu.Lock()
	watched := m.watched
	m.mu.Unlock()
	for _, u := range watched {
		s := m.look(ctx, u)
		s.Mode = config.ModeWatch
		out = append(out, s)
	}
	return out
}
