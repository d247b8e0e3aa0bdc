// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// stage writes the files of a unit below a directory, for root alone.
func stage(dir string, u *Unit) error {
	for i := range u.Files {
		path := At(dir, u.Files[i].Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, u.Files[i].Content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes the directories of a unit. Those that are there get their mode and owner.
func makeDirs(u *Unit) error {
	for _, d := range u.Dirs {
		if err := os.MkdirAll(filepath.Dir(d.Path), 0o755); err != nil {
			return err
		}
		uid, gid, err := ids(d.Owner, d.Group)
		if err != nil {
			return err
		}
		if err := os.Mkdir(d.Path, d.Mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err := os.Lstat(d.Path)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s: is not a directory", d.Path)
		}
		if err := errors.Join(os.Lchown(d.Path, uid, gid), os.Chmod(d.Path, d.Mode)); err != nil {
			return err
		}
	}
	return nil
}

// installFiles installs the files of a unit, and tells whether any of those that its daemon reads
// has another content now.
func installFiles(u *Unit) (changed bool, err error) {
	for i := range u.Files {
		differs, err := install(&u.Files[i])
		if err != nil {
			return changed, err
		}
		changed = changed || differs && u.Files[i].Path != unitPath(u.Name)
	}
	return changed, nil
}

// removeFiles removes the files of a unit that another one does not have; nil has none.
func removeFiles(old, u *Unit) error {
	if old == nil {
		return nil
	}
	for i := range old.Files {
		if path := old.Files[i].Path; u.File(path) == nil {
			if err := durable.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// install replaces a file in one step. It tells whether its content was another one.
func install(f *File) (changed bool, err error) {
	uid, gid, err := ids(f.Owner, f.Group)
	if err != nil {
		return false, err
	}
	have, err := os.ReadFile(f.Path)
	changed = err != nil || string(have) != string(f.Content)
	if !changed {
		if is, err := ownershipOf(f.Path); err == nil && is == ownership(f.Mode, f.Owner, f.Group) {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return false, err
	}
	return changed, durable.WriteFileAs(f.Path, f.Content, f.Mode, uid, gid)
}

// credentials are the numbers of a user and a group; without a group it is the user's own.
func credentials(name, group string) (uid, gid int, err error) {
	if uid, gid, err = ids(name, group); err != nil || name == "" || group != "" {
		return uid, gid, err
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// ids are the numbers of a user and a group; empty is root.
func ids(owner, group string) (uid, gid int, err error) {
	if owner != "" {
		u, err := user.Lookup(owner)
		if err != nil {
			return 0, 0, err
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return 0, 0, err
		}
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, err
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, nil
}

// whose are the owner, the group and the mode of a file that is there.
func whose(path string) (owner, group string, mode fs.FileMode, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", "", 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	owner, group = strconv.Itoa(int(st.Uid)), strconv.Itoa(int(st.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return owner, group, fs.FileMode(st.Mode & 0o777), nil
}

// ownershipOf is that of a file that is there.
func ownershipOf(path string) (string, error) {
	owner, group, mode, err := whose(path)
	return ownership(mode, owner, group), err
}
