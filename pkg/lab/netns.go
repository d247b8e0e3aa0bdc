// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 keeps named network namespaces.
const netnsDir = "/run/netns"

// Namespace is a named network namespace.
type Namespace struct {
	name string
	file *os.File
}

// createNamespace makes the namespace name, as "ip netns add" would.
func createNamespace(name string) (*Namespace, error) {
	if err := prepareNetnsDir(); err != nil {
		return nil, err
	}
	path := filepath.Join(netnsDir, name)
	mountPoint, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("create namespace: %w", err)
	}
	mountPoint.Close()

	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create namespace %s: %w", name, err), removeNamespace(name))
	}
	ns, err := openNamespace(name)
	if err != nil {
		return nil, errors.Join(err, removeNamespace(name))
	}
	return ns, nil
}

// openNamespace opens an existing namespace.
func openNamespace(name string) (*Namespace, error) {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	return &Namespace{name: name, file: f}, nil
}

// prepareNetnsDir makes netnsDir a shared mount, as iproute2 does before its
// first use: were it to do so later, it would hide our mounts below its own.
func prepareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return wrap(err, "share "+netnsDir)
	}
	if err := unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", netnsDir, err)
	}
	return wrap(unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, ""), "share "+netnsDir)
}

// removeNamespace removes the name. The namespace ends with its last user.
func removeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Name returns the name under /run/netns.
func (n *Namespace) Name() string { return n.name }

// Fd returns a file descriptor of the namespace, valid until it is closed.
func (n *Namespace) Fd() int { return int(n.file.Fd()) }

// Close gives up the handle; the namespace itself stays.
func (n *Namespace) Close() error { return n.file.Close() }

// Do runs fn on a thread that is in the namespace. What fn opens or starts there
// (sockets, processes) stays in the namespace; goroutines that it starts do not.
func (n *Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.name, err)
		}
		return fn()
	})
}

// onThread runs fn on a locked thread and puts the thread back into the network
// namespace it came from.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = fn()
		// A thread that cannot return stays locked, and ends with its goroutine.
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		} else {
			err = errors.Join(err, fmt.Errorf("leave namespace: %w", back))
		}
		done <- err
	}()
	return <-done
}

// processesIn returns the ids of the processes, other than this one, that are in
// one of the named namespaces.
func processesIn(names []string) ([]int, error) {
	wanted := map[uint64]bool{}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(netnsDir, name), &st); err == nil {
			wanted[st.Ino] = true
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(filepath.Join("/proc", e.Name(), "ns/net"), &st) == nil && wanted[st.Ino] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
