// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
)

type setCmd struct {
	Add  setAddCmd  `cmd:"" help:"Add an element, or renew it."`
	Del  setDelCmd  `cmd:"" help:"Remove an element."`
	List setListCmd `cmd:"" help:"List the elements."`
}

// setArgs name a set as nft does.
type setArgs struct {
	Family string `arg:"" enum:"ip,ip6,inet" help:"ip, ip6 or inet."`
	Table  string `arg:""`
	Set    string `arg:""`
}

func (a setArgs) name() api.SetName { return api.SetName{Family: a.Family, Table: a.Table, Set: a.Set} }

type setAddCmd struct {
	setArgs
	Element string        `arg:"" help:"The element as nft writes it."`
	Timeout time.Duration `help:"Lifetime, such as 30s or 4h. Without it, that of the set." placeholder:"TIME"`
	doneJSON
}

// Run implements the command.
func (c *setAddCmd) Run(e *env) error {
	if c.Timeout < 0 {
		return api.BadInput(fmt.Errorf("timeout %v: want a positive duration", c.Timeout))
	}
	return c.done(e, e.client.SetAdd(e.ctx, c.name(), c.Element, c.Timeout))
}

type setDelCmd struct {
	setArgs
	Element string `arg:"" help:"The element as nft writes it."`
	doneJSON
}

// Run implements the command.
func (c *setDelCmd) Run(e *env) error {
	return c.done(e, e.client.SetDelete(e.ctx, c.name(), c.Element))
}

type setListCmd struct {
	setArgs
	JSON bool `help:"Print a JSON array." name:"json"`
}

// Run implements the command.
func (c *setListCmd) Run(e *env) error {
	list, err := e.client.SetList(e.ctx, c.name())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	for _, el := range list {
		line := el.Value
		if el.State != "" {
			line += " " + el.State
		}
		if el.Expires > 0 {
			line += fmt.Sprintf(" expires %s", seconds(el.Expires))
		}
		if _, err := fmt.Fprintln(e.out, line); err != nil {
			return err
		}
	}
	return nil
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}
