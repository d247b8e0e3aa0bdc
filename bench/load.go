// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
)

// elementChanges is how many elements come and go in a repetition.
const elementChanges = 100

// loading has a ruleset compiled and loaded, as often as there are rounds, and its
// sets changed.
type loading struct {
	report *Report
	dir    string // for rulesets
	l2d    string // the daemon's binary
}

// compileAndLoad measures how long a ruleset takes from its file to verified programs, which are
// attached to nothing. After the first round it tells how much code each hook has.
func (l *loading) compileAndLoad(ctx context.Context, name, file string, round int) error {
	plan, err := enforce.PrepareRuleset(ctx, file)
	if err != nil {
		return err
	}
	begin := time.Now()
	if _, err := loader.Check(plan.Loader); err != nil {
		return err
	}
	load := time.Since(begin)
	l.found(name, round,
		Measure{Name: "compile", Unit: "ms", Value: milliseconds(plan.Took)},
		Measure{Name: "load", Unit: "ms", Value: milliseconds(load)},
		Measure{Name: "compile and load", Unit: "ms", Value: milliseconds(plan.Took + load)})
	if round > 0 {
		return nil
	}
	for _, h := range plan.Program.Hooks() {
		device := L2dName + " " + name
		l.report.Figures = append(l.report.Figures,
			Figure{device, h.Name + ", at most", float64(h.Instructions), "instructions"},
			Figure{device, h.Name + " without specialising", float64(h.General), "instructions"})
	}
	return nil
}

// changeElements measures how long a running daemon takes to add an element to a set of a
// load, and to delete it, as its clients see it.
func (l *loading) changeElements(ctx context.Context, load ruleLoad, element string, rounds int) (err error) {
	file := filepath.Join(l.dir, load.Name+".nft")
	if err := os.WriteFile(file, []byte(load.ruleset()), 0o600); err != nil {
		return err
	}
	t, err := NewTopology()
	if err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	d := &L2d{Binary: l.l2d, Ruleset: file, Label: " " + load.Name, TC: true} // nothing is to be forwarded
	defer func() { err = errors.Join(d.Teardown(), err) }()
	if err := d.Setup(ctx, t); err != nil {
		return err
	}
	for round := range rounds {
		if err := l.changeRound(ctx, d.client, load, element, round); err != nil {
			return err
		}
	}
	return nil
}

func (l *loading) changeRound(ctx context.Context, client *api.Client, load ruleLoad, element string, round int) error {
	set := api.SetName{Family: "inet", Table: "load", Set: "s"}
	add, remove := make([]float64, 0, elementChanges), make([]float64, 0, elementChanges)
	for range elementChanges {
		begin := time.Now()
		if err := client.SetAdd(ctx, set, element, 0); err != nil {
			return fmt.Errorf("add %s: %w", element, err)
		}
		middle := time.Now()
		if err := client.SetDelete(ctx, set, element); err != nil {
			return fmt.Errorf("delete %s: %w", element, err)
		}
		add = append(add, middle.Sub(begin).Seconds()*1e3)
		remove = append(remove, time.Since(middle).Seconds()*1e3)
	}
	l.found(load.What, round,
		Measure{Name: "add an element", Unit: "ms", Value: median(add)},
		Measure{Name: "delete an element", Unit: "ms", Value: median(remove)})
	return nil
}

func (l *loading) found(what string, round int, m ...Measure) {
	l.report.Outcomes = append(l.report.Outcomes, Outcome{Device: L2dName, Tool: what, Round: round, Measures: m})
}
