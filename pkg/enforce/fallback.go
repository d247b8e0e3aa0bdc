// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// fallbackFile, in the directory of the control socket, lists the tables that
// LoadFallback put into the kernel's nftables, one "family name" a line.
const fallbackFile = "nftables-fallback"

// Fallback has the kernel's nftables enforce a configuration's ruleset, so that the
// dataplane can go: adopted tables wake, and a file is loaded. Elements that its
// sets have by now go with it: maps gives the map of a name to a function. When
// it fails, nothing has changed but such elements.
func Fallback(ctx context.Context, cfg *config.Config, maps func(name string, with func(*ebpf.Map) error) error) error {
	runDir := cfg.Control.RunDir()
	if cfg.Dataplane.Kernel() {
		_, err := Wake(runDir)
		return err
	}
	ruleset := cfg.Dataplane.Ruleset
	tables, err := Tables(ctx, ruleset)
	if err != nil {
		return err
	}
	return LoadFallback(ctx, ruleset, tables, runDir)
}

// KeepFallback leaves the tables that LoadFallback loaded to whoever has them
// now: they are the ruleset.
func KeepFallback(runDir string) error {
	err := os.Remove(filepath.Join(runDir, fallbackFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// LoadFallback loads a ruleset file into the nftables of the calling process's
// network namespace, in one transaction in which tables of the same names are
// replaced. The tables, each "family name", are remembered below runDir for
// DropFallback. When nft refuses, nothing has changed.
func LoadFallback(ctx context.Context, ruleset string, tables []string, runDir string) error {
	abs, err := filepath.Abs(ruleset)
	if err != nil {
		return fmt.Errorf("ruleset %s: %w", ruleset, err)
	}
	if strings.ContainsAny(abs, "\"\n") {
		return fmt.Errorf("ruleset %q: nft cannot include a path with a quote or a line break", abs)
	}
	var b strings.Builder
	for _, t := range tables {
		// A table must exist to be deleted.
		fmt.Fprintf(&b, "table %s\ndelete table %s\n", t, t)
	}
	fmt.Fprintf(&b, "include \"%s\"\n", abs)
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return err
	}
	marker := filepath.Join(runDir, fallbackFile)
	before, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// First the note, then the tables: a note of tables that are not there
	// does no harm.
	if err := os.WriteFile(marker, []byte(strings.Join(tables, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := runNFT(ctx, filepath.Dir(abs), b.String()); err != nil {
		undo := os.Remove
		if before != nil {
			undo = func(name string) error { return os.WriteFile(name, before, 0o600) }
		}
		return errors.Join(fmt.Errorf("load the ruleset into nftables: %w", err), undo(marker))
	}
	return nil
}

// DropFallback deletes the tables that LoadFallback loaded, and returns which:
// the dataplane enforces them again.
func DropFallback(ctx context.Context, runDir string) ([]string, error) {
	marker := filepath.Join(runDir, fallbackFile)
	text, err := os.ReadFile(marker)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	tables := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	for _, t := range tables {
		fmt.Fprintf(&b, "table %s\ndelete table %s\n", t, t)
	}
	if err := runNFT(ctx, "/", b.String()); err != nil {
		return nil, fmt.Errorf("remove the ruleset from nftables: %w", err)
	}
	return tables, os.Remove(marker)
}

// runNFT runs commands as one transaction. Relative includes start at dir.
func runNFT(ctx context.Context, dir, commands string) error {
	cmd := exec.CommandContext(ctx, "nft", "-I", dir, "-f", "-")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(commands)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if s := strings.TrimSpace(stderr.String()); s != "" {
			return errors.New(s)
		}
		return fmt.Errorf("nft: %w", err)
	}
	return nil
}
