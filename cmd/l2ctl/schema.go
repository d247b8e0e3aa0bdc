// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/config"
)

type schemaCmd struct {
	JSON bool `help:"It is JSON anyway." name:"json"`
}

// Run implements the command.
func (*schemaCmd) Run(e *env) error {
	text, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s\n", text)
	return err
}
