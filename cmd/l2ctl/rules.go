// SPDX-License-Identifier: GPL-2.0-only

package main

import "io"

type rulesCmd struct {
	JSON bool `help:"Print a JSON array of rules and base chain policies." name:"json"`
}

// Run implements the command.
func (c *rulesCmd) Run(e *env) error {
	r, err := e.client.Rules(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, r.Rules)
	}
	_, err = io.WriteString(e.out, r.Text)
	return err
}
