// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/revision"
)

// TestNamesNothing: what a script leaves empty or 0 is not taken for what is meant without it.
func TestNamesNothing(t *testing.T) {
	for _, args := range [][]string{{"confirm", ""}, {"rollback", "0"}, {"revisions", "0"}, {"revisions", "--", "-1"}} {
		var out, errs bytes.Buffer
		args = append([]string{"--socket", "/nosuch"}, args...)
		if code := execute(t.Context(), args, &out, &errs); code != exitInput || !strings.Contains(errs.String(), ": want ") || strings.Contains(errs.String(), "/nosuch") {
			t.Errorf("%q: exit code %d, %s", args, code, errs.String())
		}
	}
}

// TestRevisionComments: a comment of several lines is one in the list.
func TestRevisionComments(t *testing.T) {
	var out bytes.Buffer
	list := []revision.Summary{{Number: 2, Time: time.Now(), Fate: revision.Applied, Comment: "one\n\ntwo\tthree\n"}}
	if err := printRevisions(&env{out: &out}, list, false); err != nil || !strings.HasSuffix(out.String(), "applied  one two three\n") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v, %q", err, out.String())
	}
}
