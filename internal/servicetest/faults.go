// SPDX-License-Identifier: GPL-2.0-only

package servicetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Faults puts other programs into the place of a service's: what cannot run is refused or undone, with a reason, and
// the service of before runs on. text is the configuration with a program, which is well with the good one. check is
// part of the command line by which that is asked about its files, or itself.
func (h *Host) Faults(service, good, check string, text func(program string) string) {
	h.t.Helper()
	h.Must(text(good))
	before := h.Status(service)
	if before.Error != "" || !before.Running {
		h.t.Fatalf("not well to begin with: %+v", before)
	}
	dir := Dir(h.t)
	script := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/bash\n"+body+"\n"), 0o755); err != nil {
			h.t.Fatal(err)
		}
		return path
	}
	checked := fmt.Sprintf("case \"$*\" in *%s*) exec %s \"$@\";; esac\n", check, good)
	for _, fault := range []struct {
		name, program, want string
		same                bool // the process is that of before
	}{
		{"missing", filepath.Join(dir, "none"), "is not installed", true},
		{"another version", script("other", "echo 'no such option: ask another version' >&2; exit 2"), "another version", true},
		{"ends at its start", script("ends", checked+"echo 'cannot go on' >&2; exit 3"), "cannot go on", false},
		{"never ready", script("idle", checked+"exec sleep 1000"), service, false},
	} {
		err := h.Apply(text(fault.program))
		if err == nil || !strings.Contains(err.Error(), fault.want) {
			h.t.Errorf("%s: %v, want %q", fault.name, err, fault.want)
		}
		Eventually(h.t, func() error {
			if s := h.Status(service); s.Error != "" || fault.same && s.PID != before.PID {
				return fmt.Errorf("after %q: %+v, before %+v", fault.name, s, before)
			}
			return nil
		})
	}
}

// Killed ends the process of a service by force: it is started again, and is well.
func (h *Host) Killed(service string) {
	h.t.Helper()
	before := h.Status(service)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	Eventually(h.t, func() error {
		if s := h.Status(service); s.Error != "" || s.PID == before.PID || s.Restarts == 0 {
			return fmt.Errorf("after SIGKILL: %+v", s)
		}
		return nil
	})
}

// SmallDisk puts a file system of little room in the place of a directory that services have files in; fill takes all
// of it, and room gives that back.
func SmallDisk(t *testing.T, dir string) (fill, room func()) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Run(t, "mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs", dir)
	t.Cleanup(func() { Run(t, "umount", "-l", dir) })
	filler := filepath.Join(dir, "filler")
	fill = func() {
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	}
	room = func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return fill, room
}

// FullDisk is SmallDisk that has no room.
func FullDisk(t *testing.T, dir string) (room func()) {
	t.Helper()
	fill, room := SmallDisk(t, dir)
	fill()
	return room
}
