// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// Plan is a configuration made ready for the loader.
type Plan struct {
	Config  *config.Config
	Links   Links
	Ruleset *nft.Ruleset
	// Text is the ruleset as a file of its own, however it was written: with it
	// [PrepareText] comes to the same. It is empty if the ruleset is the kernel's.
	Text    string
	Program *policy.Program
	// Loader is what to apply.
	Loader loader.Config
	// Read is when the ruleset was read, Took what that and compiling it took.
	Read time.Time
	Took time.Duration
	// NTuples are where the rules of each interface are.
	NTuples map[string][]ntuple.Placed
	// Waiting are optional interfaces that the host does not have.
	Waiting []string

	shapers map[string]*loader.Shaper // by interface
	// given is the text that the ruleset was read from, if not from what the configuration names, and file
	// the one that has it when it is in force.
	file, given string
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
	return prepare(ctx, cfg, links, PrepareFor)
}

// prepare prepares a configuration with all that is wrong, as far as it could be read.
func prepare(ctx context.Context, cfg *config.Config, links Links, compile func(context.Context, *config.Config, Links) (*Plan, error)) (*Plan, error) {
	missing := cfg.MissingInterfaces(links.Names())
	if !cfg.Sound("dataplane.ruleset", "dataplane.interfaces", "dataplane.sets") {
		return nil, missing
	}
	p, err := compile(ctx, cfg, links)
	if err = errors.Join(missing, err); err != nil {
		return nil, err
	}
	return p, nil
}

// PrepareFor is Prepare for links that were read already, of which any may be
// missing: what a running dataplane needs when interfaces come and go.
func PrepareFor(ctx context.Context, cfg *config.Config, links Links) (*Plan, error) {
	p, err := newPlan(ctx, cfg, links, "", "")
	if err != nil {
		return nil, err
	}
	return p, p.finish(ctx, links)
}

// finish makes a ruleset that is compiled a plan for an attached dataplane.
func (p *Plan) finish(ctx context.Context, links Links) error {
	if err := p.attachTo(links); err != nil {
		return err
	}
	return p.checkMirror(ctx)
}

// attachTo chooses the interfaces: those of the configuration that exist, and of
// a ruleset that is the kernel's all others that its tables were for.
func (p *Plan) attachTo(links Links) error {
	listed := make(map[string]bool)
	for _, i := range p.Config.Dataplane.Interfaces {
		listed[i.Name] = true
		index, ok := links[i.Name]
		if !ok {
			p.Waiting = append(p.Waiting, i.Name)
			continue
		}
		p.Loader.Interfaces = append(p.Loader.Interfaces, loader.Interface{Name: i.Name, Index: index, XDP: i.XDP, AQM: i.AQM})
	}
	if err := p.placeNTuples(); err != nil {
		return err
	}
	if err := p.findShapers(); err != nil || !p.Config.Dataplane.Kernel() {
		return err
	}
	others, err := routedLinks()
	if err != nil {
		return err
	}
	for _, l := range others {
		if a := l.Attrs(); !listed[a.Name] && links[a.Name] == a.Index && !isShaperEnd(a.Name, p.shapers) {
			p.Loader.Interfaces = append(p.Loader.Interfaces, loader.Interface{Name: a.Name, Index: a.Index, XDP: loader.XDPOff})
		}
	}
	return nil
}

// Relink is the plan for other links, from the ruleset as it was read.
func (p *Plan) Relink(links Links) (*Plan, error) {
	next := &Plan{Config: p.Config, Links: links, Ruleset: p.Ruleset, Text: p.Text, Read: p.Read, file: p.file, given: p.given}
	if err := next.compile(); err != nil {
		return nil, err
	}
	return next, next.attachTo(links)
}

