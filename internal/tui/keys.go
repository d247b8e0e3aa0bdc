// SPDX-License-Identifier: GPL-2.0-only

package tui

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Names of keys that are no character.
const (
	Up        = "up"
	Down      = "down"
	Left      = "left"
	Right     = "right"
	PageUp    = "page up"
	PageDown  = "page down"
	Home      = "home"
	End       = "end"
	Enter     = "enter"
	Escape    = "escape"
	Tab       = "tab"
	BackTab   = "back tab"
	Backspace = "backspace"
)

// sequences are what terminals send for keys: those of ECMA-48 and of the VT220, in
// both of their cursor modes.
var sequences = map[string]string{
	"\x1b[A": Up, "\x1b[B": Down, "\x1b[C": Right, "\x1b[D": Left, "\x1bOA": Up, "\x1bOB": Down, "\x1bOC": Right, "\x1bOD": Left,
	"\x1b[5~": PageUp, "\x1b[6~": PageDown, "\x1b[H": Home, "\x1b[F": End, "\x1bOH": Home, "\x1bOF": End, "\x1b[1~": Home, "\x1b[4~": End,
	"\x1b[Z": BackTab, "\r": Enter, "\n": Enter, "\t": Tab, "\x7f": Backspace, "\b": Backspace,
}

// read gives what is typed to keys until the terminal is closed.
func (t *Terminal) read(keys chan<- string) {
	buf := make([]byte, 256)
	rest := ""
	for {
		n, err := unix.Read(int(t.in.Fd()), buf)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return // the terminal is gone, and so is whoever typed
		}
		n = max(n, 0)
		var list []string
		list, rest = parse(rest+string(buf[:n]), n == 0)
		for _, k := range list {
			select {
			case keys <- k:
			case <-t.done:
				return
			}
		}
		select {
		case <-t.done:
			return
		default:
		}
	}
}

// parse takes keys off what was read. What may be the beginning of a sequence is
// left, unless nothing more has come: then it was Escape.
func parse(s string, idle bool) (keys []string, rest string) {
next:
	for s != "" {
		for seq, name := range sequences {
			if after, ok := strings.CutPrefix(s, seq); ok {
				keys, s = append(keys, name), after
				continue next
			}
		}
		if s[0] != '\x1b' {
			r, size := utf8.DecodeRuneInString(s)
			if r >= ' ' {
				keys = append(keys, string(r))
			}
			s = s[size:]
			continue
		}
		end := endOf(s)
		switch {
		case end > 0: // a key without a name
			s = s[end:]
		case !idle:
			return keys, s
		default:
			keys, s = append(keys, Escape), s[1:]
		}
	}
	return keys, ""
}

// endOf is the length of the control sequence that s begins with; 0 if it is not
// whole, or none.
func endOf(s string) int {
	if len(s) < 3 || s[1] != '[' && s[1] != 'O' {
		return 0
	}
	for i := 2; i < len(s); i++ {
		if s[i] >= 0x40 && s[i] <= 0x7e {
			return i + 1
		}
	}
	return 0
}
