// SPDX-License-Identifier: GPL-2.0-only

package located

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

type at struct {
	file         string
	line, column int
}

func (a at) Error() string             { return fmt.Sprintf("%s:%d:%d", a.file, a.line, a.column) }
func (a at) Place() (string, int, int) { return a.file, a.line, a.column }

// Errors that were joined in any way come in the order of the files, each once.
func TestJoin(t *testing.T) {
	both := fmt.Errorf("while closing: %w, %w", io.EOF, at{"b", 1, 1})
	err := Join(
		io.ErrClosedPipe,
		errors.Join(at{"b", 10, 2}, nil, errors.Join(at{"a", 3, 1}, at{"b", 9, 1})),
		at{"b", 10, 1}, fmt.Errorf("wrapped: %w", at{"a", 2, 7}), at{"b", 9, 1}, both,
	)
	want := "b:9:1\nb:10:1\nb:10:2\nwrapped: a:2:7\na:3:1\nio: read/write on closed pipe"
	if got := Join(errors.Join(err)); got.Error() != err.Error() {
		t.Errorf("again: %v", got)
	}
	want = "while closing: EOF, b:1:1\n" + want
	if err.Error() != want {
		t.Errorf("%v\nnot\n%s", err, want)
	}
	if !errors.Is(err, io.EOF) || !errors.Is(err, at{"a", 3, 1}) {
		t.Error("an error is lost")
	}
	if Join(nil, errors.Join()) != nil {
		t.Error("no error is one")
	}
}
