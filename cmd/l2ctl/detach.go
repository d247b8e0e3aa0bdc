// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

type detachCmd struct {
	Config     string `help:"Configuration file, for when no daemon runs: it names the ruleset and the pin path." default:"${config}" type:"path" placeholder:"FILE"`
	PinPath    string `help:"Directory of the pinned dataplane, for when no daemon runs. With --no-fallback no configuration is read." placeholder:"DIR"`
	NoFallback bool   `help:"Do not load the ruleset into nftables: nothing filters or translates afterwards."`
	JSON       bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *detachCmd) Run(e *env) error {
	done := e.during(doing("handing over to nftables"))
	d, err := e.client.Detach(e.ctx, !c.NoFallback)
	if errors.Is(err, api.ErrNotRunning) {
		err = c.withoutDaemon(e)
		d.Fallback = !c.NoFallback
	}
	done()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, d)
	}
	fmt.Fprintln(e.out, "detached: l2d no longer enforces the ruleset")
	if d.Fallback {
		fmt.Fprintln(e.out, "the kernel's nftables does now; flows that were open start anew there")
	} else {
		fmt.Fprintln(e.out, "NOTHING filters or translates packets now")
	}
	return nil
}

// withoutDaemon removes a dataplane that a dead daemon left.
func (c *detachCmd) withoutDaemon(e *env) error {
	pin := c.PinPath
	var cfg *config.Config
	if pin == "" || !c.NoFallback {
		var err error
		if cfg, err = config.Load(c.Config); err != nil {
			return api.BadInput(err)
		}
		if pin == "" {
			pin = cfg.Dataplane.PinPath
		}
	}
	if _, err := os.Stat(pin); errors.Is(err, fs.ErrNotExist) {
		if !c.NoFallback && enforce.HasAdopted(cfg.Control.RunDir()) {
			// The dataplane has gone without its tables being woken.
			_, err := enforce.Wake(e.ctx, cfg.Control.RunDir())
			return err
		}
		return api.BadInput(fmt.Errorf("no dataplane is pinned at %s, and no daemon runs: there is nothing to detach", pin))
	}
	if !c.NoFallback {
		maps := func(with func(map[string]*ebpf.Map) error) error { return loader.PinnedMaps(pin, with) }
		var program *policy.Program
		if plan, err := enforce.PrepareInForce(e.ctx, cfg); err == nil {
			program = plan.Program
		} else {
			fmt.Fprintf(os.Stderr, "l2ctl: elements that were added to sets are lost: %v\n", err)
		}
		if err := enforce.Fallback(e.ctx, cfg, program, maps); err != nil {
			return fmt.Errorf("the dataplane stays attached: %w", err)
		}
	}
	if err := enforce.DropMirrors(e.ctx); err != nil {
		return err
	}
	return loader.Detach(pin)
}
