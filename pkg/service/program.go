// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// searchPath is where programs are looked for beside PATH: daemons are root's.
var searchPath = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/run/current-system/sw/bin"}

// Program is the path of a service's program: the one that is declared, or that of a name. What is not
// found is the name: [Manager] refuses it.
func Program(s *config.Service, name string) string {
	if s.Binary != "" {
		return s.Binary
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range searchPath {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	return name
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// sameFile tells whether a file is the one that was seen before, unchanged; nil if none was.
func sameFile(before, now os.FileInfo) bool {
	return before != nil && os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

// Run runs a command, such as a daemon's checker, and returns what it prints. The error of a
// command that fails is what it said.
func Run(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	text := strings.TrimSpace(out.String())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return text, fmt.Errorf("%s: %w", argv[0], ctx.Err())
	case errors.As(err, &exit) && text != "":
		return text, errors.New(text)
	case err != nil:
		return text, fmt.Errorf("%s: %w", argv[0], err)
	}
	return text, nil
}
