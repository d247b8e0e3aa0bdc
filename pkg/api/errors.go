// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
)

// Error is a request that the daemon refused or failed to do.
type Error struct {
	// Status is the HTTP status.
	Status  int    `json:"-"`
	Message string `json:"error"`
}

// Error returns the daemon's words.
func (e *Error) Error() string { return e.Message }

// BadInput wraps an error of what the caller, or a file, asked for. It is
// answered with status 422.
func BadInput(err error) error {
	if err == nil {
		return nil
	}
	return &badInput{err}
}

type badInput struct{ error }

func (b *badInput) Unwrap() error { return b.error }

// IsBadInput tells whether an error, of a Service or of a Client, is one of
// input: nothing was changed.
func IsBadInput(err error) bool {
	var b *badInput
	if errors.As(err, &b) {
		return true
	}
	var e *Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500
}

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	var e *Error
	var b *badInput
	switch {
	case errors.As(err, &e):
		return e.Status
	case errors.As(err, &b):
		return http.StatusUnprocessableEntity
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// messageOf is an error for people, without the words of [fs.ErrNotExist] behind its own: it is not about a file.
func messageOf(err error) string { return strings.TrimSuffix(err.Error(), ": "+fs.ErrNotExist.Error()) }
