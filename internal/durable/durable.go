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
// the process's own.
func WriteFileAs(path string, b []byte, mode fs.FileMode, uid, gid int) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*"+unfinished)
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(mode) // CreateTemp has made it for its owner alone
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(dir)
}

// unfinished ends the name of a file that is not written yet.
const unfinished = ".new"

// Clean removes what processes have left that were killed while they wrote a file. Nobody
// may be writing it.
func Clean(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".") && strings.HasSuffix(e.Name(), unfinished) {
			err = errors.Join(err, os.Remove(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	return err
}

// SyncDir has the names in a directory on disk when it returns.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
