// SPDX-License-Identifier: GPL-2.0-only

package durable

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mishap"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"one", "another"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// What cannot be replaced stays, and nothing is left beside it.
	taken := filepath.Join(dir, "directory")
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(taken, []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestClean: what a process has left of a file goes, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	make := func(names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func(want ...string) {
		t.Helper()
		var names []string
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("%v, %v, not %v", names, err, want)
		}
	}
	make("file", "file.new", "file.news", "other", "other.new")
	if err := Clean(filepath.Join(dir, "file")); err != nil {
		t.Error(err)
	}
	left("file", "file.news", "other", "other.new")
	if err := Remove(filepath.Join(dir, "other")); err != nil {
		t.Error(err)
	}
	left("file", "file.news")
	make("a.new", "b.new")
	if err := CleanDir(dir); err != nil {
		t.Error(err)
	}
	left("file", "file.news")
	for _, err := range []error{Clean(filepath.Join(dir, "nosuch", "file")), CleanDir(filepath.Join(dir, "nosuch")), Remove(filepath.Join(dir, "nosuch"))} {
		if err != nil {
			t.Error(err)
		}
	}
}

const victim = "L2D_TEST_VICTIM"

// TestMain is the tests, or a process that is killed at a step of writing a file.
func TestMain(m *testing.M) {
	step, path, ok := strings.Cut(os.Getenv(victim), " ")
	if !ok {
		os.Exit(m.Run())
	}
	at, err := strconv.Atoi(step)
	if err != nil {
		panic(err)
	}
	w, err := mishap.Watch()
	if err != nil {
		panic(err)
	}
	w.Arm(at, mishap.Kills)
	if err := WriteFile(path, []byte("killed")); err != nil {
		panic(err)
	}
}

// TestKilled: whichever step a process is killed at, the file is the one before or the next one, and the next writer
// leaves nothing beside it.
func TestKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	beside := 0
	for at := 0; ; at++ {
		if err := WriteFile(path, []byte("before")); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatalf("killed at %d: %v, %v", at-1, entries, err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprint(victim, "=", at, " ", path))
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v: %s", err, out)
		}
		b, readErr := os.ReadFile(path)
		if text := string(b); readErr != nil || text != "killed" && (text != "before" || err == nil) {
			t.Errorf("killed at %d: %q, %v", at, text, readErr)
		}
		if entries, _ := os.ReadDir(dir); len(entries) == 2 {
			beside++
		}
		if err == nil {
			break
		}
	}
	if beside == 0 {
		t.Error("no process has left anything")
	}
}
