// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// textFile, in the directory of the control socket, has the ruleset that is in force
// if that is not what the file of the configuration says: then it is a revision's.
const textFile = "ruleset.nft"

// PrepareText is [Prepare] with the text of a ruleset in place of the file that the
// configuration names.
func PrepareText(ctx context.Context, cfg *config.Config, text string) (*Plan, error) {
	links, err := ReadLinks()
	if err != nil {
		return nil, err
	}
	return prepare(ctx, cfg, links, func(ctx context.Context, cfg *config.Config, links Links) (*Plan, error) {
		return PrepareTextFor(ctx, cfg, text, links)
	})
}

// PrepareTextFor is [PrepareFor] likewise.
func PrepareTextFor(ctx context.Context, cfg *config.Config, text string, links Links) (*Plan, error) {
	if cfg.Dataplane.Kernel() {
		return PrepareFor(ctx, cfg, links)
	}
	p, err := newPlan(ctx, cfg, links, filepath.Join(cfg.Control.RunDir(), textFile), text)
	if err != nil {
		return nil, err
	}
	return p, p.finish(ctx, links)
}

func writeText(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// KeepText notes what is in force with a plan, for a [Fallback] when no daemon
// knows it any more.
func (p *Plan) KeepText() error {
	path := filepath.Join(p.Config.Control.RunDir(), textFile)
	if p.file != "" {
		return writeText(path, p.Text)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// InForce is the file that has the ruleset that a daemon with a configuration has put
// in force, as it may have been changed since.
func InForce(cfg *config.Config) string {
	path := filepath.Join(cfg.Control.RunDir(), textFile)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	return cfg.Dataplane.Ruleset
}

// PrepareInForce is [Prepare] for a dataplane that a daemon has left running.
func PrepareInForce(ctx context.Context, cfg *config.Config) (*Plan, error) {
	path := InForce(cfg)
	if path == cfg.Dataplane.Ruleset {
		return Prepare(ctx, cfg)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ruleset in force: %w", err)
	}
	return PrepareText(ctx, cfg, string(text))
}
