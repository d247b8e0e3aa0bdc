// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// command runs nft in the calling thread's network namespace.
func command(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("the program nft is needed to read a ruleset and was not found in PATH: install nftables: %w", err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("nft: %w", ctx.Err())
	case err != nil && stderr.Len() > 0:
		return nil, errors.New(strings.TrimSpace(stderr.String()))
	case err != nil:
		return nil, fmt.Errorf("nft %s: %w", strings.Join(args, " "), err)
	}
	return stdout.Bytes(), nil
}

func loadFile(ctx context.Context, path string) error {
	_, err := command(ctx, "-I", filepath.Dir(path), "-f", path)
	return err
}
