// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one problem of a file. A zero Line means that the place is not known.
type Error struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1
	Column int    `json:"column"` // from 1, in characters
	// Key is the path of the key, such as dataplane.interfaces[0].name. It is
	// empty when the file is not YAML.
	Key string `json:"key,omitempty"`
	// Value is what was found, as written in the file.
	Value string `json:"value,omitempty"`
	// Problem says what is wrong, when the value alone does not.
	Problem string `json:"problem,omitempty"`
	// Want says what would be accepted.
	Want string `json:"want,omitempty"`
}

// Error formats the problem as FILE:LINE:COLUMN: KEY: VALUE: PROBLEM: want WANT.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	for _, s := range []string{e.Key, e.quoted(), e.Problem} {
		if s != "" {
			b.WriteString(": ")
			b.WriteString(s)
		}
	}
	if e.Want != "" {
		b.WriteString(": want ")
		b.WriteString(e.Want)
	}
	return b.String()
}

// Place is where the problem is.
func (e Error) Place() (file string, line, column int) { return e.File, e.Line, e.Column }

// quoted returns the value in quotes, shortened when it is long.
func (e Error) quoted() string {
	if e.Value == "" {
		return ""
	}
	const most = 160
	v := []rune(e.Value)
	if len(v) > most {
		v = append(v[:most:most], '…')
	}
	return fmt.Sprintf("%q", string(v))
}

// List is every problem of a file, in the order of the file.
type List []Error

// Error returns one line for each problem.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one, for errors.As.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i := range l {
		errs[i] = l[i]
	}
	return errs
}

// without tells whether there is no problem with what is at some keys: there, in it, or in
// what it is in.
func (l List) without(keys ...string) bool {
	return !slices.ContainsFunc(l, func(e Error) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return isWithin(e.Key, key) || isWithin(key, e.Key) })
	})
}

// isWithin tells whether a key is another one, or in it; all are in the file as a whole.
func isWithin(key, other string) bool {
	rest, ok := strings.CutPrefix(key, other)
	return ok && (rest == "" || other == "" || rest[0] == '.' || rest[0] == '[')
}
