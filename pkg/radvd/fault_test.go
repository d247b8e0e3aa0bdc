// SPDX-License-Identifier: GPL-2.0-only

package radvd_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/radvd"
)

// with is a configuration with a program, and more of its keys.
func with(program, more string) string {
	_, text, _ := strings.Cut(head, "\nnetwork:")
	return fmt.Sprintf("network:%s    mode: child\n    binary: %s\n%s", text, program, more)
}

// TestFaults: programs that cannot run in the place of the daemon, and its end by force.
func TestFaults(t *testing.T) {
	lan(t)
	h := servicetest.NewHost(t, radvd.New())
	h.Faults("radvd", servicetest.Program(t, "radvd"), "-c", func(program string) string { return with(program, "") })
	h.Killed("radvd")
}

// TestHangs: one that is stopped is not well, nor is a change of it; the one of before runs afterwards.
func TestHangs(t *testing.T) {
	lan(t)
	h := servicetest.NewHost(t, radvd.New())
	program := servicetest.Program(t, "radvd")
	h.Must(with(program, ""))
	if err := syscall.Kill(h.Status("radvd").PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := h.Apply(with(program, "    prefixes: ['fd01::/64']\n"))
	if err == nil || !strings.Contains(err.Error(), "no router advertisement of this host's own is seen") {
		t.Errorf("a daemon that is stopped: %v", err)
	}
	servicetest.Eventually(t, func() error {
		if s := h.Status("radvd"); s.Error != "" {
			return fmt.Errorf("after the rollback: %+v", s)
		}
		return nil
	})
	b, err := os.ReadFile(h.Run + "/radvd/radvd.conf")
	if err != nil || strings.Contains(string(b), "fd01::") {
		t.Errorf("the files are not those of before: %v %s", err, b)
	}
}

// TestDiskFull: a file that does not fit is an error, and the daemon has the one of before.
func TestDiskFull(t *testing.T) {
	lan(t)
	h := servicetest.NewHost(t, radvd.New())
	program := servicetest.Program(t, "radvd")
	room := servicetest.FullDisk(t, h.Run)
	if err := h.Apply(with(program, "")); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a disk that is full: %v", err)
	}
	if list := h.Manager.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("not undone: %+v", list)
	}
	room()
	h.Must(with(program, ""))
}
