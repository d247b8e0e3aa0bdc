// SPDX-License-Identifier: GPL-2.0-only

package revision

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "revisions")
	s := Open(dir)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("of nothing: %v, %v", list, err)
	}
	for n := 1; n <= Keep+3; n++ {
		r, err := s.Add(Revision{Text: "text " + strconv.Itoa(n), Fate: Pending, Change: "c" + strconv.Itoa(n)})
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

func TestBrokenRevision(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "3.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir).List(); err == nil || !strings.Contains(err.Error(), "3.json") {
		t.Errorf("%v", err)
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a\n", "a\n", "  a\n"},
		{"", "a\nb\n", "+ a\n+ b\n"},
		{"a\nb\n", "", "- a\n- b\n"},
		{"a\nb\nc\nd\n", "a\nx\nc\ne\nd\n", "  a\n- b\n+ x\n  c\n+ e\n  d\n"},
		{"a\nb\nc", "c\na\nb", "+ c\n  a\n  b\n- c\n"},
	} {
		if got := Diff(c.from, c.to); got != c.want {
			t.Errorf("%q to %q: %q, not %q", c.from, c.to, got, c.want)
		}
	}
}
