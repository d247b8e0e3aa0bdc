// SPDX-License-Identifier: GPL-2.0-only

// Package ownns runs a package's tests in namespaces of their own, all of their threads and
// processes: a network without anything but lo, and mounts that go with them.
package ownns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is set for the process within.
const inside = "L2D_TEST_OWN_NAMESPACES"

// machine is set in the virtual machines of scripts/vm, which are the tests' own already.
const machine = "L2D_VM"

// Main is for TestMain. Without root the tests run where they are, and skip. Fuzzing, whose processes talk
// by files that they inherit, runs there, too.
func Main(m *testing.M) {
	fuzzes := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") })
	if os.Geteuid() != 0 || os.Getenv(machine) != "" || fuzzes {
		os.Exit(m.Run())
	}
	if os.Getenv(inside) == "" {
		os.Exit(again())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "namespaces of the tests:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// again runs the same tests within.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "namespaces of the tests:", err)
		return 1
	}
	return 0
}

// prepare has /sys show the network within, and lo up.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("/sys: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("lo: %w: %s", err, out)
	}
	return nil
}
