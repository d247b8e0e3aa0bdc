// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"time"
)

// runner runs units in one of the modes. Its methods may be called concurrently.
type runner interface {
	// Start runs a unit, in the place of what runs under its name. It returns when
	// there is a process, which may end soon.
	Start(ctx context.Context, u *Unit) error
	// Refresh gives what runs the limits of a unit.
	Refresh(ctx context.Context, u *Unit) error
	// Stop ends what runs under a name, all of it, if anything does.
	Stop(ctx context.Context, name string) error
	// Signal sends a signal, such as SIGHUP, to the first process.
	Signal(ctx context.Context, name, sig string) error
	// Process says what runs.
	Process(ctx context.Context, name string) (Process, error)
	// Logs returns the last lines, the oldest first.
	Logs(ctx context.Context, name string, lines int) ([]string, error)
}

// Process is what there is of a service.
type Process struct {
	Running bool      `json:"running"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Restarts is how often it was started again because it had ended.
	Restarts uint64 `json:"restarts"`
	// Exit is how the last process ended; empty if none has.
	Exit string `json:"exit,omitempty"`
}
