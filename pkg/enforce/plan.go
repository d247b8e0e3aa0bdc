// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"time"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/config"
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
	// Tables of the kernel's nftables that the ruleset was read from, for a
	// ruleset that is the kernel's.
	Tables []*nft.Table
	// Read is when the ruleset was read.
	Read time.Time
	// Waiting are optional interfaces that the host does not have.
	Waiting []string

	// awake are the tables that the kernel enforces, too; asleep those that it
	// has left to the dataplane already.
	awake, asleep []*nft.Table
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
	return PrepareFor(ctx, cfg, links)
}

// PrepareFor is Prepare for links that were read already, of which any may be
// missing: what a running dataplane needs when interfaces come and go.
func PrepareFor(ctx context.Context, cfg *config.Config, links Links) (*Plan, error) {
	p, err := newPlan(ctx, cfg, links)
	if err != nil {
		return nil, err
	}
	for _, i := range cfg.Dataplane.Interfaces {
		index, ok := links[i.Name]
		if !ok {
			p.Waiting = append(p.Waiting, i.Name)
			continue
		}
		p.Loader.Interfaces = append(p.Loader.Interfaces, loader.Interface{Name: i.Name, Index: index, XDP: i.XDP, AQM: i.AQM})
	}
	return p, p.checkMirror()
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
	return newPlan(ctx, &cfg, links)
}

// newPlan compiles the ruleset for a dataplane without interfaces.
func newPlan(ctx context.Context, cfg *config.Config, links Links) (*Plan, error) {
	p := &Plan{Config: cfg, Links: links, Read: time.Now()}
	var err error
	if cfg.Dataplane.Kernel() {
		err = p.readKernel(ctx)
	} else {
		p.Ruleset, err = nft.ReadFile(ctx, cfg.Dataplane.Ruleset, links.nft())
	}
	if err != nil {
		return nil, err
	}
	options := policy.Options{Links: links, Live: cfg.Dataplane.Kernel()}
	if p.Program, err = policy.Compile(p.Ruleset, options); err != nil {
		return nil, locate(cfg.Dataplane.Ruleset, err)
	}
	p.Loader = loader.Config{
		PinPath:     cfg.Dataplane.PinPath,
		MaxFlows:    cfg.Conntrack.MaxFlows,
		MaxHalfOpen: cfg.Conntrack.MaxHalfOpen,
		Timeouts:    cfg.Conntrack.Timeouts,
		Policy:      p.Program,
	}
	return p, nil
}

func tableNames(rs *nft.Ruleset) []string {
	names := make([]string, 0, len(rs.Tables))
	for _, t := range rs.Tables {
		names = append(names, t.String())
	}
	return names
}
