// SPDX-License-Identifier: GPL-2.0-only

// Package tinyllama has what tests and the lab need of llama.cpp: the real server, from the tree that scripts/llama.sh
// makes, and a model that is as small as can be.
package tinyllama

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNone says that there is no tree with the server.
var ErrNone = errors.New("no tree with llama-server: scripts/llama.sh makes one")

// server is the program, in the tree's root.
const server = "usr/bin/llama-server"

// root is that of the tree: in $L2D_LLAMA, or where the script puts it.
func root() (string, error) {
	tree := os.Getenv("L2D_LLAMA")
	if tree == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrNone, err)
		}
		tree = filepath.Join(cache, "l2d", "llama")
	}
	path := filepath.Join(tree, "root")
	_, err := os.Stat(filepath.Join(path, server))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNone
	}
	return path, err
}

// Install makes a program in dir that is the real server, which sees dir with what is mounted there, and nothing else of the host. undo
// takes that back; it fails while the server runs. It needs root.
func Install(dir string) (program string, undo func() error, err error) {
	root, err := root()
	if err != nil {
		return "", nil, err
	}
	program = filepath.Join(dir, "llama-server")
	script := fmt.Sprintf("#!/bin/sh\nexec chroot %s /%s \"$@\"\n", root, server)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		return "", nil, err
	}
	inside := filepath.Join(root, dir)
	if err := os.MkdirAll(inside, 0o755); err != nil {
		return "", nil, err
	}
	if err := unix.Mount(dir, inside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", nil, errors.Join(fmt.Errorf("mount %s: %w", inside, err), os.Remove(inside))
	}
	return program, func() error { return errors.Join(unix.Unmount(inside, unix.MNT_DETACH), os.Remove(inside)) }, nil
}
