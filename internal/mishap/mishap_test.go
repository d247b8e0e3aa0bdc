// SPDX-License-Identifier: GPL-2.0-only

package mishap

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const victim = "L2D_TEST_VICTIM"

// TestMain is the tests, or a process that makes two files and does not survive the second, or a program that is watched.
func TestMain(m *testing.M) {
	Become()
	dir := os.Getenv(victim)
	if dir == "" {
		os.Exit(m.Run())
	}
	t, err := Watch()
	if err != nil {
		panic(err)
	}
	t.Arm(1, Kills)
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			panic(err)
		}
	}
}

func watched(t *testing.T) *Thread {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// TestFails: each call in its turn has no effect, and an error; the others are as ever.
func TestFails(t *testing.T) {
	w := watched(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	work := []func() error{
		func() error { return os.WriteFile(path, []byte("1"), 0o600) },
		func() error { return os.Rename(path, path+"2") },
		func() error {
			return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
		},
		func() error { _, err := netlink.LinkByName("lo"); return err }, // no step
		func() error { return os.Remove(path + "2") },
	}
	want := []string{"open " + path, "rename " + path + " " + path + "2", "rtnetlink 16", "unlink " + path + "2"}
	var errs []error
	w.Arm(Never, Fails)
	w.Do(func() {
		for _, f := range work {
			errs = append(errs, f())
		}
	})
	if steps, hit := w.Disarm(); errors.Join(errs...) != nil || hit != "" || strings.Join(steps, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%v, %q, %q", errs, steps, hit)
	}
	w.Arm(0, Fails)
	var first, again error
	w.Do(func() { first, again = work[0](), work[0]() })
	if _, hit := w.Disarm(); !errors.Is(first, unix.EIO) || again != nil || hit != want[0] {
		t.Errorf("%v, %v, %q", first, again, hit)
	}
	w.Arm(0, FailsBehind)
	w.Do(func() { first, again = os.Remove(path), os.WriteFile(path, nil, 0o600) })
	if _, err := os.Stat(path); first != nil || !errors.Is(again, unix.EIO) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %v, %v", first, again, err)
	}
}

// TestKills: nothing of the process outlives the step before.
func TestKills(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victim+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestProcess: of a program's calls each fails, or is its last one, and not those of what it has started.
func TestProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for way, want := range map[Way]string{Fails: "one three", Kills: "one"} {
		cmd := exec.Command("bash", "-c", "read; echo >one; (echo >other); echo >two; echo >three; exit 3")
		cmd.Dir = t.TempDir()
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(cmd, "")
		if err != nil {
			t.Fatal(err)
		}
		p.Skip(func(step string) bool { return strings.HasPrefix(step, "open /") })
		p.Arm(1, way)
		_ = in.Close()
		err = cmd.Wait()
		_, hit := p.Disarm()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if hit != "open two" || way == Kills && status.Signal() != unix.SIGKILL || way == Fails && status.ExitStatus() != 3 {
			t.Errorf("%s: %q, %v", way, hit, err)
		}
		var made []string
		for _, name := range []string{"one", "two", "three"} {
			if _, err := os.Stat(filepath.Join(cmd.Dir, name)); err == nil {
				made = append(made, name)
			}
		}
		if _, err := os.Stat(filepath.Join(cmd.Dir, "other")); err != nil || strings.Join(made, " ") != want {
			t.Errorf("%s: %v, and a child's: %v", way, made, err)
		}
	}
}
