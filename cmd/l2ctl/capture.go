// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/nlmon"
)

type captureCmd struct {
	NL80211 bool   `help:"What programs such as hostapd and the drivers of radios tell each other." name:"nl80211" required:""`
	Write   string `help:"File for Wireshark and tcpdump, or - for the standard output." short:"w" placeholder:"FILE" default:"-"`
	Count   uint64 `help:"End after so many datagrams." short:"c" placeholder:"N"`
	JSON    bool   `help:"Print what it came to as JSON; the capture itself goes to FILE." name:"json"`
}

// Run implements the command.
func (c *captureCmd) Run(e *env) error {
	out, say := e.out, io.Writer(os.Stderr)
	if c.Write == "-" {
		if c.JSON {
			return api.BadInput(errors.New("--json prints to the standard output, and so would the capture: want -w FILE"))
		}
		if isTerminal(out) {
			return api.BadInput(errors.New("the file would be written to the terminal: want -w FILE, or a pipe"))
		}
	} else {
		f, err := os.OpenFile(c.Write, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // keys are in it
		if err != nil {
			return api.BadInput(err)
		}
		defer f.Close()
		out = f
	}
	stats, err := nlmon.Capture(e.ctx, "nl80211", c.Count, out, func() { fmt.Fprintln(say, "l2ctl: captures until it is interrupted") })
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, stats)
	}
	fmt.Fprintf(say, "l2ctl: %d datagrams, %d missed\n", stats.Messages, stats.Missed)
	return nil
}
