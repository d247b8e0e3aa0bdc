// SPDX-License-Identifier: GPL-2.0-only

// Package tui draws lines on a terminal and reads its keys. It needs nothing of a
// terminal but what all of them understand since the VT100, and works over ssh.
package tui

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// Style is how a piece of text looks.
type Style int

// Styles. Without colours those that are one look like Plain.
const (
	Plain Style = iota
	Bold
	Dim
	Reverse
	Good
	Warn
	Bad
)

// codes are the parameters of SGR, ECMA-48.
var codes = [...]string{Plain: "", Bold: "1", Dim: "2", Reverse: "7", Good: "32", Warn: "33", Bad: "31"}

// Span is text of a style.
type Span struct {
	Text  string
	Style Style
}

// Line is what is on a line.
type Line []Span

// Text makes a line of one style.
func Text(s Style, format string, args ...any) Line { return Line{{fmt.Sprintf(format, args...), s}} }

// Terminal is the one that standard input and output are.
type Terminal struct {
	// Colour: styles that are colours are shown.
	Colour bool
	// Keys are what was typed: a letter, or a name such as Up.
	Keys <-chan string
	// Resized tells that the size is another one.
	Resized <-chan os.Signal

	in, out *os.File
	before  unix.Termios
	resized chan os.Signal
	done    chan struct{}
}

// Open takes the terminal over: keys come at once, and what was on it comes back with
// Close.
func Open(in, out *os.File) (*Terminal, error) {
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("standard input is not a terminal: %w", err)
	}
	if _, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS); err != nil {
		return nil, fmt.Errorf("standard output is not a terminal: %w", err)
	}
	raw := *before
	raw.Lflag &^= unix.ECHO | unix.ICANON // Ctrl-C stays a signal
	// A read returns after a tenth of a second: so that Escape is told from the
	// sequences that begin with it, and the reader ends.
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	keys := make(chan string)
	t := &Terminal{
		Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Keys: keys, Resized: resized,
		in: in, out: out, before: *before, resized: resized, done: make(chan struct{}),
	}
	go t.read(keys)
	_, err = fmt.Fprint(out, "\x1b[?1049h\x1b[?25l") // the other screen, without a cursor
	return t, err
}

// Close gives the terminal back as it was.
func (t *Terminal) Close() error {
	close(t.done)
	signal.Stop(t.resized)
	fmt.Fprint(t.out, "\x1b[?25h\x1b[?1049l")
	return unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETS, &t.before)
}

// Size is that of the terminal, 80×24 if it does not say.
func (t *Terminal) Size() (columns, rows int) {
	w, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// Draw shows lines in the place of what there is. What does not fit is cut off.
func (t *Terminal) Draw(lines []Line) error {
	columns, rows := t.Size()
	w := bufio.NewWriterSize(t.out, 64<<10) // one write: nothing flickers
	fmt.Fprint(w, "\x1b[H")
	for i, l := range lines[:min(len(lines), rows)] {
		if i > 0 {
			fmt.Fprint(w, "\r\n")
		}
		fmt.Fprint(w, l.Render(columns, t.Colour), "\x1b[K")
	}
	fmt.Fprint(w, "\x1b[J")
	return w.Flush()
}

// Render is a line with its styles, in so many columns at most.
func (l Line) Render(columns int, colour bool) string {
	var b strings.Builder
	for _, s := range l {
		text := []rune(Printable(s.Text))
		text = text[:min(len(text), columns)]
		columns -= len(text)
		code := codes[s.Style]
		if code == "" || s.Style >= Good && !colour {
			b.WriteString(string(text))
			continue
		}
		fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", code, string(text))
	}
	return b.String()
}

// String is a line without styles.
func (l Line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(Printable(s.Text))
	}
	return strings.TrimRight(b.String(), " ")
}

// Printable is text without what a terminal would take for a command.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
