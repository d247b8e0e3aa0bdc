// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The dataplane's directory:
//
//	state/   maps that outlive a policy
//	policy/  maps of the policy in force, among them its identity
//	prog/    programs, for bpftool; the links hold them anyway
//	links/   INTERFACE_xdp, INTERFACE_ingress, INTERFACE_egress
//	kept/    sets of the policy before, as long as that may come back
//	next*/   what is to take their place, while a replacement goes on
const (
	dirState        = "state"
	dirNextState    = "next_state" // only maps that are made anew
	dirPolicy       = "policy"
	dirNext         = "next"
	dirPrograms     = "prog"
	dirNextPrograms = "next_prog"
	dirLinks        = "links"
	dirKept         = "kept"
)

// checkBPFFS refuses a path that is on no BPF file system.
func checkBPFFS(path string) error {
	dir := path
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			if st.Type != unix.BPF_FS_MAGIC {
				return fmt.Errorf("pin path %s is not on a BPF file system: mount one (mount -t bpf bpf /sys/fs/bpf)", path)
			}
			return nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, unix.ENOENT) || parent == dir {
			return fmt.Errorf("pin path %s: %w", path, err)
		}
		dir = parent
	}
}

// openMaps opens all maps that are pinned in a directory, none if there is no
// such directory.
func openMaps(dir string) (_ map[string]*ebpf.Map, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	maps := map[string]*ebpf.Map{}
	defer func() {
		if err != nil {
			closeMaps(maps)
		}
	}()
	for _, e := range entries {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, e.Name()), nil)
		if err != nil {
			return nil, fmt.Errorf("pinned map %s: %w", filepath.Join(dir, e.Name()), err)
		}
		maps[e.Name()] = m
	}
	return maps, nil
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}

// pinMaps pins maps into a directory that it makes anew.
func pinMaps(dir string, maps map[string]*ebpf.Map) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, m := range maps {
		if name == identityMap {
			continue
		}
		if err := repin(m, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	// Last, as it says that all is there.
	if m := maps[identityMap]; m != nil {
		if err := repin(m, filepath.Join(dir, identityMap)); err != nil {
			return fmt.Errorf("pin map %s: %w", identityMap, err)
		}
	}
	return nil
}

// pinnable are maps and programs.
type pinnable[T any] interface {
	Clone() (T, error)
	Pin(path string) error
	Close() error
}

// repin pins an object at a path, wherever it may have been pinned before: the
// library would move the pin, which may be another process's view of it.
func repin[T pinnable[T]](object T, path string) error {
	clone, err := object.Clone() // a clone knows of no pin
	if err != nil {
		return err
	}
	defer clone.Close()
	return clone.Pin(path)
}

// stagePins pins what is new beside what is in force.
func (r *replacement) stagePins() error {
	path := func(dir string) string { return filepath.Join(r.cfg.PinPath, dir) }
	r.undos = append(r.undos, func() error {
		return errors.Join(os.RemoveAll(path(dirNext)), os.RemoveAll(path(dirNextPrograms)), os.RemoveAll(path(dirNextState)))
	})
	policy, anew := map[string]*ebpf.Map{}, map[string]*ebpf.Map{}
	if err := os.MkdirAll(path(dirState), 0o700); err != nil {
		return err
	}
	for name, m := range r.loaded.maps {
		switch {
		case !isStateMap(name):
			policy[name] = m
		case r.isAnew(name):
			anew[name] = m
		case r.pinned[name] == nil:
			pin := filepath.Join(path(dirState), name)
			if err := repin(m, pin); err != nil {
				return fmt.Errorf("pin map %s: %w", name, err)
			}
			r.undos = append(r.undos, func() error { return os.Remove(pin) })
		}
	}
	if len(anew) > 0 {
		if err := pinMaps(path(dirNextState), anew); err != nil {
			return err
		}
	}
	if !r.same {
		if err := pinMaps(path(dirNext), policy); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(path(dirNextPrograms)); err != nil {
		return err
	}
	if err := os.MkdirAll(path(dirNextPrograms), 0o700); err != nil {
		return err
	}
	for name, p := range r.loaded.programs {
		if err := repin(p, filepath.Join(path(dirNextPrograms), name)); err != nil {
			return fmt.Errorf("pin program %s: %w", name, err)
		}
	}
	return nil
}

// movePins puts the staged pins in the place of those in force.
func (r *replacement) movePins() error {
	path := func(dir string) string { return filepath.Join(r.cfg.PinPath, dir) }
	for name := range r.anew {
		if err := os.Rename(filepath.Join(path(dirNextState), name), filepath.Join(path(dirState), name)); err != nil {
			return err
		}
		r.undos = append(r.undos, func() error {
			pin := filepath.Join(path(dirState), name)
			return errors.Join(os.Remove(pin), repin(r.pinned[name], pin))
		})
	}
	if err := os.RemoveAll(path(dirNextState)); err != nil {
		return err
	}
	if !r.same {
		if err := replaceDir(path(dirNext), path(dirPolicy)); err != nil {
			return err
		}
		r.undos = append(r.undos, func() error {
			return errors.Join(pinMaps(path(dirNext), r.oldPolicy), replaceDir(path(dirNext), path(dirPolicy)))
		})
	}
	return replaceDir(path(dirNextPrograms), path(dirPrograms))
}

// replaceDir puts the directory from in the place of to, if there is one, in one step: a crash leaves either, whole. What
// was before is removed, at the latest before the next replacement: it is replaced all the same if that fails.
func replaceDir(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: from, New: to, Err: err}
	}
	if err := os.RemoveAll(from); err != nil {
		slog.Warn("pins that were replaced are there until the next change", "err", err)
	}
	return nil
}

// recoverPins ends what was cut off: what was staged goes, unless it is of the first policy of all. Flow tables
// that were to take the place of others stay: programs may run on them.
func recoverPins(pinPath string) error {
	policy, next := filepath.Join(pinPath, dirPolicy), filepath.Join(pinPath, dirNext)
	if err := os.RemoveAll(filepath.Join(pinPath, dirNextPrograms)); err != nil {
		return err
	}
	if _, err := os.Stat(policy); err == nil {
		return os.RemoveAll(next)
	}
	if _, err := os.Stat(next); err != nil {
		return nil
	}
	return os.Rename(next, policy)
}
