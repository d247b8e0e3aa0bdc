// SPDX-License-Identifier: GPL-2.0-only

// Package durable writes files that outlive a crash.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces a file in one step, for its owner alone: after a crash it is the
// one before or this one, whole. It is on disk when this returns.
func WriteFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
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

// SyncDir has the names in a directory on disk when it returns.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
