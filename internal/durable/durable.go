// SPDX-License-Identifier: GPL-2.0-only

// Package durable writes files that outlive a crash.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFile replaces a file in one step, for its owner alone: after a crash it is the
// one before or this one, whole. It is on disk when this returns.
func WriteFile(path string, b []byte) error {
	return WriteFileAs(path, b, 0o600, -1, -1)
}

// WriteFileAs is [WriteFile] with a mode and an owner, which it has from the start; -1 is
// the process's own. There is one writer of a path at a time: what one that was killed has left
// beside it has the name that the next one takes.
func WriteFileAs(path string, b []byte, mode fs.FileMode, uid, gid int) error {
	dir, draft := filepath.Dir(path), path+unfinished
	if err := Clean(path); err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(mode) // it was made for its owner alone
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return SyncDir(dir)
}

// unfinished ends the name of a file that is not written yet.
const unfinished = ".new"

// Clean removes what a process has left that was killed while it wrote a file. Nobody may be
// writing it.
func Clean(path string) error { return remove(path + unfinished) }

// CleanDir is [Clean] of all files in a directory.
func CleanDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name, draft := strings.CutSuffix(e.Name(), unfinished); draft && !e.IsDir() {
			err = errors.Join(err, Clean(filepath.Join(dir, name)))
		}
	}
	return err
}

// Remove removes a file, and what was to be the next one. One that is not there is no error.
func Remove(path string) error { return errors.Join(remove(path), Clean(path)) }

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir has the names in a directory on disk when it returns.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
