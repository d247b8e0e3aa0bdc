// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: it ends with its last user.
type namespace struct {
	file *os.File
}

func newNamespace() (*namespace, error) {
	n := &namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return n, err
}

// do runs fn on a thread in the namespace; sockets and processes that fn makes
// stay there.
func (n *namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread that ends with it.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		done <- fn()
	}()
	return <-done
}

// setSysctls sets "name=value" below /proc/sys/net of the thread's namespace.
func setSysctls(list ...string) error {
	for _, s := range list {
		name, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	return nil
}

// bpfFS mounts a BPF file system that has no place: it is reached by an open
// directory, and gone with that.
func bpfFS() (*os.File, error) {
	dir, err := os.MkdirTemp("", "l2d-diff-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir)
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=700"); err != nil {
		return nil, fmt.Errorf("mount a BPF file system: %w", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	return os.Open(dir)
}
