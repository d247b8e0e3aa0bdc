// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// merger makes one stream of what several sources tell.
type merger struct {
	ctx     context.Context
	events  chan api.Watched
	ended   chan error // by the first source that does
	sources sync.WaitGroup
}

// run runs a source. The stream ends when it does.
func (m *merger) run(source func() error) {
	m.sources.Go(func() {
		err := source()
		select {
		case m.ended <- err:
		default:
		}
	})
}

// put gives an event to the reader; the error is the context's.
func (m *merger) put(w api.Watched) error {
	select {
	case m.events <- w:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// each calls yield with each event, until a source ends or yield fails.
func (m *merger) each(yield func(api.Watched) error) error {
	for {
		select {
		case w := <-m.events:
			if err := yield(w); err != nil {
				return err
			}
		case err := <-m.ended:
			if m.ctx.Err() != nil {
				return nil
			}
			return err
		case <-m.ctx.Done():
			return nil
		}
	}
}

// watchFlows tells of flows that begin and end.
func (d *daemon) watchFlows(m *merger) error {
	l, err := d.flows.Listen(flow.Filter{}, flow.KindNew|flow.KindDestroy)
	if errors.Is(err, flow.ErrTooManyListeners) {
		return &api.Error{Status: http.StatusServiceUnavailable, Message: err.Error()}
	}
	if err != nil {
		return err
	}
	m.run(func() error {
		defer l.Close()
		for {
			e, err := l.Next(m.ctx)
			if err != nil {
				return nil
			}
			w := api.Watched{Kind: api.WatchFlows, Time: e.Time, Flow: &e}
			if e.Kind == flow.KindLost {
				w.Flow, w.Lost = nil, e.Lost
			}
			if err := m.put(w); err != nil {
				return err
			}
		}
	})
	return nil
}

// watchInterval is how often is looked for what nobody tells of.
const watchInterval = time.Second

// watchMappings tells of flows that have a source of their own for want of room in the
// table of mappings: their packets pass, and are seen nowhere else.
func (d *daemon) watchMappings(m *merger) error {
	const name = "nat_mapping_full"
	before, known := uint64(0), false
	for m.ctx.Err() == nil {
		if _, dp := d.state(); dp != nil {
			st, err := dp.Status()
			if err != nil {
				return err
			}
			n := st.Stats[name]
			if known && n > before {
				if err := m.put(api.Watched{Kind: api.WatchNAT, Time: time.Now(), Text: fmt.Sprintf("%s: %d flows have a port of their own", name, n-before)}); err != nil {
					return err
				}
			}
			before, known = n, true
		}
		sleep(m.ctx, watchInterval)
	}
	return nil
}

// watchServices tells of services whose state changes, and of stations.
func (d *daemon) watchServices(m *merger) {
	m.run(func() error {
		before := map[string]string{}
		for first := true; m.ctx.Err() == nil; first = false {
			now := map[string]string{}
			for _, s := range d.services.Statuses(m.ctx) {
				now[s.Name] = serviceState(&s)
			}
			if m.ctx.Err() != nil {
				return nil // asked in vain
			}
			for name := range before {
				if _, there := now[name]; !there {
					now[name] = "not declared any more"
				}
			}
			for name, state := range now {
				if before[name] == state || first {
					continue
				}
				if err := m.put(api.Watched{Kind: api.WatchServices, Time: time.Now(), Text: name + ": " + state}); err != nil {
					return err
				}
			}
			before = now
			sleep(m.ctx, watchInterval)
		}
		return nil
	})
	m.run(func() error {
		return d.stations.Listen(m.ctx, func() error { return nil }, func(e hostapd.Event) error {
			text := strings.TrimRight(strings.Join([]string{e.Interface + ": " + e.Name, e.MAC, e.Detail}, " "), " ")
			return m.put(api.Watched{Kind: api.WatchServices, Time: time.Now(), Text: text})
		})
	})
}

// serviceState is what makes an event if it changes: no numbers that always do.
func serviceState(s *service.Status) string {
	state := "up"
	if !s.Running {
		state = "down"
		if s.Exit != "" {
			state += ": " + s.Exit
		}
	}
	if s.Error != "" {
		state = "not well: " + s.Error
	}
	return fmt.Sprintf("%s, process %d, started again %d times", state, s.PID, s.Restarts)
}

// toldHub gives what the daemon does itself to those who watch. Nobody waits for them.
type toldHub struct {
	mu        sync.Mutex
	listeners map[*toldListener]struct{}
}

type toldListener struct {
	events chan api.Watched
	lost   uint64 // guarded by the hub's mu
}

// toldBacklog is how many events may wait for one who watches.
const toldBacklog = 1024

func (h *toldHub) listen() *toldListener {
	l := &toldListener{events: make(chan api.Watched, toldBacklog)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[*toldListener]struct{}{}
	}
	h.listeners[l] = struct{}{}
	return l
}

func (h *toldHub) leave(l *toldListener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// tell has an event told to who watches.
func (h *toldHub) tell(kind, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		select {
		case l.events <- api.Watched{Kind: kind, Time: time.Now(), Text: text, Lost: l.lost}:
			l.lost = 0
		default:
			l.lost++
		}
	}
}

// each calls with for each event until ctx ends.
func (l *toldListener) each(ctx context.Context, with func(api.Watched) error) error {
	for {
		select {
		case w := <-l.events:
			if err := with(w); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
