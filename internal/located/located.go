// SPDX-License-Identifier: GPL-2.0-only

// Package located tells errors about places of files in the order of these, whoever
// has found them.
package located

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Error is an error about a place of a file.
type Error interface {
	error
	// Place is the file, and numbers from 1; a line of 0 is not known.
	Place() (file string, line, column int)
}

// Of returns the place that an error is about; without one, file is empty.
func Of(err error) (file string, line, column int) {
	var e Error
	if errors.As(err, &e) {
		return e.Place()
	}
	return "", 0, 0
}

// Join is errors.Join of errors that were joined themselves, each once, in the order of
// their places: files as they are come to first, and behind all what has no place.
func Join(errs ...error) error {
	var list []error
	var files []string
	seen := map[string]bool{}
	for _, err := range Split(errors.Join(errs...)) {
		if seen[err.Error()] {
			continue
		}
		seen[err.Error()] = true
		list = append(list, err)
		if file, _, _ := Of(err); file != "" && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	rank := func(file string) int {
		if i := slices.Index(files, file); i >= 0 {
			return i
		}
		return len(files)
	}
	slices.SortStableFunc(list, func(a, b error) int {
		fileA, lineA, columnA := Of(a)
		fileB, lineB, columnB := Of(b)
		return cmp.Or(cmp.Compare(rank(fileA), rank(fileB)), cmp.Compare(lineA, lineB), cmp.Compare(columnA, columnB))
	})
	return errors.Join(list...)
}

// Split takes errors apart that are joined without a word of their own.
func Split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	var lines []string
	for _, e := range joined.Unwrap() {
		out = append(out, Split(e)...)
		lines = append(lines, e.Error())
	}
	if err.Error() != strings.Join(lines, "\n") {
		return []error{err}
	}
	return out
}
