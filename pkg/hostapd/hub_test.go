// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// TestSockets: what an earlier process has left goes, and what is not there is no error.
func TestSockets(t *testing.T) {
	dirs := service.Dirs{Run: t.TempDir()}
	e := Endpoint{"lo", dirs.Run, clientDir(dirs)}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dirs.Run + "/lo", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := e.Dial()
	if err := c.connect(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := RemoveSockets(dirs); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(c.local); err == nil {
			t.Errorf("%s is left", c.local)
		}
	}
}

// TestListenEnds: whoever ends listening may do so at any moment, as when an event is taken.
func TestListenEnds(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "lo"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := l.ReadFromUnix(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "ATTACH" {
				_, _ = l.WriteToUnix([]byte("OK\n"), from)
				_, _ = l.WriteToUnix([]byte("<3>AP-ENABLED "), from)
			}
		}
	}()
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		heard := 0
		err := listen(ctx, dir, "lo", dir, func() {}, func(Event) { heard++; cancel() })
		if heard != 1 || !errors.Is(err, context.Canceled) {
			t.Fatalf("%d events, %v", heard, err)
		}
	}
	if left, _ := filepath.Glob(dir + "/hostapd-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestHub: who listens hears of all from when it is ready, each on its own; who does not read keeps
// nobody waiting.
func TestHub(t *testing.T) {
	var h Hub
	h.Tell(Event{Name: "before"})
	enough := errors.New("enough")
	got := 0
	err := h.Listen(t.Context(), func() error {
		for range 2 * backlog {
			h.Tell(Event{Name: "x"})
		}
		return nil
	}, func(e Event) error {
		if got++; e.Name != "x" {
			t.Errorf("%+v", e)
		}
		if got == backlog {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || got != backlog || len(h.listeners) != 0 {
		t.Errorf("%v after %d events, %d listen", err, got, len(h.listeners))
	}
	defer func() {
		if err := h.Listen(t.Context(), func() error { h.Close(); h.Tell(Event{}); return nil }, func(Event) error { return enough }); err != nil {
			t.Errorf("closed: %v", err)
		}
		if err := h.Listen(t.Context(), func() error { return nil }, func(Event) error { return enough }); err != nil {
			t.Errorf("closed before: %v", err)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	if err := h.Listen(ctx, func() error { cancel(); return nil }, func(Event) error { return nil }); err != nil || len(h.listeners) != 0 {
		t.Errorf("%v, %d listen", err, len(h.listeners))
	}
}
