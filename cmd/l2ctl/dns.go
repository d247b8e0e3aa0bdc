// SPDX-License-Identifier: GPL-2.0-only

package main

import "fmt"

type dnsCmd struct {
	Top   dnsTopCmd   `cmd:"" help:"Show what the recursor is asked most, or by whom."`
	Flush dnsFlushCmd `cmd:"" help:"Have the recursor forget names."`
}

type dnsTopCmd struct {
	What string `arg:"" default:"queries" help:"${tops}."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *dnsTopCmd) Run(e *env) error {
	list, err := e.client.DNSTop(e.ctx, c.What)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	t := newTable(e.out)
	t.row("SHARE", "TYPE", "OF")
	for _, s := range list {
		t.row(fmt.Sprintf("%.1f%%", s.Percent), orDash(s.Type), s.Name)
	}
	return t.Flush()
}

type dnsFlushCmd struct {
	Name string `arg:"" default:"." help:"A domain: it and all below it; without one all names."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *dnsFlushCmd) Run(e *env) error {
	f, err := e.client.DNSFlush(e.ctx, c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, f)
	}
	_, err = fmt.Fprintln(e.out, f.Said)
	return err
}
