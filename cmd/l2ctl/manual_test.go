// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/randomizedcoder/l2d/internal/climanual"
)

// definition is the command line's.
func definition(t *testing.T) *kong.Application {
	t.Helper()
	p, err := newParser(&cli{}, &bytes.Buffer{}, &bytes.Buffer{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return p.Model
}

// withoutJSON are commands, hidden ones too, whose output is another program's input.
var withoutJSON = map[string]string{
	"man":       "roff, for packages",
	"complete":  "words, for the shell",
	"lab paths": "its input is JSON already, of which it makes a table",
	"lab serve": "a server of the lab, which prints nothing",

	"bench report": "a page of HTML; its input is JSON",
	"bench export": "its input is JSON, of which it makes another format",
	"bench serve":  "a server of the bench, which prints nothing",
}

// TestEveryCommandHasJSON: programs can use all of them.
func TestEveryCommandHasJSON(t *testing.T) {
	for _, c := range definition(t).Leaves(false) {
		if withoutJSON[c.Path()] != "" {
			continue
		}
		if !slices.ContainsFunc(c.Flags, func(f *kong.Flag) bool { return f.Name == "json" }) {
			t.Errorf("%s has no --json", c.Path())
		}
		if c.Help == "" {
			t.Errorf("%s has no help", c.Path())
		}
	}
}

// TestCaptureJSON: two things do not go to the same output.
func TestCaptureJSON(t *testing.T) {
	if code, _, stderr := run(t, "capture", "--nl80211", "--json"); code != exitInput || !strings.Contains(stderr, "want -w FILE") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestManualPage(t *testing.T) {
	code, page, _ := run(t, "man")
	if code != 0 {
		t.Fatal(code)
	}
	for _, c := range definition(t).Leaves(true) {
		if !strings.Contains(page, ".SS "+strings.ReplaceAll(c.Path(), "-", `\-`)+"\n") {
			t.Errorf("%s is not in the page", c.Path())
		}
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not there: scripts/setup.sh test installs it")
	}
	lint := exec.CommandContext(t.Context(), mandoc, "-Tlint", "-Wwarning")
	lint.Stdin = strings.NewReader(page)
	out, _ := lint.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") { // the page is that of a build, and builds have none
			t.Error(line)
		}
	}
}

func TestComplete(t *testing.T) {
	app := definition(t)
	for _, c := range []struct {
		words []string
		want  string // words, separated by spaces
	}{
		{[]string{"sta"}, "stations status"},
		{[]string{"compl"}, "completion"}, // and not what is hidden
		{[]string{"flows", ""}, "list delete events stats"},
		{[]string{"flows", "--count", "ev"}, "events"},
		{[]string{"flows", "--proto", "e"}, ""}, // a value
		{[]string{"flows", "delete", "--a"}, "--all --addr --any-nat"},
		{[]string{"flows", "--cou"}, "--count"}, // of what is the default
		{[]string{"set", "add", "ip"}, "ip ip6"},
		{[]string{"set", "add", "inet", "ip"}, ""},
		{[]string{"lab", "up", "--dataplane=n"}, "--dataplane=nftables"},
		{[]string{"lab", "up", "--dataplane", ""}, "l2d nftables"},
		{[]string{"--socket", "x", "rel"}, "reload"},
		{[]string{"qdisc", "l"}, "lo"},
		{[]string{"check", "--config", ""}, ":files"},
	} {
		var got []string
		for _, line := range climanual.Complete(app, c.words) {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		want := strings.Fields(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", c.words, got, want)
		}
	}
}

// TestShells has the shells complete.
func TestShells(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(dir, "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for shell, c := range map[string]struct{ script, want string }{
		"bash": {`. <(l2ctl completion bash); COMP_WORDS=(l2ctl flows ev) COMP_CWORD=2; _l2ctl; printf '%s\n' "${COMPREPLY[@]}"
			COMP_WORDS=(l2ctl check --ruleset ` + dir + `/a) COMP_CWORD=3; _l2ctl; printf '%s\n' "${COMPREPLY[@]}"`, "events\n" + file + "\n"},
		"zsh": {`compdef() { :; }; _describe() { print -l -- ${(P)2}; }; _files() { print files; }
			eval "$(l2ctl completion zsh)"; words=(l2ctl flows ev) CURRENT=3; _l2ctl; words=(l2ctl check --ruleset a) CURRENT=4; _l2ctl`,
			"events:Show what happens to flows while it happens.\nfiles\n"},
		"fish": {`l2ctl completion fish | source; complete -C 'l2ctl flows ev'; cd ` + dir + `; complete -C 'l2ctl check --ruleset ./a'`,
			"events\tShow what happens to flows while it happens.\n./a file\n"},
	} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not there: scripts/setup.sh test installs it", shell)
			continue
		}
		cmd := exec.CommandContext(t.Context(), path, "-c", c.script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != c.want {
			t.Errorf("%s: %v\n%q, want\n%q", shell, err, out, c.want)
		}
	}
}
