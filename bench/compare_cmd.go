// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/json"
	"fmt"
	"os"
)

// CompareCmd is the command that says what became faster and slower between two
// runs. Its tags are kong's.
type CompareCmd struct {
	Old        string  `arg:"" help:"Results of the old run." type:"existingfile"`
	New        string  `arg:"" help:"Results of the new run." type:"existingfile"`
	Tolerance  float64 `help:"Part by which a figure may change." default:"0.02"`
	RelativeTo string  `help:"Compare what the others reach of this device, round by round: for runs on different machines." placeholder:"DEVICE"`
	JSON       bool    `name:"json" help:"Print JSON."`
}

// Help says what the exit code means.
func (*CompareCmd) Help() string {
	return fmt.Sprintf(`Exit codes: 0: nothing is slower. %d: something is. %d: nothing is known to be slower, but a figure
is gone or inconclusive. 1: the runs could not be compared.`, ExitSlower, ExitInconclusive)
}

// Exit codes of comparisons, beside those of all commands.
const (
	ExitInconclusive = 3
	ExitSlower       = 4
)

// Regression is the error of a comparison that found something.
type Regression struct {
	Slower, Unknown int // figures
}

func (r Regression) Error() string {
	if r.Slower > 0 {
		return fmt.Sprintf("%d slower, %d inconclusive or gone", r.Slower, r.Unknown)
	}
	return fmt.Sprintf("%d inconclusive or gone", r.Unknown)
}

// ExitCode implements kong's ExitCoder.
func (r Regression) ExitCode() int {
	if r.Slower > 0 {
		return ExitSlower
	}
	return ExitInconclusive
}

// Run prints the comparison to standard output. Its error is a [Regression] if
// the runs could be compared.
func (c *CompareCmd) Run() error {
	if !(c.Tolerance >= 0 && c.Tolerance < 1) {
		return fmt.Errorf("tolerance %g is not from 0 to 1", c.Tolerance)
	}
	was, err := ReadFile(c.Old)
	if err != nil {
		return err
	}
	is, err := ReadFile(c.New)
	if err != nil {
		return err
	}
	all, err := Compare(was, is, c.Tolerance, c.RelativeTo)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(map[string]any{"differences": was.Environment.differences(is.Environment), "figures": all})
	} else {
		err = WriteComparison(os.Stdout, was, is, all)
	}
	if err != nil {
		return err
	}
	return regression(all)
}

// regression is nil if nothing became worse.
func regression(all []Comparison) error {
	var r Regression
	for _, c := range all {
		switch c.Verdict {
		case Slower:
			r.Slower++
		case Gone, Inconclusive:
			r.Unknown++
		}
	}
	if r == (Regression{}) {
		if len(all) == 0 {
			return fmt.Errorf("there is nothing to compare")
		}
		return nil
	}
	return r
}