// KeepRenamed adds the interfaces that a dataplane is attached to and that have
// another name by now, which the configuration does not know: they are not left
// without a filter. Rules that name them as they were do not mean them any more.
func (p *Plan) KeepRenamed(attached []loader.Interface) {
	listed := make(map[string]bool)
	for _, i := range p.Config.Dataplane.Interfaces {
		listed[i.Name] = true
	}
	for _, i := range attached {
		if i.Name = p.Links.Name(i.Index); listed[i.Name] || p.Links[i.Name] != i.Index {
			continue
		}
		i.Shaper = p.shapers[i.Name]
		at := slices.IndexFunc(p.Loader.Interfaces, func(have loader.Interface) bool { return have.Index == i.Index })
		switch {
		case at >= 0:
			p.Loader.Interfaces[at] = i
		case !p.Config.Dataplane.Kernel():
			p.Loader.Interfaces = append(p.Loader.Interfaces, i)
		}
	}
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
	return newPlan(ctx, &cfg, links, "", "")
}

// newPlan compiles the ruleset for a dataplane without interfaces. It is in a file,
// if that is not what the configuration names.
func newPlan(ctx context.Context, cfg *config.Config, links Links, file, given string) (*Plan, error) {
	p := &Plan{Config: cfg, Links: links, Read: time.Now(), file: file, given: given}
	var err error
	if cfg.Dataplane.Kernel() {
		err = p.readKernel(ctx)
	} else if p.Ruleset, err = p.read(ctx); err == nil {
		p.Text = p.Ruleset.Listing()
	}
	if err != nil {
		return nil, err
	}
	read := time.Since(p.Read)
	err = p.compile()
	p.Took = time.Since(p.Read)
	slog.Debug("ruleset prepared", "read", read.Round(time.Microsecond), "compile", (p.Took - read).Round(time.Microsecond))
	return p, err
}

// read reads the ruleset that is in no kernel yet.
func (p *Plan) read(ctx context.Context) (*nft.Ruleset, error) {
	if p.file != "" {
		return nft.ReadText(ctx, p.file, p.given, p.Links.nft())
	}
	return nft.ReadFile(ctx, p.Config.Dataplane.Ruleset, p.Links.nft())
}

// locate gives an error the place in what the ruleset was read from.
func (p *Plan) locate(err error) error {
	if p.file != "" {
		return locate(p.file, p.given, err)
	}
	text, _ := os.ReadFile(p.Config.Dataplane.Ruleset) // it has been read a moment ago; without it there are no columns
	return locate(p.Config.Dataplane.Ruleset, string(text), err)
}

// compile makes the program of the ruleset, for a dataplane without interfaces.
func (p *Plan) compile() error {
	cfg := p.Config
	var err error
	options := policy.Options{Links: p.Links, Live: cfg.Dataplane.Kernel(), MarkECT1: cfg.Dataplane.MarkECT1}
	for _, i := range cfg.Dataplane.Interfaces {
		options.Attached = append(options.Attached, i.Name)
	}
	if p.Program, err = policy.Compile(p.Ruleset, options); err != nil {
		return p.locate(err)
	}
	if _, err := p.Followed(); err != nil {
		return err
	}
	p.Loader = loader.Config{
		PinPath:           cfg.Dataplane.PinPath,
		MaxFlows:          cfg.Conntrack.MaxFlows,
		MaxHalfOpen:       cfg.Conntrack.MaxHalfOpen,
		MaxFlowsPerSource: cfg.Conntrack.MaxFlowsPerSource,
		Timeouts:          cfg.Conntrack.Timeouts,
		TCP:               cfg.Conntrack.TCP,
		NAT:               cfg.NAT.NATSettings,
		Policy:            p.Program,
		Reevaluate:        cfg.Dataplane.Reevaluate,
		Accounting:        cfg.Conntrack.Accounting,
		CarryAll:          p.Program.Carry,
	}
	return nil
}

func tableNames(rs *nft.Ruleset) []string {
	names := make([]string, 0, len(rs.Tables))
	for _, t := range rs.Tables {
		names = append(names, t.String())
	}
	return names
}
