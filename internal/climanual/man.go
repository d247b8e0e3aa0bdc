// SPDX-License-Identifier: GPL-2.0-only

// Package climanual makes the manual page and the completion of a program out of the
// definition of its command line.
package climanual

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Page is what the definition does not say.
type Page struct {
	Section int
	Summary string // a line without a full stop
	// Exit are the exit codes.
	Exit []Exit
	// Files are paths with what they are.
	Files [][2]string
	// SeeAlso are other pages, such as "nft(8)".
	SeeAlso []string
}

// Exit is an exit code and what it means.
type Exit struct {
	Code int
	Text string
}

// Man writes the manual page of a program, in the macros of man(7).
func Man(w io.Writer, app *kong.Application, p Page) error {
	m := &page{}
	name := app.Name
	m.line(".\\\" SPDX-License-Identifier: GPL-2.0-only")
	m.line(".TH %s %d", strings.ToUpper(name), p.Section)
	m.line(".SH NAME")
	m.line("%s \\- %s", quote(name), quote(p.Summary))
	m.line(".SH SYNOPSIS")
	commands := app.Leaves(true)
	if len(commands) == 0 {
		m.line(".B %s\n%s", quote(name), quote(app.FlagSummary(true)))
	} else {
		m.line(".B %s\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]", quote(name))
	}
	m.line(".SH DESCRIPTION\n%s", quote(app.Help))
	m.line(".SH OPTIONS")
	m.flags(app.Flags)
	if len(commands) > 0 {
		m.line(".SH COMMANDS")
	}
	for _, c := range commands {
		m.command(c)
	}
	m.line(".SH EXIT STATUS")
	for _, e := range p.Exit {
		m.item(fmt.Sprintf(".B %d", e.Code), e.Text)
	}
	if len(p.Files) > 0 {
		m.line(".SH FILES")
	}
	for _, f := range p.Files {
		m.item(".I "+quote(f[0]), f[1])
	}
	if len(p.SeeAlso) > 0 {
		m.line(".SH SEE ALSO\n%s", quote(strings.Join(p.SeeAlso, ", ")))
	}
	_, err := io.WriteString(w, m.b.String())
	return err
}

type page struct{ b strings.Builder }

func (m *page) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

func (m *page) item(tag, text string) { m.line(".TP\n%s\n%s", tag, quote(text)) }

func (m *page) command(c *kong.Node) {
	m.line(".SS %s", quote(c.Path()))
	for _, a := range c.Positional {
		m.line("%s", argument(a))
	}
	if len(c.Positional) > 0 {
		m.line(".PP")
	}
	m.line("%s", quote(c.Help))
	if c.Detail != "" {
		m.line(".PP\n%s", quote(c.Detail))
	}
	m.flags(c.Flags)
	for _, a := range c.Positional {
		if a.Help != "" {
			m.item(argument(a), a.Help)
		}
	}
}

func argument(a *kong.Positional) string {
	s := "\\fI" + quote(strings.ToUpper(a.Name)) + "\\fR"
	if a.IsCumulative() {
		s += " ..."
	}
	if !a.Required {
		s = "[" + s + "]"
	}
	return s
}

func (m *page) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		tag := ".BR"
		if f.Short != 0 {
			tag += fmt.Sprintf(" \\-%c \", \"", f.Short)
		}
		tag += " " + quote("--"+f.Name)
		if !f.IsBool() {
			tag += " \" \" \\fI" + quote(f.FormatPlaceHolder()) + "\\fR"
		}
		m.item(tag, f.Help)
	}
}

// quote has no character of a text be a command of roff.
func quote(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
