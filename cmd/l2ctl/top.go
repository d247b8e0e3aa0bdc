// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/randomizedcoder/l2d/internal/tui"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

type topCmd struct {
	Interval time.Duration `help:"How often to look, at least 500ms." default:"2s" placeholder:"TIME"`
	Once     bool          `help:"Print what happens in one interval, and end."`
	JSON     bool          `help:"The same as JSON." name:"json"`
}

// Validate is called by kong.
func (c *topCmd) Validate() error {
	if c.Interval < 500*time.Millisecond {
		return fmt.Errorf("--interval: want at least 500ms")
	}
	return nil
}

// Run implements the command.
func (c *topCmd) Run(e *env) error {
	if c.Once || c.JSON {
		return c.once(e)
	}
	// The first one tells whether there is a daemon, before the terminal changes.
	first, err := e.client.Sample(e.ctx)
	if err != nil {
		return err
	}
	term, err := tui.Open(os.Stdin, os.Stdout)
	if err != nil {
		return fmt.Errorf("%w: --once prints without one", err)
	}
	defer term.Close()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	return c.show(ctx, term, e, first)
}

// once prints one interval.
func (c *topCmd) once(e *env) error {
	before, err := e.client.Sample(e.ctx)
	if err != nil {
		return err
	}
	select {
	case <-e.ctx.Done():
		return e.ctx.Err()
	case <-time.After(c.Interval):
	}
	now, err := e.client.Sample(e.ctx)
	if err != nil {
		return err
	}
	v := observe.Between(before, now)
	if c.JSON {
		return printJSON(e.out, v)
	}
	s := screen{view: v}
	for _, l := range s.overview(120, 1000) {
		if _, err := fmt.Fprintln(e.out, l); err != nil {
			return err
		}
	}
	return nil
}

// sampled is the answer of a daemon.
type sampled struct {
	sample *observe.Sample
	err    error
}

// show draws until somebody quits. A daemon that does not answer is asked again: it
// may be restarting.
func (c *topCmd) show(ctx context.Context, term *tui.Terminal, e *env, first *observe.Sample) error {
	samples := make(chan sampled)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(c.Interval):
			}
			s, err := e.client.Sample(ctx)
			select {
			case <-ctx.Done():
				return
			case samples <- sampled{s, err}:
			}
		}
	}()
	s, before := screen{view: observe.Between(nil, first), interval: c.Interval}, first
	for !s.quit {
		if err := term.Draw(s.draw(term.Size())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case k := <-term.Keys:
			s.key(k)
		case <-term.Resized:
		case got := <-samples:
			s.err = got.err
			if got.err != nil || s.paused {
				continue
			}
			s.view = observe.Between(before, got.sample)
			before = got.sample
		}
	}
	return nil
}
