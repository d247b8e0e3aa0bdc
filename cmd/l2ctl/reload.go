// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"time"
)

type reloadCmd struct{}

// Run implements the command.
func (c *reloadCmd) Run(e *env) error {
	r, err := e.client.Reload(e.ctx)
	if err != nil {
		return err
	}
	what := "unchanged"
	if r.Changed {
		what = "changed"
	}
	_, err = fmt.Fprintf(e.out, "%s: %d rules and policies in force after %s\n", what, r.Rules, r.Took.Round(time.Millisecond))
	return err
}
