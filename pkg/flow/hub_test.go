// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// TestSlowListener: whoever does not read loses events and hears how many, and
// others hear of all.
func TestSlowListener(t *testing.T) {
	var h Hub
	slow, err := h.Listen(Filter{}, KindAll)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := h.Listen(Filter{}, KindAll)
	if err != nil {
		t.Fatal(err)
	}
	f := example()
	next := func(l *Listener) Event {
		t.Helper()
		e, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for range backlog + 10 {
		h.Publish(Event{Kind: KindNew, Flow: &f})
		if e := next(fast); e.Kind != KindNew {
			t.Fatalf("%v", &e)
		}
	}
	h.Publish(Event{Kind: KindLost, Lost: 5}) // of the dataplane's
	for i := range backlog {
		if e := next(slow); e.Kind != KindNew {
			t.Fatalf("event %d: %v", i, &e)
		}
	}
	if e := next(slow); e.Kind != KindLost || e.Lost != 15 {
		t.Errorf("%v, not 15 lost", &e)
	}
	if e := next(fast); e.Kind != KindLost || e.Lost != 5 {
		t.Errorf("%v, not 5 lost", &e)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := slow.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	h.Close()
	if _, err := slow.Next(t.Context()); !errors.Is(err, ErrHubClosed) {
		t.Error(err)
	}
	if _, err := h.Listen(Filter{}, KindAll); !errors.Is(err, ErrHubClosed) {
		t.Error(err)
	}
	slow.Close()
}

// TestWanted: the dataplane reports what somebody listens to.
func TestWanted(t *testing.T) {
	var all, translated Kind
	h := Hub{Changed: func(a, t Kind) { all, translated = a, t }}
	want := func(a, tr Kind) {
		t.Helper()
		if all != a || translated != tr {
			t.Errorf("%v of all and %v of translated flows, not %v and %v", all, translated, a, tr)
		}
	}
	listen := func(f Filter, k Kind) *Listener {
		t.Helper()
		l, err := h.Listen(f, k)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a := listen(Filter{NAT: NATAny}, KindNew|KindDestroy)
	want(0, KindNew|KindDestroy)
	b := listen(Filter{NAT: NATNone}, KindUpdate)
	want(KindUpdate, KindNew|KindDestroy)
	a.Close()
	want(KindUpdate, 0)
	b.Close()
	want(0, 0)
	f := example()
	c := listen(Filter{Port: 1}, KindAll)
	h.Publish(Event{Kind: KindNew, Flow: &f})
	if c.Waiting() {
		t.Error("of a flow that the filter does not select")
	}
	c.Close()
	for range maxListeners {
		listen(Filter{}, KindAll)
	}
	if _, err := h.Listen(Filter{}, KindAll); !errors.Is(err, ErrTooManyListeners) {
		t.Error(err)
	}
}

func TestEventText(t *testing.T) {
	f := example()
	for want, e := range map[string]Event{
		"    [NEW] " + f.String():                           {Kind: KindNew, Flow: &f},
		" [UPDATE] " + f.String():                           {Kind: KindUpdate, Flow: &f},
		"[CONFIRM] " + f.String():                           {Kind: KindConfirm, Flow: &f},
		"[DESTROY] " + f.String() + " reason=" + EndExpired: {Kind: KindDestroy, Flow: &f, Reason: EndExpired},
		"   [LOST] 7 events":                                {Kind: KindLost, Lost: 7},
	} {
		if got := e.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
		b, err := json.Marshal(&e)
		if err != nil {
			t.Fatal(err)
		}
		var back Event
		if err := json.Unmarshal(b, &back); err != nil || back.String() != want {
			t.Errorf("%s came back as %q, %v", b, back.String(), err)
		}
	}
	for s, want := range map[string]Kind{"NEW": KindNew, "new,destroy": KindNew | KindDestroy, "updates": KindUpdate | KindConfirm, "all": KindAll, "new,": 0, "lost": 0, "": 0} {
		if got, err := ParseKinds(s); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}
