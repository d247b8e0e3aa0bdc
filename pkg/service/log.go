// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"bufio"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// logTail takes in what a child writes. It writes to a FIFO that it has open for reading,
// too: so it never gets SIGPIPE, and goes on when l2d ends. When nobody reads and the FIFO is
// full, what it writes is lost: it does not wait.
type logTail struct {
	path string
	r    *os.File

	mu    sync.Mutex
	lines []string // the last ones
	done  chan struct{}
}

const (
	// keptLines is how many lines are kept for who asks.
	keptLines = 1000
	// longestLine is how much of one is kept, in bytes.
	longestLine = 4096
	// fifoSize is what a FIFO holds, the most that a process may ask for by default.
	fifoSize = 1 << 20
)

// openLog makes the FIFO of a service if there is none, and reads it into the log.
func openLog(dir, name string, log *slog.Logger) (*logTail, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := &logTail{path: filepath.Join(dir, "log"), done: make(chan struct{})}
	if err := unix.Mkfifo(l.path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "mkfifo", Path: l.path, Err: err}
	}
	var err error
	// With a writer of its own there is no end of file when others close theirs.
	if l.r, err = os.OpenFile(l.path, os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	if conn, err := l.r.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, fifoSize) // as much as it gets
		})
	}
	go l.read(log.With("service", name))
	return l, nil
}

// writer is what a child gets as its standard output.
func (l *logTail) writer() (*os.File, error) {
	fd, err := unix.Open(l.path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: l.path, Err: err}
	}
	return os.NewFile(uintptr(fd), l.path), nil
}

func (l *logTail) read(log *slog.Logger) {
	defer close(l.done)
	r := bufio.NewReaderSize(l.r, longestLine)
	for {
		b, prefix, err := r.ReadLine()
		if err != nil {
			return
		}
		line := strings.ToValidUTF8(string(b), "\uFFFD")
		for prefix && err == nil { // the rest of a line that is too long
			_, prefix, err = r.ReadLine()
		}
		if line == "" {
			continue
		}
		log.Info("service", "line", line)
		l.mu.Lock()
		if len(l.lines) == keptLines {
			l.lines = append(l.lines[:0], l.lines[keptLines/10:]...)
		}
		l.lines = append(l.lines, line)
		l.mu.Unlock()
	}
}

// last returns the last lines, the oldest first.
func (l *logTail) last(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := max(0, len(l.lines)-n)
	return append([]string(nil), l.lines[from:]...)
}

func (l *logTail) close() {
	if l.r == nil {
		return
	}
	l.r.Close()
	<-l.done
}
