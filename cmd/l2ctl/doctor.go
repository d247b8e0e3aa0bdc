// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/doctor"
)

type doctorCmd struct {
	Areas    []string      `arg:"" optional:"" help:"Only these areas: ${areas}." name:"area"`
	Config   string        `help:"Configuration file (the daemon's, or ${config})." type:"path" placeholder:"FILE"`
	Interval time.Duration `help:"How long counters are watched." placeholder:"TIME" default:"1s"`
	Quiet    bool          `help:"Only warnings and errors." short:"q"`
	JSON     bool          `help:"Print JSON." name:"json"`
}

// Exit codes for the worst of what was found.
const (
	exitWarning = 3
	exitFinding = 4
)

// foundError says how bad the worst finding is.
type foundError struct{ worst doctor.Severity }

func (e *foundError) Error() string { return "the worst finding is " + string(e.worst) }

// ExitCode is for the worst finding.
func (e *foundError) ExitCode() int {
	if e.worst == doctor.Failure {
		return exitFinding
	}
	return exitWarning
}

// Run implements the command.
func (c *doctorCmd) Run(e *env) error {
	h := doctor.Gather(e.ctx, c.Config, e.client, max(c.Interval, time.Millisecond))
	if c.Config != "" && errors.Is(h.ConfigError, fs.ErrNotExist) {
		return api.BadInput(h.ConfigError) // without a configuration there is less to find
	}
	list, err := doctor.Examine(h, c.Areas...)
	if err != nil {
		return api.BadInput(err)
	}
	worst := doctor.Worst(list)
	if c.Quiet {
		kept := []doctor.Finding{}
		for _, f := range list {
			if f.Severity.Worse(doctor.Note) {
				kept = append(kept, f)
			}
		}
		list = kept
	}
	if c.JSON {
		err = printJSON(e.out, list)
	} else {
		err = printFindings(e.out, list)
	}
	if err == nil && worst.Worse(doctor.Note) {
		err = &saidError{&foundError{worst}}
	}
	return err
}

// printFindings writes findings for people.
func printFindings(w io.Writer, list []doctor.Finding) error {
	counts := map[doctor.Severity]int{}
	var err error
	for _, f := range list {
		counts[f.Severity]++
		text := fmt.Sprintf("%-8s%-11s%s\n", strings.ToUpper(string(f.Severity)), f.Area, f.Text)
		if f.Severity == doctor.Good {
			text = fmt.Sprintf("%-8s%-11s%s\n", f.Severity, f.Area, f.Text)
		}
		for _, line := range []struct{ name, text string }{{"seen", f.Evidence}, {"do", f.Remedy}} {
			if line.text != "" {
				text += fmt.Sprintf("%19s%-6s%s\n", "", line.name, line.text)
			}
		}
		if err == nil {
			_, err = io.WriteString(w, text)
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d errors, %d warnings, %d notes, %d well.\n", counts[doctor.Failure], counts[doctor.Warning], counts[doctor.Note], counts[doctor.Good])
	return err
}
