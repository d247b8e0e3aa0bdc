// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"errors"
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/policy"
)

// RulesetError is something of a ruleset that cannot be compiled.
type RulesetError struct {
	// File of the ruleset, or config.KernelRuleset.
	File string `json:"file"`
	// Line and Column of the rule, from 1; 0 when not known.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Err says what; often a [policy.Unsupported].
	Err error `json:"-"`
}

// Error implements error.
func (e *RulesetError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

// Place is where in the file it is.
func (e *RulesetError) Place() (file string, line, column int) { return e.File, e.Line, e.Column }

// Unwrap returns what is wrong.
func (e *RulesetError) Unwrap() error { return e.Err }

// locate gives each of the joined errors of the compiler its place in the file.
func locate(file, text string, err error) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	lines := strings.Split(text, "\n")
	located := make([]error, len(list))
	for i, e := range list {
		re := &RulesetError{File: file, Err: e}
		var u *policy.Unsupported
		if errors.As(e, &u) {
			re.Line = u.Line
		}
		if re.Line > 0 && text != "" && re.Line <= len(lines) {
			re.Column = 1 + strings.IndexFunc(lines[re.Line-1], func(r rune) bool { return r != ' ' && r != '\t' })
		}
		located[i] = re
	}
	return errors.Join(located...)
}
