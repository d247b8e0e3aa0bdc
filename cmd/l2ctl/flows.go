// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

type flowsCmd struct {
	List   flowsListCmd   `cmd:"" default:"withargs" help:"List tracked flows."`
	Delete flowsDeleteCmd `cmd:"" help:"End tracked flows."`
}

// flowsFilter selects flows.
type flowsFilter struct {
	Addr  string  `help:"Only flows with an address, before or after translation, in this prefix." placeholder:"PREFIX"`
	Port  uint16  `help:"Only flows with this port, before or after translation."`
	Proto string  `help:"Only flows of this protocol, such as tcp, udp, icmp, icmpv6 or a number." placeholder:"NAME"`
	State string  `help:"Only flows in this TCP state, such as established or time_wait." placeholder:"NAME"`
	Mark  *uint32 `help:"Only flows with this ct mark." placeholder:"N"`
	Zone  *uint16 `help:"Only flows with this ct zone in a direction." placeholder:"N"`
}

func (c *flowsFilter) filter() (flow.Filter, error) {
	f := flow.Filter{Port: c.Port, Protocol: c.Proto, State: c.State, Mark: c.Mark, Zone: c.Zone}
	if c.Addr == "" {
		return f, nil
	}
	p, err := api.ParsePrefix(c.Addr)
	if err != nil {
		return f, api.BadInput(err)
	}
	f.Prefix = p
	return f, nil
}

type flowsListCmd struct {
	flowsFilter
	JSON  bool `help:"Print one JSON object a line." name:"json" xor:"form"`
	Count bool `help:"Print only how many there are." xor:"form"`
}

// Run implements the command.
func (c *flowsListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if c.Count {
		n, err := e.client.CountFlows(e.ctx, f)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(e.out, n)
		return err
	}
	enc := json.NewEncoder(e.out)
	return e.client.Flows(e.ctx, f, func(fl flow.Flow) error {
		if c.JSON {
			return enc.Encode(fl)
		}
		_, err := fmt.Fprintln(e.out, fl.String())
		return err
	})
}

type flowsDeleteCmd struct {
	flowsFilter
	All  bool `help:"End all flows; not to be combined with a filter."`
	JSON bool `help:"Print a JSON object." name:"json"`
}

// Run implements the command.
func (c *flowsDeleteCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if none := f == (flow.Filter{}); none != c.All {
		return api.BadInput(errors.New("want --addr, --port, --proto, --state, --mark or --zone, or --all without them"))
	}
	n, err := e.client.DeleteFlows(e.ctx, f, c.All)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, api.DeletedFlows{Deleted: n})
	}
	_, err = fmt.Fprintf(e.out, "flows deleted: %d\n", n)
	return err
}
