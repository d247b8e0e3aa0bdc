// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/lab/diff"
)

type labDiffCmd struct {
	Ruleset    string   `help:"nftables file (default: a random ruleset, of the seed)." type:"existingfile" placeholder:"FILE"`
	Packets    int      `help:"Packets to send." default:"5000" placeholder:"N"`
	Seed       uint64   `help:"Seed of what is random; even ones forward by XDP, odd ones by TC (default: a new one)." placeholder:"N"`
	Interfaces []string `help:"The LAN's interface, the WAN's, and up to two others (default: ${interfaces})." placeholder:"NAME"`
	Fragments  bool     `help:"Send fragmented datagrams, too. Limits and rules about lengths see each fragment in l2d, and the whole in nftables."`
	JSON       bool     `help:"Print JSON." name:"json"`
}

// Run is called by kong.
func (c *labDiffCmd) Run(e *env) error {
	if err := needRoot(); err != nil {
		return err
	}
	if err := enforce.CheckHost(); err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = 1 + rand.Uint64N(1e9)
	}
	rig, err := diff.New(c.Interfaces...)
	if err != nil {
		return err
	}
	res, err := c.run(e, rig)
	if err := errors.Join(err, rig.Close()); err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(e.out, res); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(e.out, res)
	}
	if res.Mismatch == nil {
		return nil
	}
	err = fmt.Errorf("l2d and nftables differ; to see it again: %s", c.again())
	if c.JSON {
		return &saidError{err}
	}
	fmt.Fprint(e.out, res.Mismatch)
	return err
}

func (c *labDiffCmd) run(e *env, rig *diff.Rig) (*diff.Result, error) {
	file := c.Ruleset
	if file == "" {
		f, err := os.CreateTemp("", "l2d-random-*.nft")
		if err != nil {
			return nil, err
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(rig.RandomRuleset(c.Seed))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		file = f.Name()
	}
	res, err := rig.Run(e.ctx, file, diff.Options{Packets: c.Packets, Seed: c.Seed, Fragments: c.Fragments})
	if err != nil {
		return nil, api.BadInput(err)
	}
	if c.Ruleset == "" {
		res.Ruleset = "random ruleset"
	}
	return res, nil
}

// again is the command that does the same.
func (c *labDiffCmd) again() string {
	argv := []string{"l2ctl lab diff"}
	if c.Ruleset != "" {
		argv = append(argv, "--ruleset "+c.Ruleset)
	}
	argv = append(argv, fmt.Sprintf("--packets %d --seed %d", c.Packets, c.Seed))
	if len(c.Interfaces) > 0 {
		argv = append(argv, "--interfaces "+strings.Join(c.Interfaces, ","))
	}
	if c.Fragments {
		argv = append(argv, "--fragments")
	}
	return strings.Join(argv, " ")
}
