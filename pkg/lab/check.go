// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkLimit is what a check gets at most; none needs half of it.
const checkLimit = 90 * time.Second

// Check is one thing that a dataplane must do with real packets.
type Check struct {
	// Group is the name of the checks that belong together.
	Group string
	// Name is short; Shows says what a pass proves.
	Name, Shows string

	run func(ctx context.Context, t *trial) error
}

// Result is how a check ended.
type Result struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Shows string `json:"shows"`
	// Rules that decided, as "chain: rule (+packets)".
	Rules []string `json:"rules"`
	// Notes are figures that did not decide.
	Notes []string `json:"notes,omitempty"`
	Pass  bool     `json:"pass"`
	// Skipped is why it could not be run here; it has not failed then, nor passed.
	Skipped  string        `json:"skipped,omitempty"`
	Error    string        `json:"error,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// errSkipped says that a check needs what is not here.
var errSkipped = errors.New("not run here")

// trial is one run of a check.
type trial struct {
	*Lab
	dp     Dataplane
	result *Result
}

// Run runs the checks in order and reports each as it ends. It stops early only
// when the context ends.
func Run(ctx context.Context, l *Lab, dp Dataplane, checks []Check, report func(Result)) []Result {
	var results []Result
	for _, c := range checks {
		if ctx.Err() != nil {
			break
		}
		r := Result{Group: c.Group, Name: c.Name, Shows: c.Shows}
		begin := time.Now()
		limited, cancel := context.WithTimeout(ctx, checkLimit)
		err := c.run(limited, &trial{Lab: l, dp: dp, result: &r})
		cancel()
		r.Duration = time.Since(begin)
		switch {
		case err == nil:
			r.Pass = true
		case errors.Is(err, errSkipped):
			r.Skipped = err.Error()
		default:
			r.Error = err.Error()
		}
		if report != nil {
			report(r)
		}
		results = append(results, r)
	}
	return results
}

// note adds a figure that is worth seeing but decides nothing.
func (t *trial) note(format string, args ...any) {
	t.result.Notes = append(t.result.Notes, fmt.Sprintf(format, args...))
}

// decidedBy runs fn and fails unless each of the named rules has counted at least
// one packet meanwhile.
func (t *trial) decidedBy(ctx context.Context, fn func() error, rules ...ruleName) error {
	first, err := takeSample(ctx, t.dp)
	if err != nil {
		return err
	}
	failed := fn()
	last, err := takeSample(ctx, t.dp)
	if failed != nil && err == nil {
		failed = fmt.Errorf("%w\nmeanwhile dropped: %s", failed, last.drops(first))
	}
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	before, after := first.rules, last.rules
	for _, r := range rules {
		n, err := counted(before, after, r)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("it worked, but not by the rule %q; these counted: %s", r, describe(changes(before, after)))
		}
		t.decided(r, n)
	}
	return nil
}

func (t *trial) decided(r ruleName, n uint64) {
	t.result.Rules = append(t.result.Rules, fmt.Sprintf("%s (+%d)", r, n))
}

func counted(before, after []Rule, r ruleName) (uint64, error) {
	a, errA := r.find(before)
	b, errB := r.find(after)
	if err := errors.Join(errA, errB); err != nil {
		return 0, err
	}
	if b < a {
		return 0, fmt.Errorf("the counter of %q fell from %d to %d", r, a, b)
	}
	return b - a, nil
}

func describe(rules []Rule) string {
	if len(rules) == 0 {
		return "none"
	}
	var out []string
	for _, r := range rules {
		out = append(out, fmt.Sprintf("%s: %s (+%d)", r.Chain, plainRule(r.Text), r.Packets))
	}
	return strings.Join(out, "; ")
}

// both makes a check for each family.
func both(group, name, shows string, run func(ctx context.Context, t *trial, family int) error) []Check {
	var list []Check
	for _, family := range []int{4, 6} {
		list = append(list, Check{
			Group: group, Name: fmt.Sprintf("%s, IPv%d", name, family), Shows: shows,
			run: func(ctx context.Context, t *trial) error { return run(ctx, t, family) },
		})
	}
	return list
}

// pick picks the rule for family 4 or 6.
func pick(family int, v4, v6 ruleName) ruleName {
	if family == 4 {
		return v4
	}
	return v6
}
