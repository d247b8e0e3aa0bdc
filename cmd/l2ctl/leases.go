// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/kea"
)

type leasesCmd struct {
	Filter string `arg:"" optional:"" help:"Only leases with this in their address, MAC address, identifier or name."`
	All    bool   `help:"Those that have ended, too."`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *leasesCmd) Run(e *env) error {
	list, err := e.client.Leases(e.ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	list = slices.DeleteFunc(list, func(l kea.Lease) bool { return !c.All && !l.Active(now) || !c.matches(&l) })
	if c.JSON {
		return printJSON(e.out, list)
	}
	t := newTable(e.out)
	t.row("ADDRESS", "MAC", "NAME", "ENDS", "STATE")
	for i := range list {
		l := &list[i]
		address := l.Prefix.String()
		if l.Prefix.IsSingleIP() {
			address = l.Address().String()
		}
		state := string(l.State)
		if l.State == kea.StateAssigned && !l.Active(now) {
			state = "ended"
		}
		t.row(address, orDash(l.MAC), orDash(l.Name), l.Expires.Local().Format(time.DateTime), state)
	}
	return t.Flush()
}

func (c *leasesCmd) matches(l *kea.Lease) bool {
	return slices.ContainsFunc([]string{l.Prefix.String(), l.MAC, l.DUID, l.ClientID, l.Name}, func(s string) bool {
		return strings.Contains(s, strings.ToLower(c.Filter))
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
