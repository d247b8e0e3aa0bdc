// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/lab/diff"
)

type labDiffCmd struct {
	Ruleset    string        `help:"nftables file (default: a random ruleset, of the seed)." type:"existingfile" placeholder:"FILE"`
	Packets    int           `help:"Packets to send." default:"5000" placeholder:"N"`
	Seed       uint64        `help:"Seed of what is random; even ones forward by XDP, odd ones by TC (default: a new one)." placeholder:"N"`
	Interfaces []string      `help:"The LAN's interface, the WAN's, and up to two others (default: ${interfaces})." placeholder:"NAME"`
	Expiry     bool          `help:"Have flows time out: traffic pauses, and of the timeouts some are short, as the seed wants it."`
	Replay     string        `help:"Send the packets of a file that an earlier run wrote." type:"existingfile" placeholder:"FILE"`
	Minimise   time.Duration `help:"How long to look for a small ruleset and few packets, once they differ; 0: not at all." default:"1m" placeholder:"TIME"`
	JSON       bool          `help:"Print JSON." name:"json"`
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
	again, err := c.save(res)
	if err != nil {
		return err
	}
	err = fmt.Errorf("l2d and nftables differ; to see it again: %s", again)
	if c.JSON {
		return &saidError{err}
	}
	fmt.Fprint(e.out, res.Mismatch)
	return err
}

// save writes what shows a mismatch to files, and returns the command that does
// the same: with the small ruleset and the few packets, if there are any.
func (c *labDiffCmd) save(res *diff.Result) (string, error) {
	m := res.Mismatch
	if m.Ruleset == "" {
		file := c.Ruleset
		if file == "" {
			var err error
			if file, err = keep("l2d-diff-*.nft", res.Text); err != nil {
				return "", err
			}
		}
		return c.again(file, ""), nil
	}
	file, err := keep("l2d-diff-*.nft", m.Ruleset)
	if err != nil {
		return "", err
	}
	packets, err := keep("l2d-diff-*.packets", strings.Join(m.Replay, "\n")+"\n")
	return c.again(file, packets), err
}

// keep writes a new file that stays.
func keep(pattern, text string) (name string, err error) {
	f, err := os.CreateTemp("", pattern)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	return f.Name(), errors.Join(err, f.Close())
}

func (c *labDiffCmd) run(e *env, rig *diff.Rig) (*diff.Result, error) {
	file := c.Ruleset
	if file == "" {
		var err error
		if file, err = keep("l2d-random-*.nft", rig.RandomRuleset(c.Seed)); err != nil {
			return nil, err
		}
		defer os.Remove(file)
	}
	res, err := rig.Run(e.ctx, file, diff.Options{
		Packets: c.Packets, Seed: c.Seed, Expiry: c.Expiry, Replay: c.Replay, Minimise: c.Minimise,
	})
	if err != nil {
		return nil, api.BadInput(err)
	}
	if c.Ruleset == "" {
		res.Ruleset = "random ruleset"
	}
	return res, nil
}

// again is the command that does the same with a ruleset.
func (c *labDiffCmd) again(ruleset, packets string) string {
	argv := []string{"l2ctl lab diff", "--ruleset", ruleset, "--seed", fmt.Sprint(c.Seed)}
	if packets != "" {
		argv = append(argv, "--replay", packets)
	} else {
		argv = append(argv, "--packets", fmt.Sprint(c.Packets))
	}
	if c.Expiry {
		argv = append(argv, "--expiry")
	}
	if len(c.Interfaces) > 0 {
		argv = append(argv, "--interfaces", strings.Join(c.Interfaces, ","))
	}
	return strings.Join(argv, " ")
}
