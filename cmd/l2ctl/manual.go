// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/randomizedcoder/l2d/internal/climanual"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
)

// manual is what the command line's definition does not say. Commands that end with
// other codes than these are to be added.
var manual = climanual.Page{
	Section: 8,
	Summary: "check rulesets and control l2d",
	Exit: []climanual.Exit{
		{Code: 0, Text: "Done."},
		{Code: exitFailure, Text: "It failed, or no daemon runs."},
		{Code: exitInput, Text: "What was asked for, a file or the host is at fault. Nothing was changed."},
		{Code: 3, Text: "doctor has found a warning; bench compare, that a figure is gone or inconclusive."},
		{Code: 4, Text: "doctor has found an error; bench compare, that a figure is slower."},
	},
	Files: [][2]string{
		{config.DefaultPath, "The configuration, if --config names no other."},
		{config.DefaultSocket, "The daemon's control socket, if --socket or the environment variable L2D_SOCKET names no other."},
	},
	SeeAlso: []string{"l2d(8)", "nft(8)", "tc(8)", "ethtool(8)"},
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
	JSON  bool   `help:"Print the script as a JSON string." name:"json"`
}

// Run implements the command.
func (c *completionCmd) Run(e *env) error {
	script, err := climanual.Script(c.Shell, "l2ctl")
	if err != nil {
		return api.BadInput(err)
	}
	if c.JSON {
		return printJSON(e.out, script)
	}
	_, err = io.WriteString(e.out, script)
	return err
}

// completeCmd is what the scripts ask.
type completeCmd struct {
	Words []string `arg:"" optional:""`
}

// Run implements the command.
func (c *completeCmd) Run(e *env, app *kong.Kong) error {
	for _, line := range climanual.Complete(app.Model, c.Words) {
		if _, err := fmt.Fprintln(e.out, line); err != nil {
			return err
		}
	}
	return nil
}

// manCmd prints the manual page, for packages.
type manCmd struct{}

// Run implements the command.
func (*manCmd) Run(e *env, app *kong.Kong) error { return climanual.Man(e.out, app.Model, manual) }
