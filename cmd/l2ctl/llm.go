// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"strings"
)

type llmCmd struct {
	Ask llmAskCmd `cmd:"" help:"Ask the language model a question."`
}

type llmAskCmd struct {
	Question []string `arg:"" help:"The question."`
	Instance string   `help:"Which one to ask; without, the first one." placeholder:"NAME"`
	Tokens   int      `default:"256" help:"How long the answer may be."`
	JSON     bool     `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *llmAskCmd) Run(e *env) error {
	a, err := e.client.AskLLM(e.ctx, c.Instance, strings.Join(c.Question, " "), c.Tokens)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	_, err = fmt.Fprintln(e.out, strings.TrimSpace(a.Text))
	return err
}
