// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/lab/path"
)

type labPathsCmd struct {
	Files []string `arg:"" help:"What \"lab path --json\" has printed." type:"existingfile"`
}

// Run is called by kong.
func (c *labPathsCmd) Run(e *env) error {
	var groups []*pathRuns
	for _, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		groups, err = readPaths(groups, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return api.BadInput(fmt.Errorf("%s: %w", name, err))
		}
	}
	return printPaths(e.out, groups)
}

// pathRuns are runs of the same over the same path.
type pathRuns struct {
	spec  path.Spec
	flows []path.Flow
	runs  []path.Result
}

// readPaths adds a line of JSON for each run.
func readPaths(groups []*pathRuns, from io.Reader) ([]*pathRuns, error) {
	for lines := json.NewDecoder(from); ; {
		var r path.Result
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			return groups, nil
		} else if err != nil {
			return nil, err
		}
		if err := r.Spec.Check(); err != nil {
			return nil, fmt.Errorf("run %d: %w", len(groups)+1, err)
		}
		g := &pathRuns{spec: r.Spec}
		for _, f := range r.Flows {
			g.flows = append(g.flows, f.Flow)
		}
		at := slices.IndexFunc(groups, func(o *pathRuns) bool { return o.spec == g.spec && reflect.DeepEqual(o.flows, g.flows) })
		if at < 0 {
			at = len(groups)
			groups = append(groups, g)
		}
		groups[at].runs = append(groups[at].runs, r)
	}
}

// printPaths prints medians and, in brackets, spreads as a table in Markdown. What was sent over
// the same path is together.
func printPaths(w io.Writer, groups []*pathRuns) error {
	var paths []path.Spec
	for _, g := range groups {
		if !slices.Contains(paths, g.spec) {
			paths = append(paths, g.spec)
		}
	}
	slices.SortStableFunc(groups, func(a, b *pathRuns) int { return slices.Index(paths, a.spec) - slices.Index(paths, b.spec) })
	fmt.Fprintln(w, "| path | flows | runs | Mbit/s | queue p50 ms | p95 | p99 | lost % | marked % | Jain | fair after s |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	last := ""
	for _, g := range groups {
		about := describePath(g.spec)
		if about == last {
			about = ""
		} else {
			last = about
		}
		fmt.Fprintf(w, "| %s | %s\n", about, strings.Join(g.columns(), " | ")+" |")
	}
	return nil
}

// columns are those of a group's line, without the path.
func (g *pathRuns) columns() []string {
	var names, rates []string
	for i, f := range g.flows {
		name := f.CongestionControl
		if f.IPv6 {
			name += "/6"
		}
		if f.After > 0 {
			name += "@" + f.After.String()
		}
		names = append(names, name)
		rates = append(rates, g.spread("%.1f", func(r path.Result) float64 { return r.Flows[i].Rate / 1e6 }))
	}
	delay := func(of func(path.Percentiles) time.Duration) string {
		return g.spread("%.1f", func(r path.Result) float64 { return of(r.Delay).Seconds() * 1000 })
	}
	out := []string{
		strings.Join(names, ", "), fmt.Sprint(len(g.runs)), strings.Join(rates, ", "),
		delay(func(p path.Percentiles) time.Duration { return p.P50 }),
		delay(func(p path.Percentiles) time.Duration { return p.P95 }),
		delay(func(p path.Percentiles) time.Duration { return p.P99 }),
		g.spread("%.2f", func(r path.Result) float64 { return 100 * r.Loss }),
	}
	marked, jain, fair := "", "", ""
	if g.spec.Mark > 0 {
		marked = g.spread("%.2f", func(r path.Result) float64 { return 100 * r.Marked })
	}
	if len(g.flows) > 1 {
		jain = g.spread("%.2f", func(r path.Result) float64 { return r.Jain })
		fair = g.fairAfter()
	}
	return append(out, marked, jain, fair)
}

// fairAfter is the median of when shares were fair, and how many runs came to that.
func (g *pathRuns) fairAfter() string {
	var list []float64
	for _, r := range g.runs {
		if r.Convergence >= 0 {
			list = append(list, r.Convergence.Seconds())
		}
	}
	if len(list) == 0 {
		return "never"
	}
	middle, _, _ := medianOf(list)
	if len(list) == len(g.runs) {
		return fmt.Sprintf("%.1f", middle)
	}
	return fmt.Sprintf("%.1f, in %d of %d runs", middle, len(list), len(g.runs))
}

// spread is the median, and the least and the most.
func (g *pathRuns) spread(format string, of func(path.Result) float64) string {
	list := make([]float64, len(g.runs))
	for i, r := range g.runs {
		list[i] = of(r)
	}
	middle, least, most := medianOf(list)
	if least == most {
		return fmt.Sprintf(format, middle)
	}
	return fmt.Sprintf(format+" ("+format+"-"+format+")", middle, least, most)
}

// medianOf sorts a list, and returns its median, least and most.
func medianOf(list []float64) (middle, least, most float64) {
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2, list[0], list[len(list)-1]
}

// describePath has what it is about in a few words.
func describePath(s path.Spec) string {
	list := []string{
		fmt.Sprintf("%g Mbit/s", float64(s.Rate)/1e6), s.RTT.String(),
		fmt.Sprintf("%.3g BDP", float64(s.Limit)/float64(max(s.BDP(), 1))),
	}
	add := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(s.Loss > 0, "%g %% lost", s.Loss*100)
	add(s.LossRun > 1, "in runs of %g", s.LossRun)
	add(s.Mark > 0, "marks from %s", s.Mark)
	add(s.Jitter > 0, "jitter %s", s.Jitter)
	add(s.Reorder > 0, "%g %% overtaken", s.Reorder*100)
	add(s.Aggregate > 0, "ACKs each %s", s.Aggregate)
	return strings.Join(list, ", ")
}
