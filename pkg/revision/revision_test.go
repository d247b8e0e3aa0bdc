// SPDX-License-Identifier: GPL-2.0-only

package revision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "revisions")
	s := Open(dir)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("of nothing: %v, %v", list, err)
	}
	for n := 1; n <= Keep+3; n++ {
		r, err := s.Add(Revision{Text: "text " + strconv.Itoa(n), Summary: Summary{Fate: Pending, Change: "c" + strconv.Itoa(n)}})
		if err != nil || r.Number != n {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = Open(dir) // another process
	list, err := s.List()
	if err != nil || len(list) != Keep || list[0].Number != Keep+3 || list[Keep-1].Number != 4 {
		t.Fatalf("%d revisions, %v", len(list), err)
	}
	if err := errors.Join(s.Settle("c7", Undone), s.Settle("c8", Applied), s.Settle("", Undone), s.Settle("other", Undone)); err != nil {
		t.Error(err)
	}
	for n, fate := range map[int]Fate{6: Pending, 7: Undone, 8: Applied, Keep + 3: Pending} {
		if r, err := s.Get(n); err != nil || r.Fate != fate || r.Text != "text "+strconv.Itoa(n) || r.Time.IsZero() {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if _, err := s.Get(1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestStartingRevisions: however many there are that were undone since, those that a daemon would start with stay.
func TestStartingRevisions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "revisions")
	s := Open(dir)
	for n := 1; n <= 2*Keep; n++ {
		r := Revision{Text: "text " + strconv.Itoa(n), Summary: Summary{Fate: Undone, Boot: "this"}}
		switch n {
		case 1, 2: // for good
			r.Fate = Applied
		case 3, 4: // for a run of the kernel
			r.Fate, r.Runtime = Applied, true
		}
		if _, err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != Keep || list[Keep-1].Number != 2 || list[Keep-2].Number != 4 || list[Keep-3].Number != Keep+3 {
		t.Fatalf("%d revisions, %+v, %v", len(list), list[max(0, len(list)-3):], err)
	}
}

// TestDamaged: a revision that cannot be read is listed as such, and keeps nobody from the others, nor from new ones.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	for n := 1; n <= 4; n++ {
		r := Revision{Text: "text", Ruleset: "ruleset " + strconv.Itoa(n), Summary: Summary{Fate: Applied, Change: strconv.Itoa(n)}, Before: []reconcile.Before{{Name: strconv.Itoa(n)}}}
		if _, err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("3.json", "{")
	write(rulesetFile("ruleset 4"), "ruleset")
	list, err := s.List()
	if err != nil || len(list) != 4 || list[1].Fate != Damaged || list[1].Number != 3 || list[1].Time.IsZero() || list[1].Starts("") || !strings.Contains(list[1].Comment, "3.json: unexpected end") || list[0].Fate != Applied {
		t.Errorf("%+v, %v", list, err)
	}
	for n, name := range map[int]string{3: "3.json", 4: rulesetFile("ruleset 4")} {
		if _, err := s.Get(n); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("revision %d: %v", n, err)
		}
	}
	if same, err := s.Same("text", "ruleset 1"); err != nil || !slices.Equal(same, []int{1}) {
		t.Errorf("%v, %v", same, err)
	}
	if since, damaged, err := s.Since(1); err != nil || !slices.Equal(damaged, []int{3}) || len(since) != 2 || since[1].Name != "2" {
		t.Errorf("%+v, %v, %v", since, damaged, err)
	}
	if err := s.Settle("2", Undone); err != nil {
		t.Error(err)
	}
	if r, err := s.Get(2); err != nil || r.Fate != Undone {
		t.Errorf("%+v, %v", r, err)
	}
	// A ruleset that is damaged is written again with the next revision that has it.
	if r, err := s.Add(Revision{Text: "text", Ruleset: "ruleset 4", Summary: Summary{Fate: Applied}}); err != nil || r.Number != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Get(5); err != nil || r.Ruleset != "ruleset 4" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRulesets: a ruleset is kept once, for as long as a revision has it.
func TestRulesets(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	rulesets := func() int {
		list, err := filepath.Glob(filepath.Join(dir, "*.nft"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for n := range 4 {
		if _, err := s.Add(Revision{Text: "t", Ruleset: "ruleset " + strconv.Itoa(n/2), Summary: Summary{Change: strconv.Itoa(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle("0", Applied); err != nil {
		t.Error(err)
	}
	if n := rulesets(); n != 2 {
		t.Errorf("%d rulesets, not 2", n)
	}
	list, err := s.List()
	if err != nil || len(list) != 4 || list[3].Fate != Applied || list[0].Change != "3" {
		t.Errorf("%+v, %v", list, err)
	}
	for n, want := range map[int]string{1: "ruleset 0", 4: "ruleset 1"} {
		if r, err := s.Get(n); err != nil || r.Ruleset != want {
			t.Errorf("%+v, %v", r, err)
		}
	}
	for _, c := range []struct {
		text, ruleset string
		want          []int
	}{{"t", "ruleset 0", []int{2, 1}}, {"t", "ruleset 1", []int{4, 3}}, {"u", "ruleset 1", nil}, {"t", "", nil}} {
		if same, err := s.Same(c.text, c.ruleset); err != nil || !slices.Equal(same, c.want) {
			t.Errorf("%+v: %v, %v", c, same, err)
		}
	}
	// What is listed is there without the rulesets.
	if err := os.Rename(filepath.Join(dir, rulesetFile("ruleset 0")), filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if again, err := s.List(); err != nil || !slices.Equal(again, list) {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := s.Get(1); err == nil {
		t.Error("a ruleset that is gone was read")
	}
	if err := os.Rename(filepath.Join(dir, "gone"), filepath.Join(dir, rulesetFile("ruleset 0"))); err != nil {
		t.Fatal(err)
	}
	for range Keep - 2 {
		if _, err := s.Add(Revision{Summary: Summary{Fate: Applied}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := rulesets(); n != 1 {
		t.Errorf("%d rulesets, not the one that is in a revision", n)
	}
}

func TestStarts(t *testing.T) {
	for _, c := range []struct {
		r    Summary
		want bool
	}{
		{Summary{Fate: Applied}, true},
		{Summary{Fate: Undone}, false},
		{Summary{Fate: Pending}, false},
		{Summary{Fate: Applied, Boot: "before"}, true},
		{Summary{Fate: Applied, Boot: "before", Runtime: true}, false},
		{Summary{Fate: Applied, Boot: "this", Runtime: true}, true},
	} {
		if got := c.r.Starts("this"); got != c.want {
			t.Errorf("%+v: %v", c.r, got)
		}
	}
}

// TestClean: what a process that was killed has left of a revision goes with the next start.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir)
	if _, err := s.Add(Revision{Text: "text"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "2.json.new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Clean(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
