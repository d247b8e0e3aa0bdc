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
	return commandOn(ctx, "", args...)
}

// commandOn is [command] with a text to read.
func commandOn(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "nft", args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
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

// fromStdin is what nft calls a file that it reads a text instead of.
const fromStdin = "/dev/stdin"

// loadText is loadFile of a text that is in no file, with the name that one would have.
func loadText(ctx context.Context, name, text string) error {
	// A line's end, so that there is something to read of an empty ruleset, too.
	_, err := commandOn(ctx, text+"\n", "-I", filepath.Dir(name), "-f", "-")
	if err != nil && strings.Contains(err.Error(), fromStdin) {
		err = errors.New(strings.ReplaceAll(err.Error(), fromStdin, name))
	}
	return err
}
