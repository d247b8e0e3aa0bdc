// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Write prints an explanation; with why, the rules that did not match, too, and what
// to change if the packet is dropped. File is the name of the ruleset's file.
func (e *Explanation) Write(w io.Writer, file string, why bool) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("packet", "%s", e.Packet)
	row("path", "%s", map[string]string{"xdp": "XDP", "tc": "TC"}[e.Path])
	if len(e.States) > 0 {
		row("state", "%s", strings.Join(e.States, ","))
	}
	switch {
	case e.Flow == nil:
	case e.Begun:
		row("flow", "begins %s", e.Flow)
	default:
		row("flow", "of %s", e.Flow)
	}
	e.writeRules(&b, file, why)
	if e.Arrived != e.Left {
		row("nat", "%s becomes %s", e.Arrived, e.Left)
	}
	if e.Mark != 0 {
		row("mark", "0x%x", e.Mark)
	}
	if e.Out != "" {
		row("route", "by %s%s", e.Out, orEmpty(" to %s", e.Gateway))
	}
	row("verdict", "%s%s", e.Verdict, orEmpty(": %s", e.Reason))
	if len(e.Bytes) > etherLen {
		row("bytes", "%s", hex.EncodeToString(e.Bytes[etherLen:]))
	}
	if why {
		e.writeWhy(&b, file)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orEmpty(format, s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(format, s)
}

// writeRules prints the rules in the order in which they were met.
func (e *Explanation) writeRules(b *strings.Builder, file string, why bool) {
	chain := ""
	for _, r := range e.Rules {
		if !r.Matched && !why {
			continue
		}
		if c := fmt.Sprintf("%s %s %s", r.Family, r.Table, r.Chain); c != chain {
			chain = c
			fmt.Fprintf(b, "%-8s %s\n", "chain", c)
		}
		sign := " "
		if r.Matched {
			sign = "*"
		}
		fmt.Fprintf(b, "%-8s %s %s%s%s\n", "", sign, r.Text, orEmpty("   (%s)", r.place(file)), orEmpty("   - %s", r.Why))
	}
}

// place is where a rule is in the file.
func (r *Rule) place(file string) string {
	if r.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, r.Line)
}

// Blame is what drops the packet in a line: the rule, with its place in the file, the policy of a chain, or the reason;
// empty if nothing does.
func (e *Explanation) Blame(file string) string {
	if e.Verdict != Dropped && e.Verdict != Rejected {
		return ""
	}
	d := e.Decided
	switch {
	case d != nil && d.Handle == 0:
		return fmt.Sprintf("%s: no rule of chain %s %s %s accepts it, and its policy drops it", file, d.Family, d.Table, d.Chain)
	case d != nil:
		place := d.place(file)
		if place == "" {
			place = file
		}
		return fmt.Sprintf("%s: %s (chain %s %s %s)", place, d.Text, d.Family, d.Table, d.Chain)
	case e.NTuple != "":
		return fmt.Sprintf("the rule %q of ntuple of the interface", e.NTuple)
	}
	if r, err := ReasonOf(e.Reason); err == nil {
		return fmt.Sprintf("%s: %s", r.Name, r.Why)
	}
	return e.Reason
}

// writeWhy says what to change.
func (e *Explanation) writeWhy(b *strings.Builder, file string) {
	if e.Verdict != Dropped && e.Verdict != Rejected {
		return
	}
	if d := e.Decided; d != nil {
		at := orEmpty(" (%s)", d.place(file))
		chain := fmt.Sprintf("%s %s %s", d.Family, d.Table, d.Chain)
		if d.Handle == 0 {
			fmt.Fprintf(b, "%-8s no rule of chain %s accepts it, and its policy drops it: add a rule that does, or make one of those above match\n", "why", chain)
			return
		}
		fmt.Fprintf(b, "%-8s chain %s, rule %d%s: %s: change it, or accept the packet in a rule before it\n", "why", chain, d.Handle, at, d.Text)
		return
	}
	if e.NTuple != "" {
		fmt.Fprintf(b, "%-8s the rule %q of ntuple of the interface drops it: change it, or put one before it\n", "why", e.NTuple)
		return
	}
	if r, err := ReasonOf(e.Reason); err == nil {
		fmt.Fprintf(b, "%-8s %s\n%-8s %s\n", "why", r.Why, "do", r.Do)
	}
}
