// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"maps"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// Plan is a configuration made ready for the loader.
type Plan struct {
	Config  *config.Config
	Links   Links
	Ruleset *nft.Ruleset
	Program *policy.Program
	// Loader is what to apply.
	Loader loader.Config
	// Waiting are optional interfaces that the host does not have.
	Waiting []string
}

// Prepare reads the ruleset that a configuration names, as it reads with the
// interfaces that exist now, and compiles it. It changes nothing. Every error
// is one of input: of the file, the ruleset, or the host they are for.
func Prepare(ctx context.Context, cfg *config.Config) (*Plan, error) {
	links, err := ReadLinks()
	if err != nil {
		return nil, err
	}
	if err := cfg.MissingInterfaces(links.Names()); err != nil {
		return nil, err
	}
	p := &Plan{Config: cfg, Links: links}
	if p.Ruleset, p.Program, err = compile(ctx, cfg.Dataplane.Ruleset, links); err != nil {
		return nil, err
	}
	p.Loader = loader.Config{
		PinPath:     cfg.Dataplane.PinPath,
		MaxFlows:    cfg.Conntrack.MaxFlows,
		MaxHalfOpen: cfg.Conntrack.MaxHalfOpen,
		Timeouts:    flow.Timeouts(cfg.Conntrack.Timeouts),
		Policy:      p.Program,
	}
	for _, i := range cfg.Dataplane.Interfaces {
		index, ok := links[i.Name]
		if !ok {
			p.Waiting = append(p.Waiting, i.Name)
			continue
		}
		p.Loader.Interfaces = append(p.Loader.Interfaces, loader.Interface{Name: i.Name, Index: index, XDP: i.XDP, AQM: i.AQM})
	}
	return p, nil
}

// PrepareRuleset compiles a ruleset file alone. The plan has the defaults of a
// configuration and no interface: it can be verified, not applied.
func PrepareRuleset(ctx context.Context, path string) (*Plan, error) {
	links, err := ReadLinks()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.Dataplane.Ruleset = path
	p := &Plan{Config: &cfg, Links: links}
	if p.Ruleset, p.Program, err = compile(ctx, path, links); err != nil {
		return nil, err
	}
	p.Loader = loader.Config{
		PinPath:     cfg.Dataplane.PinPath,
		MaxFlows:    cfg.Conntrack.MaxFlows,
		MaxHalfOpen: cfg.Conntrack.MaxHalfOpen,
		Timeouts:    flow.Timeouts(cfg.Conntrack.Timeouts),
		Policy:      p.Program,
	}
	return p, nil
}

func compile(ctx context.Context, path string, links Links) (*nft.Ruleset, *policy.Program, error) {
	rs, err := nft.ReadFile(ctx, path, links.nft())
	if err != nil {
		return nil, nil, err
	}
	program, err := policy.Compile(rs, policy.Options{Links: maps.Clone(links)})
	if err != nil {
		return nil, nil, err
	}
	return rs, program, nil
}
