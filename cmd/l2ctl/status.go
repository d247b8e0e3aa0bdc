// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/cpus"
)

type statusCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *statusCmd) Run(e *env) error {
	s, err := e.client.Status(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, s)
	}
	return printStatus(e, s)
}

func printHost(t table, h *api.Host) {
	switch {
	case h.Error != "":
		t.row("host", "not as declared: "+strings.ReplaceAll(h.Error, "\n", "\n\t"))
	case len(h.Drift) > 0:
		var list []string
		for _, c := range h.Drift {
			list = append(list, c.ID())
		}
		t.row("host", fmt.Sprintf("%d of %d resources are not as declared any more: %s", len(h.Drift), h.Resources, strings.Join(list, ", ")))
	case h.Resources > 0:
		t.row("host", fmt.Sprintf("%d resources as declared", h.Resources))
	}
	if h.Notice != "" {
		t.row("in force", strings.ReplaceAll(h.Notice, "\n", "\n\t"))
	}
	if h.Pending != nil {
		t.row("", pendingLine(h.Pending))
	}
}

func printStatus(e *env, s api.Status) error {
	t := newTable(e.out)
	t.row("daemon", fmt.Sprintf("l2d %s, pid %d, since %s", s.Version, s.PID, s.Started.Format(time.DateTime)))
	t.row("configuration", s.Config)
	t.row("ruleset", fmt.Sprintf("%s, %d rules and policies", s.Ruleset, s.Rules))
	if s.ReloadError != "" {
		t.row("last reload", "refused: "+strings.ReplaceAll(s.ReloadError, "\n", "\n\t"))
	}
	if s.Host != nil {
		printHost(t, s.Host)
	}
	if b := s.BBR3; b != nil {
		t.row("bbr3", fmt.Sprintf("%d connections, %d since it was registered, %d of them without state", b.Connections, b.Begun, b.WithoutState))
	}
	if !s.Attached {
		t.row("dataplane", "detached: l2d enforces nothing")
		return t.Flush()
	}
	if len(s.TCOnly) > 0 {
		t.row("XDP", "leaves all packets to TC: "+strings.Join(s.TCOnly, "\n\t"))
	}
	if s.Sync != nil {
		printSync(t, s.Sync)
	}
	for _, f := range s.Followed {
		state := fmt.Sprintf("%d elements, follows %s", f.Elements, f.Interface)
		if f.Error != "" {
			state = "does not follow " + f.Interface + ": " + f.Error
		}
		t.row("set "+f.Set, state)
	}
	d := s.Dataplane
	t.row("dataplane", fmt.Sprintf("%s at %s, since %s", d.Generation, d.PinPath, s.Applied.Format(time.DateTime)))
	t.row("flows", fmt.Sprintf("%d of %d confirmed, %d of %d half open", d.Flows.Confirmed, d.Flows.MaxConfirmed, d.Flows.HalfOpen, d.Flows.MaxHalfOpen))
	if d.Flows.MaxPerSource > 0 {
		t.row("sources", fmt.Sprintf("%d, of at most %d flows each", d.Flows.Sources, d.Flows.MaxPerSource))
	}
	t.row("NAT", fmt.Sprintf("%d mappings", d.Flows.Mappings))
	if len(s.CPUs) > 0 {
		t.row("packets on", cpuLine(&s))
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprintln(e.out)
	t = newTable(e.out)
	t.row("INTERFACE", "INDEX", "TC", "XDP", "XDP SENDS", "NOTE")
	for _, i := range d.Interfaces {
		note := i.Note
		if i.AQM {
			note = strings.TrimPrefix(note+"; has a queue manager", "; ")
		}
		if i.Shaper != "" {
			note = strings.TrimPrefix(note+"; what comes in waits at "+i.Shaper, "; ")
		}
		t.row(i.Name, i.Index, yes(i.TC), i.XDP, yes(i.XDPRedirect), note)
	}
	for _, name := range s.Waiting {
		t.row(name, "-", "-", "-", "-", "does not exist yet")
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprintln(e.out)
	t = newTable(e.out)
	t.row("PROGRAM", "VERIFIED INSTRUCTIONS", "NATIVE BYTES", "LOAD TIME")
	for _, p := range d.Programs {
		took := p.LoadTime.Round(time.Millisecond).String()
		if p.Kept {
			took = "kept"
		}
		t.row(p.Name, p.VerifiedInstructions, p.JITedBytes, took)
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprintln(e.out)
	t = newTable(e.out)
	t.row("CPU", "FORWARDED BY XDP", "BY TC", "TO THE ROUTER", "DROPPED", "ITS OWN")
	for _, c := range d.CPUs {
		t.row(c.CPU, c.XDPForwarded, c.TCForwarded, c.Local, c.Dropped, c.Own)
	}
	if err := t.Flush(); err != nil {
		return err
	}

	fmt.Fprintln(e.out)
	t = newTable(e.out)
	t.row("EVENT", "COUNT")
	names := make([]string, 0, len(d.Stats))
	for name, n := range d.Stats {
		if n != 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		t.row(name, d.Stats[name])
	}
	return t.Flush()
}

// cpuLine says whether packets were handled where they are to be.
func cpuLine(s *api.Status) string {
	n, list := s.Elsewhere()
	if n == 0 {
		return fmt.Sprintf("CPUs %s, all of them", cpus.Format(s.CPUs))
	}
	var all uint64
	for _, c := range s.Dataplane.CPUs {
		all += c.Received()
	}
	return fmt.Sprintf("CPUs %s, but for %d of %d, on CPUs %s", cpus.Format(s.CPUs), n, all, cpus.Format(list))
}

// printSync says how the kernel's nftables is followed.
func printSync(t table, s *api.Sync) {
	t.row("from nftables", fmt.Sprintf("%s; generation %d", strings.Join(s.Tables, ", "), s.Generation))
	if !s.Changed.IsZero() {
		t.row("last change", fmt.Sprintf("%s, in force after %s; %d of elements, %d of rules since the start",
			s.Changed.Format(time.DateTime), s.Took.Round(time.Millisecond), s.ElementChanges, s.RulesetChanges))
	}
	if s.Error != "" {
		t.row("NOT FOLLOWED", "the ruleset before goes on: "+strings.ReplaceAll(s.Error, "\n", "\n\t"))
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
