// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	stateDir  = "/run/l2d-lab"
	toolsDir  = "/var/lib/l2d-lab" // executables: /run may be mounted noexec
	stateFile = "state.json"
	lockFile  = "lock"
	bpffs     = "/sys/fs/bpf"
)

var validID = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// State is what is known of a lab from outside.
type State struct {
	// ID is the lab's name.
	ID string `json:"id"`
	// Created is when it was brought up.
	Created time.Time `json:"created"`
	// Owned tells that the process that made the lab is still using it.
	Owned bool `json:"owned"`
}

func newID() string { return strings.ToLower(rand.Text())[:6] }

func labDir(id string) string   { return filepath.Join(stateDir, id) }
func toolDir(id string) string  { return filepath.Join(toolsDir, id) }
func pinDir(id string) string   { return filepath.Join(bpffs, "l2d-"+id) }
func nsPrefix(id string) string { return "l2d-" + id + "-" }

// claim creates the lab's directory and takes its lock, before anything else
// of the lab exists. The lock goes with the process.
func claim(id string) (*os.File, error) {
	if !validID.MatchString(id) {
		return nil, fmt.Errorf("lab name %q: want 1 to 16 lower-case letters and digits", id)
	}
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(labDir(id), 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("a lab named %s exists: \"l2ctl lab down %s\" removes it", id, id)
		}
		return nil, err
	}
	lock, err := writeState(id)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(labDir(id)))
	}
	return lock, nil
}

func writeState(id string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(labDir(id), lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = wrap(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), "lock "+lock.Name())
	if err == nil {
		var state []byte
		if state, err = json.Marshal(State{ID: id, Created: time.Now()}); err == nil {
			err = os.WriteFile(filepath.Join(labDir(id), stateFile), state, 0o644)
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// List returns the labs of this machine, by name.
func List() ([]State, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var labs []State
	for _, e := range entries {
		// A lab whose creator was killed at its first step has no state yet.
		s := State{ID: e.Name()}
		if data, err := os.ReadFile(filepath.Join(stateDir, e.Name(), stateFile)); err == nil {
			if err := json.Unmarshal(data, &s); err != nil {
				return nil, fmt.Errorf("state of lab %s: %w", e.Name(), err)
			}
		}
		s.ID, s.Owned = e.Name(), locked(e.Name())
		labs = append(labs, s)
	}
	return labs, nil
}

func locked(id string) bool {
	f, err := os.Open(filepath.Join(labDir(id), lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Remove removes everything that belongs to the lab id, whoever made it and
// however far that got: processes, pins, namespaces and files.
func Remove(id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("lab name %q: want 1 to 16 lower-case letters and digits", id)
	}
	names, err := namespacesOf(id)
	if err != nil {
		return err
	}
	errs := []error{
		endProcesses(names),
		wrap(os.RemoveAll(pinDir(id)), "remove pins"),
	}
	for _, name := range names {
		errs = append(errs, removeNamespace(name))
	}
	errs = append(errs, os.RemoveAll(toolDir(id)), os.RemoveAll(labDir(id)))
	for _, parent := range []string{toolsDir, stateDir} {
		// It goes with its last lab.
		if err := os.Remove(parent); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func namespacesOf(id string) ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), nsPrefix(id)) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// endProcesses ends what runs in the named namespaces. They belong to the lab, so
// everything in them does.
func endProcesses(names []string) error {
	if len(names) == 0 {
		return nil
	}
	deadline := time.Now().Add(stopTime)
	for force := false; ; {
		pids, err := processesIn(names)
		if err != nil || len(pids) == 0 {
			return err
		}
		sig := syscall.SIGTERM
		if force {
			sig = syscall.SIGKILL
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
		gone := func() bool {
			left, err := processesIn(names)
			return err == nil && !slices.ContainsFunc(left, func(p int) bool { return slices.Contains(pids, p) })
		}
		for end := time.Now().Add(time.Second); !gone() && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if time.Now().After(deadline) {
			if force {
				return fmt.Errorf("processes %v do not end", pids)
			}
			deadline = deadline.Add(stopTime)
			force = true
		}
	}
}

// mountBPFFS mounts the BPF file system unless it is mounted.
func mountBPFFS() error {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err != nil {
		return fmt.Errorf("%s: %w", bpffs, err)
	}
	if st.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	return wrap(unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"), "mount "+bpffs)
}
