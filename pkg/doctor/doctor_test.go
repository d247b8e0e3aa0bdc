// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
)

var update = flag.Bool("update", false, "write what is found into the files of testdata")

// A file of testdata is a recorded host, and what is to be found of it. "-- PATH --", or
// "-- PATH MODE --", begins a file, "-- PATH -> TARGET --" is a symbolic link. Below after/ is what
// files are after the pause, host.json is the [Facts] and the daemon's status, want has the
// findings. The area is the part of the name before the first dash.
var section = regexp.MustCompile(`(?m)^-- (\S+?)(?: -> (\S+)| (0[0-7]+))? --\n`)

// recorded is a host from such a file, and what is wanted of it.
func recorded(t *testing.T, text []byte) (h *Host, want string) {
	t.Helper()
	h = &Host{Root: t.TempDir(), Interval: time.Second, Pause: func() {}, ConfigError: fmt.Errorf("l2d.yaml: %w", fs.ErrNotExist)}
	after := map[string][]byte{}
	places := section.FindAllSubmatchIndex(text, -1)
	for i, at := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		group := func(n int) string {
			if at[2*n] < 0 {
				return ""
			}
			return string(text[at[2*n]:at[2*n+1]])
		}
		path, body := group(1), text[at[1]:end]
		switch later, isLater := strings.CutPrefix(path, "after/"); {
		case path == "want":
			want = string(body)
		case path == "host.json":
			var all struct {
				Facts
				Status, Later *api.Status
			}
			d := json.NewDecoder(bytes.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(&all); err != nil {
				t.Fatal(err)
			}
			h.Facts, h.Status, h.Later = all.Facts, all.Status, all.Later
		case path == "etc/l2d/l2d.yaml":
			h.Config, h.ConfigError = config.Parse("/etc/l2d/l2d.yaml", body)
		case isLater:
			after[later] = body
		default:
			put(t, h.Root, path, body, group(2), group(3))
		}
	}
	h.Pause = func() {
		for path, body := range after {
			put(t, h.Root, path, body, "", "")
		}
	}
	return h, want
}

// put makes a file, or a symbolic link.
func put(t *testing.T, root, path string, body []byte, target, mode string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if target != "" {
		if err := os.Symlink(target, full); err != nil {
			t.Fatal(err)
		}
		return
	}
	bits := uint64(0o600)
	if mode != "" {
		var err error
		if bits, err = strconv.ParseUint(mode, 8, 12); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(full, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(full, fs.FileMode(bits)); err != nil {
		t.Fatal(err)
	}
}

// found is findings as a file of testdata has them.
func found(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%s %s: %s\n", f.Severity, f.Check, f.Text)
		for _, s := range []string{f.Evidence, f.Remedy} {
			if s != "" {
				fmt.Fprintf(&b, "\t%s\n", s)
			}
		}
	}
	return b.String()
}

// oneSided are checks that have nothing better, or nothing worse, to say.
var oneSided = map[string]bool{"wifi radios": true}

// TestRecorded: what is found of recorded hosts. Of each check there must be one where all is
// well, and one where it is not.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded hosts: %v", err)
	}
	well, ill := map[string]bool{}, map[string]bool{}
	areas := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			area, _, _ := strings.Cut(filepath.Base(file), "-")
			areas[area] = true
			h, want := recorded(t, text)
			list, err := Examine(h, area)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range list {
				if f.Severity == Good {
					well[area+" "+f.Check] = true
				} else {
					ill[area+" "+f.Check] = true
				}
				if f.Severity.Worse(Note) && f.Remedy == "" {
					t.Errorf("%s: nothing to do about it", f.Text)
				}
			}
			got := found(list)
			if *update {
				head, _, _ := bytes.Cut(text, []byte("-- want --\n"))
				if err := os.WriteFile(file, append(head, "-- want --\n"+got...), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("found\n%s\nnot\n%s", got, want)
			}
		})
	}
	for _, a := range Areas {
		if !areas[a.Name] {
			t.Errorf("%s: no recorded host", a.Name)
		}
	}
	for check := range well {
		if !ill[check] && !oneSided[check] {
			t.Errorf("%s: no recorded host where it is not well", check)
		}
	}
	for check := range ill {
		if !well[check] && !oneSided[check] {
			t.Errorf("%s: no recorded host where it is well", check)
		}
	}
}

// TestEmpty: a host of which nothing can be read has findings, and no check falls over it.
func TestEmpty(t *testing.T) {
	h := &Host{Root: t.TempDir(), Interval: time.Second, Pause: func() {}}
	list, err := Examine(h)
	if err != nil || len(list) == 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := Examine(h, "cpu", "weather"); err == nil || !strings.Contains(err.Error(), `"weather": want one of kernel, cpu`) {
		t.Errorf("an area that is none: %v", err)
	}
}

func TestWorst(t *testing.T) {
	if w := Worst(nil); w != Good {
		t.Error(w)
	}
	if w := Worst([]Finding{{Severity: Warning}, {Severity: Failure}, {Severity: Note}}); w != Failure {
		t.Error(w)
	}
}
