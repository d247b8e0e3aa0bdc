// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// shownText is what a terminal was given.
type shownText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shownText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *shownText) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestProgress: what takes long is shown with what it does, and the line is taken away.
func TestProgress(t *testing.T) {
	var s shownText
	e := env{progress: &s}
	e.during(doing("at once"))()
	if s.text() != "" {
		t.Errorf("of what took no time is shown %q", s.text())
	}
	done := e.during(doing(strings.Repeat("x", 200)))
	for end := time.Now().Add(time.Minute); !strings.Contains(s.text(), "xxx") && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	done()
	text := s.text()
	if !strings.HasSuffix(text, "\r\x1b[K") || !strings.Contains(text, "s xxx") || strings.Contains(text, strings.Repeat("x", 79)) {
		t.Errorf("%q", text)
	}
	(&env{}).during(doing("unseen"))()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if onTerminal(w) != nil || onTerminal(&s) != nil {
		t.Error("a pipe is taken for a terminal")
	}
}
