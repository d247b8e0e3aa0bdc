// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"time"
)

type reloadCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *reloadCmd) Run(e *env) error {
	done := e.during(e.applying)
	r, err := e.client.Reload(e.ctx)
	done()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, r)
	}
	what := "unchanged"
	if r.Changed {
		what = "changed"
	}
	_, err = fmt.Fprintf(e.out, "%s: %d rules and policies in force after %s\n", what, r.Rules, r.Took.Round(time.Millisecond))
	return err
}
