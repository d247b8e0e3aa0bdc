// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ReportCmd is the command that draws results. Its tags are kong's.
type ReportCmd struct {
	Files  []string `arg:"" help:"Results of runs." type:"existingfile"`
	Output string   `short:"o" help:"The page." default:"report.html" type:"path"`
	SVG    string   `name:"svg" help:"Folder for the charts, a file each." type:"path" placeholder:"FOLDER"`
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
	for _, r := range reports {
		if c.SVG == "" {
			break
		}
		if err := writeCharts(c.SVG, r); err != nil {
			return err
		}
	}
	return writeFile(c.Output, func(w io.Writer) error { return WriteHTML(w, reports) })
}

// writeCharts writes the charts of a report as files by themselves, which have the name of
// the report's file and a number.
func writeCharts(folder string, r NamedReport) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	prefix := strings.TrimSuffix(r.Name, filepath.Ext(r.Name))
	for i, d := range r.Report.drawings() {
		name := filepath.Join(folder, fmt.Sprintf("%s-%d.svg", prefix, i+1))
		if err := os.WriteFile(name, []byte(d.svg(true)+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
