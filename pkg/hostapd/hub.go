// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"context"
	"sync"
)

// Hub gives events to those who listen. It never waits for one: who does not read loses events.
type Hub struct {
	mu        sync.Mutex
	listeners map[chan Event]struct{}
	closed    bool
}

// backlog is how many events may wait for a listener.
const backlog = 256

// Listen calls yield with events until ctx ends, the hub is closed or yield returns an error. Ready is called when
// it hears of all.
func (h *Hub) Listen(ctx context.Context, ready func() error, yield func(Event) error) error {
	events := make(chan Event, backlog)
	h.mu.Lock()
	if h.listeners == nil {
		h.listeners = map[chan Event]struct{}{}
	}
	h.listeners[events] = struct{}{}
	if h.closed {
		close(events)
		delete(h.listeners, events)
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, events)
	}()
	err := ready()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			err = yield(e)
		}
	}
	return err
}

// Close ends all listening.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		close(l)
		delete(h.listeners, l)
	}
}

// Tell gives an event to all.
func (h *Hub) Tell(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		select {
		case l <- e:
		default:
		}
	}
}
