// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// Phase is how far a pending change is.
type Phase string

// Phases.
const (
	// Applying: changes are being made, one by one.
	Applying Phase = "applying"
	// Waiting: all are made, and wait for a confirmation.
	Waiting Phase = "waiting"
	// Undoing: what was made is being undone.
	Undoing Phase = "undoing"
	// Stuck: some could not be undone.
	Stuck Phase = "stuck"
)

// Pending is a change of the host that is not final yet.
type Pending struct {
	// ID is what a confirmation names.
	ID    string `json:"id"`
	Phase Phase  `json:"phase"`
	// Boot is the kernel's identifier of its run: after another boot there is
	// nothing to undo.
	Boot string `json:"boot"`
	// Deadline is when it is undone, if it waits.
	Deadline time.Time `json:"deadline,omitzero"`
	// Until is the same as the time since the kernel has booted, which nobody sets. It counts.
	Until time.Duration `json:"until_ns,omitempty"`
	// Changes have been made, or may have been.
	Changes []Change `json:"changes"`
	// Error is why it is stuck.
	Error string `json:"error,omitempty"`
}

// Refuses is why there is no other change as long as this one is open.
func (p *Pending) Refuses() error {
	if p.Phase == Stuck {
		return fmt.Errorf("%w: %s: l2ctl rollback tries again, and l2ctl confirm %s leaves it as it is", ErrStuck, p.ID, p.ID)
	}
	return fmt.Errorf("%w: %s: want l2ctl confirm %s, or l2ctl rollback", ErrPending, p.ID, p.ID)
}

// pendingFile is the name of the file in the engine's directory.
const pendingFile = "pending.json"

// BootID tells one run of the kernel from another: see random(4).
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// sinceBoot is the time since the kernel has booted, also that in which it slept.
func sinceBoot() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // never fails
	return time.Duration(t.Nano())
}

// left is how long it waits yet.
func (p *Pending) left() time.Duration {
	if p.Until == 0 { // of an older version
		return time.Until(p.Deadline)
	}
	return p.Until - sinceBoot()
}

// byClock is a pending change with the deadline as the clock is now, if somebody has set that.
func (p *Pending) byClock() *Pending {
	if p == nil || p.Phase != Waiting {
		return p
	}
	const steady = time.Second
	at := time.Now().Round(0).Add(p.left())
	if at.Sub(p.Deadline.Round(0)).Abs() < steady {
		return p
	}
	own := *p
	own.Deadline = at
	return &own
}

// load reads the pending change of an engine before; nil if there is none.
func load(dir string) (*Pending, error) {
	if err := durable.Clean(filepath.Join(dir, pendingFile)); err != nil {
		return nil, fmt.Errorf("pending change: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, pendingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pending change: %w", err)
	}
	var p Pending
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("pending change: %s: %w", filepath.Join(dir, pendingFile), err)
	}
	return &p, nil
}

// save has the pending change on disk when it returns, and the one before until
// then.
func save(dir string, p *Pending) error {
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, pendingFile), append(b, '\n')); err != nil {
		return fmt.Errorf("pending change: %w", err)
	}
	return nil
}

func forget(dir string) error {
	if err := durable.Remove(filepath.Join(dir, pendingFile)); err != nil {
		return fmt.Errorf("pending change: %w", err)
	}
	return durable.SyncDir(dir)
}
