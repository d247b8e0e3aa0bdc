// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

type flowsCmd struct {
	Addr  string `help:"Only flows with an address, before or after translation, in this prefix." placeholder:"PREFIX"`
	Port  uint16 `help:"Only flows with this port, before or after translation."`
	Proto string `help:"Only flows of this protocol, such as tcp, udp, icmp, icmpv6 or a number." placeholder:"NAME"`
	State string `help:"Only flows in this TCP state, such as established or time_wait." placeholder:"NAME"`
	JSON  bool   `help:"Print one JSON object a line." name:"json" xor:"form"`
	Count bool   `help:"Print only how many there are." xor:"form"`
}

// Run implements the command.
func (c *flowsCmd) Run(e *env) error {
	f := flow.Filter{Port: c.Port, Protocol: c.Proto, State: c.State}
	if c.Addr != "" {
		p, err := api.ParsePrefix(c.Addr)
		if err != nil {
			return api.BadInput(err)
		}
		f.Prefix = p
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
