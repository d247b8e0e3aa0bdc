// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace with an operating system thread that lives
// in it. The thread has a mount namespace too, where /sys shows the devices of
// the network namespace and /sys/fs/bpf is a BPF file system of its own. Neither
// has a name: they end with the thread, its children and the file descriptor.
type namespace struct {
	file *os.File
	work chan func()
}

// newNamespace makes a network namespace with its loopback down.
func newNamespace() (*namespace, error) {
	ns := &namespace{work: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that
		// none ever returns to the pool in the wrong namespace.
		runtime.LockOSThread()
		err := ns.enter()
		ready <- err
		if err != nil {
			return
		}
		for fn := range ns.work {
			fn()
		}
	}()
	return ns, <-ready
}

func (ns *namespace) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700"); err != nil {
		return fmt.Errorf("mount a BPF file system: %w", err)
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("network namespace of the thread: %w", err)
	}
	ns.file = f
	return nil
}

// do runs fn on the namespace's thread. A child process that fn starts is in
// the namespace too. fn must not call do of the same namespace.
func (ns *namespace) do(fn func() error) error {
	done := make(chan error)
	ns.work <- func() { done <- fn() }
	return <-done
}

// run runs fn on a new thread in the network namespace, with the mounts of the
// process, and returns at once. The thread ends with fn.
func (ns *namespace) run(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET)
		if err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return done
}

func (ns *namespace) close() error {
	close(ns.work)
	return ns.file.Close()
}
