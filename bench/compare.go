// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Verdict is what a comparison comes to.
type Verdict string

// The verdicts.
const (
	Slower       Verdict = "SLOWER"
	Faster       Verdict = "faster"
	Same         Verdict = "same"
	Inconclusive Verdict = "inconclusive"
	Gone         Verdict = "gone" // is in the old run only
	Added        Verdict = "new"  // is in the new run only
)

// Comparison is what became of one figure between two runs.
type Comparison struct {
	Name    string   `json:"name"`
	Unit    string   `json:"unit"`
	Old     float64  `json:"old"` // medians
	New     float64  `json:"new"`
	Ratio   Interval `json:"ratio"` // new to old
	Verdict Verdict  `json:"verdict"`
	Doubts  []string `json:"doubts,omitempty"` // why it is inconclusive
}

// Compare compares two runs, figure by figure, in the order of the old one. A
// figure is slower or faster if 95 % of the ratios are on one side of 1 and the
// ratio of the medians is further from 1 than the tolerance. Relative to a device,
// if that has a name: it is what both runs are measured by.
func Compare(was, is *Report, tolerance float64, relativeTo string) ([]Comparison, error) {
	for _, r := range []*Report{was, is} {
		if _, ok := find(r.series(""), relativeTo); !ok && relativeTo != "" {
			return nil, fmt.Errorf("there is no %q in both runs", relativeTo)
		}
	}
	var out []Comparison
	news := is.series(relativeTo)
	olds := was.series(relativeTo)
	for _, o := range olds {
		if o.name == relativeTo {
			continue
		}
		n, ok := find(news, o.name)
		if !ok {
			out = append(out, Comparison{Name: o.name, Unit: o.unit, Old: medianOr0(o.values), Verdict: Gone})
			continue
		}
		out = append(out, compare(o, n, tolerance))
	}
	for _, n := range news {
		if _, ok := find(olds, n.name); !ok {
			out = append(out, Comparison{Name: n.name, Unit: n.unit, New: medianOr0(n.values), Verdict: Added})
		}
	}
	return out, nil
}

func find(all []series, name string) (series, bool) {
	for _, s := range all {
		if s.name == name {
			return s, true
		}
	}
	return series{}, false
}

func compare(o, n series, tolerance float64) Comparison {
	c := Comparison{Name: o.name, Unit: o.unit, Old: medianOr0(o.values), New: medianOr0(n.values)}
	c.Ratio = change(n.values, o.values)
	for _, run := range []struct {
		name string
		series
	}{{"old", o}, {"new", n}} {
		for _, d := range run.doubts {
			c.Doubts = append(c.Doubts, run.name+": "+d)
		}
		if len(run.values) < minRounds {
			c.Doubts = append(c.Doubts, fmt.Sprintf("%s: fewer than %d rounds", run.name, minRounds))
		}
	}
	if o.flows != n.flows {
		c.Doubts = append(c.Doubts, fmt.Sprintf("%d flows, then %d", o.flows, n.flows))
	}
	if o.mix != n.mix {
		c.Doubts = append(c.Doubts, fmt.Sprintf("mix %q, then %q", o.mix, n.mix))
	}
	if o.unit != n.unit || o.higher != n.higher {
		c.Doubts = append(c.Doubts, fmt.Sprintf("%s, then %s", o.unit, n.unit))
	}
	if c.Ratio.Mid == 0 {
		c.Doubts = append(c.Doubts, "nothing to compare")
	}
	c.Verdict = c.judge(o.higher, tolerance)
	return c
}

func (c Comparison) judge(higher bool, tolerance float64) Verdict {
	down := c.Ratio.High < 1 && c.Ratio.Mid < 1-tolerance
	up := c.Ratio.Low > 1 && c.Ratio.Mid > 1+tolerance
	switch {
	case len(c.Doubts) > 0:
		return Inconclusive
	case down && higher, up && !higher:
		return Slower
	case up && higher, down && !higher:
		return Faster
	}
	return Same
}

func medianOr0(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return median(values)
}

// WriteComparison writes comparisons for people.
func WriteComparison(w io.Writer, was, is *Report, all []Comparison) error {
	fmt.Fprintf(w, "old: commit %s, %s\nnew: commit %s, %s\n",
		was.Environment.Commit, was.Environment.Started, is.Environment.Commit, is.Environment.Started)
	for _, d := range was.Environment.differences(is.Environment) {
		fmt.Fprintf(w, "NOT THE SAME: %s\n", d)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\told\tnew\tunit\tnew/old (95 %)\tverdict")
	for _, c := range all {
		ratio := "-"
		if c.Ratio.Mid > 0 {
			ratio = c.Ratio.text("%.3f")
		}
		verdict := string(c.Verdict)
		if len(c.Doubts) > 0 {
			verdict += ": " + strings.Join(c.Doubts, ", ")
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\t%s\t%s\n", c.Name, c.Old, c.New, c.Unit, ratio, verdict)
	}
	return t.Flush()
}
