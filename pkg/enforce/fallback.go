// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// fallbackFile, in the directory of the control socket, lists the tables that
// LoadFallback put into the kernel's nftables, one "family name" a line.
const fallbackFile = "nftables-fallback"

// Fallback has the kernel's nftables enforce the ruleset of a configuration, so
// that the dataplane can go: adopted tables wake, and a file is loaded, with the
// elements that the sets of the running program have by now; without a program,
// or if nft does not take them, without. When it fails, nothing has changed but
// such elements.
func Fallback(ctx context.Context, cfg *config.Config, p *policy.Program, maps Maps) error {
	runDir := cfg.Control.RunDir()
	if cfg.Dataplane.Kernel() {
		if err := returnElements(ctx, p, maps); err != nil {
			slog.Warn("elements that rules added to sets are lost", "err", err)
		}
		_, err := Wake(ctx, runDir)
		return err
	}
	links, err := ReadLinks()
	if err != nil {
		return err
	}
	ruleset := InForce(cfg)
	rs, err := nft.ReadFile(ctx, ruleset, links.nft())
	if err != nil {
		return err
	}
	tables := tableNames(rs)
	if p != nil {
		elements, err := runtimeElements(p, rs, func(*policy.Set) bool { return true }, maps)
		if err == nil {
			err = loadFallback(ctx, ruleset, tables, runDir, elements)
		}
		if err == nil {
			return DropMirrors(ctx)
		}
		slog.Warn("elements that were added to sets are lost", "err", err)
	}
	if err := LoadFallback(ctx, ruleset, tables, runDir); err != nil {
		return err
	}
	return DropMirrors(ctx)
}

// returnElements gives the kernel's sets the elements that rules have added to
// the dataplane's.
func returnElements(ctx context.Context, p *policy.Program, maps Maps) error {
	if p == nil {
		return nil
	}
	rs, err := nft.ReadSets(ctx, func(t *nft.Table) bool { return !isMirror(t) })
	if err != nil {
		return err
	}
	elements, err := runtimeElements(p, rs, (*policy.Set).Dynamic, maps)
	if err != nil || elements == "" {
		return err
	}
	return runNFT(ctx, "/", elements)
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
	return loadFallback(ctx, ruleset, tables, runDir, "")
}

// loadFallback runs further commands in the same transaction.
func loadFallback(ctx context.Context, ruleset string, tables []string, runDir, commands string) error {
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
	fmt.Fprintf(&b, "include \"%s\"\n%s", abs, commands)
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
	tables := lines(text)
	for _, t := range tables {
		fmt.Fprintf(&b, "table %s\ndelete table %s\n", t, t)
	}
	if err := runNFT(ctx, "/", b.String()); err != nil {
		return nil, fmt.Errorf("remove the ruleset from nftables: %w", err)
	}
	return tables, os.Remove(marker)
}

// fallbackTables are those that LoadFallback loaded.
func fallbackTables(runDir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(runDir, fallbackFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return lines(text), nil
}

func lines(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
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
