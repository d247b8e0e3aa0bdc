// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// printJSON writes a value for machines, indented for the humans who debug them.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table aligns columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)} }

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, c)
	}
	fmt.Fprintln(t)
}

// doneJSON is of commands that have nothing to say but that it is done.
type doneJSON struct {
	JSON bool `help:"Print an empty JSON object when it is done." name:"json"`
}

// done prints it, unless there was an error.
func (d doneJSON) done(e *env, err error) error {
	if err != nil || !d.JSON {
		return err
	}
	return printJSON(e.out, struct{}{})
}

// say is done, with a text for humans.
func (d doneJSON) say(e *env, format string, args ...any) error {
	if d.JSON {
		return d.done(e, nil)
	}
	_, err := fmt.Fprintf(e.out, format, args...)
	return err
}
