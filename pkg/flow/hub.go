// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Hub gives events of flows to those who listen. It never waits for one: whoever
// does not read loses events, and is told how many.
type Hub struct {
	// Changed is called with the kinds of events that somebody listens to, of all
	// flows and of those that are translated, when these may have changed. It must
	// not call the hub's methods, and is set before the first use.
	Changed func(all, translated Kind)

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	closed    bool
}

// Listener is one of a hub's.
type Listener struct {
	hub        *Hub
	filter     Filter
	kinds      Kind
	translated bool
	events     chan Event
	lost       uint64 // guarded by hub.mu
}

// Bounds of what listeners can have the daemon keep.
const (
	maxListeners = 64
	// backlog is how many events may wait for a listener.
	backlog = 4096
)

// ErrTooManyListeners refuses another one.
var ErrTooManyListeners = errors.New("too many listen to the events of flows")

// ErrHubClosed is the end of all listening.
var ErrHubClosed = errors.New("the daemon ends")

// Listen adds a listener to events of some kinds, of flows that a filter selects.
// The caller closes it.
func (h *Hub) Listen(filter Filter, kinds Kind) (*Listener, error) {
	l := &Listener{hub: h, filter: filter, kinds: kinds, events: make(chan Event, backlog)}
	// The dataplane can tell these apart itself.
	l.translated = filter.NAT == NATAny || filter.NAT == NATSrc || filter.NAT == NATDst
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrHubClosed
	case len(h.listeners) >= maxListeners:
		return nil, ErrTooManyListeners
	}
	if h.listeners == nil {
		h.listeners = map[*Listener]struct{}{}
	}
	h.listeners[l] = struct{}{}
	h.changed()
	return l, nil
}

// Refresh calls Changed.
func (h *Hub) Refresh() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed()
}

func (h *Hub) changed() {
	if h.Changed == nil {
		return
	}
	var all, translated Kind
	for l := range h.listeners {
		if l.translated {
			translated |= l.kinds
		} else {
			all |= l.kinds
		}
	}
	h.Changed(all, translated)
}

// Publish gives an event to those who want it.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		if e.Kind == KindLost {
			l.lost += e.Lost
			continue
		}
		if e.Kind&l.kinds == 0 || !l.filter.Match(e.Flow) {
			continue
		}
		select {
		case l.events <- e:
		default:
			l.lost++
		}
	}
}

// Close ends all listening.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		close(l.events)
	}
	h.listeners = nil
	h.changed()
}

// lostCheck is how often a listener looks for losses that no event follows.
const lostCheck = time.Second

// Next waits for the next event, until ctx ends. What was lost, of the
// dataplane's or for being slow, is an event of [KindLost] behind those that were
// waiting already.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	for {
		select {
		case e, ok := <-l.events:
			return e, closedError(ok)
		default:
		}
		if n := l.takeLost(); n > 0 {
			return Event{Kind: KindLost, Time: time.Now(), Lost: n}, nil
		}
		select {
		case e, ok := <-l.events:
			return e, closedError(ok)
		case <-time.After(lostCheck):
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

func closedError(ok bool) error {
	if !ok {
		return ErrHubClosed
	}
	return nil
}

func (l *Listener) takeLost() uint64 {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	n := l.lost
	l.lost = 0
	return n
}

// Waiting tells whether an event is there already.
func (l *Listener) Waiting() bool { return len(l.events) > 0 }

// Close ends the listening.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	delete(l.hub.listeners, l)
	l.hub.changed()
}
