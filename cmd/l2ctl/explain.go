// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/internal/linediff"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/capture"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/explain"
)

type explainCmd struct {
	Text    []string `arg:"" optional:"" name:"packet" help:"The packet, such as 'iif br0 tcp 192.168.1.50:40000 > 1.1.1.1:443 syn'."`
	PCAP    string   `help:"Take the packet from this capture file, of pcap or pcapng." name:"pcap" type:"path" placeholder:"FILE"`
	Packet  int      `help:"Number of the packet in that file, from 1 on." name:"packet" default:"1" placeholder:"N"`
	In      string   `help:"With --pcap: the interface that it comes in by." placeholder:"NAME" xor:"way"`
	Out     string   `help:"With --pcap: the interface that the router sends it by." placeholder:"NAME" xor:"way"`
	Ruleset string   `help:"Explain with this ruleset in place of the one in force. No daemon needs to run." type:"path" placeholder:"FILE"`
	Reason  *string  `help:"Say what a reason for drops means, by its name in top and status, and what to do; all: each of them. No daemon needs to run." placeholder:"NAME"`
	Diff    bool     `help:"With --ruleset: show what would be different from the ruleset in force."`
	Why     bool     `help:"Show the rules that did not match, too, and why; and what to change if it is dropped."`
	JSON    bool     `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *explainCmd) Run(e *env) error {
	if c.Reason != nil {
		return c.reason(e)
	}
	r, err := c.request()
	if err != nil {
		return api.BadInput(err)
	}
	if c.Diff && c.Ruleset == "" {
		return api.BadInput(errors.New("--diff compares with the ruleset of --ruleset FILE: want one"))
	}
	if c.Diff {
		return c.diff(e, r)
	}
	out, err := c.explain(e, r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, out)
	}
	return out.Write(e.out, c.file(e), c.Why)
}

// reason tells what reasons mean.
func (c *explainCmd) reason(e *env) error {
	list := explain.Reasons()
	if *c.Reason != "all" {
		r, err := explain.ReasonOf(*c.Reason)
		if err != nil {
			return api.BadInput(err)
		}
		list = []explain.Reason{r}
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	for i := range list {
		if err := list[i].Write(e.out); err != nil {
			return err
		}
	}
	return nil
}

// request is the packet that is asked about.
func (c *explainCmd) request() (explain.Request, error) {
	text := strings.Join(c.Text, " ")
	switch {
	case (text == "") == (c.PCAP == ""):
		return explain.Request{}, fmt.Errorf("want a packet: %s, or --pcap FILE", explain.Syntax)
	case c.PCAP == "":
		if c.In != "" || c.Out != "" {
			return explain.Request{}, errors.New("--in and --out go with --pcap: a packet in words begins with iif NAME or oif NAME")
		}
		_, err := explain.ParsePacket(text)
		return explain.Request{Packet: text}, err
	case c.In == "" && c.Out == "":
		return explain.Request{}, errors.New("--pcap: want --in NAME, where the packet comes in, or --out NAME, by which the router sends it")
	}
	p, err := capture.Read(c.PCAP, c.Packet)
	if err != nil {
		return explain.Request{}, err
	}
	return explain.Request{Frame: p.Frame, Ethernet: p.Ethernet, Before: p.Before, In: c.In, Out: c.Out}, nil
}

// explain asks the daemon, or finds out itself if none runs and it is not about the
// ruleset in force.
func (c *explainCmd) explain(e *env, r explain.Request) (*explain.Explanation, error) {
	defer e.during(doing("loading a copy of the programs"))()
	if c.Ruleset == "" {
		return e.client.Explain(e.ctx, r)
	}
	var err error
	if r.Ruleset, err = filepath.Abs(c.Ruleset); err != nil {
		return nil, err
	}
	out, err := e.client.Explain(e.ctx, r)
	if errors.Is(err, api.ErrNotRunning) {
		return c.alone(e, r)
	}
	return out, err
}

// alone explains with a ruleset on all interfaces of this host.
func (c *explainCmd) alone(e *env, r explain.Request) (*explain.Explanation, error) {
	if err := enforce.CheckHost(); err != nil {
		return nil, err
	}
	plan, err := enforce.PrepareRuleset(e.ctx, c.Ruleset)
	if err != nil {
		return nil, api.BadInput(err)
	}
	for name, index := range plan.Links {
		plan.Loader.Interfaces = append(plan.Loader.Interfaces, loader.Interface{Name: name, Index: index, XDP: loader.XDPOff})
	}
	out, err := explain.Run(explain.Target{Config: plan.Loader, Program: plan.Program, Name: plan.Links.Name}, r)
	var input *explain.InputError
	if errors.As(err, &input) {
		err = api.BadInput(err)
	}
	return out, err
}

// explainDiff is a packet with the ruleset in force and with another.
type explainDiff struct {
	Same      bool                 `json:"same"`
	Running   *explain.Explanation `json:"running"`
	Candidate *explain.Explanation `json:"candidate"`
}

func (c *explainCmd) diff(e *env, r explain.Request) error {
	running, err := (&explainCmd{}).explain(e, r)
	if err != nil {
		return err
	}
	candidate, err := c.explain(e, r)
	if err != nil {
		return err
	}
	var was, is bytes.Buffer
	if err := errors.Join(running.Write(&was, "", c.Why), candidate.Write(&is, "", c.Why)); err != nil {
		return err
	}
	same := was.String() == is.String()
	if c.JSON {
		return printJSON(e.out, explainDiff{same, running, candidate})
	}
	if same {
		_, err = fmt.Fprintf(e.out, "no difference\n%s", was.String())
		return err
	}
	_, err = io.WriteString(e.out, linediff.Of(was.String(), is.String()))
	return err
}

// file is the name of the ruleset's file.
func (c *explainCmd) file(e *env) string {
	if c.Ruleset != "" {
		return c.Ruleset
	}
	s, err := e.client.Status(e.ctx)
	if err != nil {
		return "line"
	}
	return s.Ruleset
}
