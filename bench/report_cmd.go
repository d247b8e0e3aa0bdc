// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ReportCmd is the command that draws results. Its tags are kong's.
type ReportCmd struct {
	Files  []string `arg:"" help:"Results of runs." type:"existingfile"`
	Output string   `short:"o" help:"The page." default:"report.html" type:"path"`
	SVG    string   `name:"svg" help:"Folder for the charts of the first file, a file each." type:"path" placeholder:"FOLDER"`
}

// Run writes the page, and the charts if that is wanted.
func (c *ReportCmd) Run() error {
	var reports []NamedReport
	for _, file := range c.Files {
		r, err := ReadFile(file)
		if err != nil {
			return err
		}
		reports = append(reports, NamedReport{Name: filepath.Base(file), Report: r})
	}
	if c.SVG != "" {
		if err := writeCharts(c.SVG, reports[0].Report); err != nil {
			return err
		}
	}
	return writeFile(c.Output, func(w io.Writer) error { return WriteHTML(w, reports) })
}

// writeCharts writes the charts of a report as files by themselves.
func writeCharts(folder string, r *Report) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var drawn []string
	for _, c := range r.charts() {
		drawn = append(drawn, c.svg(true))
	}
	for _, c := range r.distributions() {
		drawn = append(drawn, c.svg(true))
	}
	for i, svg := range drawn {
		name := filepath.Join(folder, fmt.Sprintf("%s-%d.svg", r.Environment.fileName(), i+1))
		if err := os.WriteFile(name, []byte(svg+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fileName is the command as a name, which a file cannot choose freely.
func (e Environment) fileName() string {
	for _, known := range []string{"quick", "rules", "flows", "micro", "tools"} {
		if e.Command == known {
			return known
		}
	}
	return "chart"
}
