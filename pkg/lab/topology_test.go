// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdArg makes the test binary bring up a lab and hold it until SIGINT.
const holdArg = "lab-hold"

func holdMain(id string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := Up(ctx, Options{ID: id, Serve: []string{os.Args[0], serveArg}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("up")
	<-ctx.Done()
	if err := l.Down(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// remains returns what is left of the lab id. inodes are its namespaces'.
func remains(t *testing.T, id string, inodes map[uint64]bool) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{filepath.Join(netnsDir, nsPrefix(id)+"*"), labDir(id), toolDir(id), pinDir(id)} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && inodes[st.Ino] {
			left = append(left, p)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, nsPrefix(id)) {
			left = append(left, line)
		}
	}
	return left
}

func inodes(t *testing.T, id string) map[uint64]bool {
	t.Helper()
	names, err := namespacesOf(id)
	if err != nil {
		t.Fatal(err)
	}
	set := map[uint64]bool{}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(netnsDir, name), &st); err != nil {
			t.Fatal(err)
		}
		set[st.Ino] = true
	}
	return set
}

func TestDownLeavesNothing(t *testing.T) {
	id := newID()
	l := upLab(t, id)
	set := inodes(t, id)
	if len(set) != len(hosts) {
		t.Fatalf("%d namespaces, want %d", len(set), len(hosts))
	}
	if left := remains(t, id, set); len(left) < len(hosts)+1 {
		t.Fatalf("the test does not see a lab that is up: %q", left)
	}
	// A program that someone else has started in the lab ends with it.
	p, err := l.start(Client1, "stray", processOptions{}, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(l.PinPath(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if left := remains(t, id, set); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestFailedUpLeavesNothing(t *testing.T) {
	needRoot(t)
	id := newID()
	l, err := Up(t.Context(), Options{ID: id, Serve: []string{"false"}})
	if err == nil {
		t.Fatal("a lab without its servers is up", l.Down())
	}
	if !strings.Contains(err.Error(), "ended: exit status 1") {
		t.Errorf("error %q does not say that a server ended", err)
	}
	if left := remains(t, id, nil); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestSecondLabOfTheSameName(t *testing.T) {
	l := upLab(t, "")
	if _, err := Up(t.Context(), Options{ID: l.ID()}); err == nil || !strings.Contains(err.Error(), "lab down "+l.ID()) {
		t.Errorf("a second lab %s: error %v, want one that says how to remove the first", l.ID(), err)
	}
	if _, err := l.run(t.Context(), Client1, "", "ping", "-c", "1", "-W", "5", AddrRouterLAN.V4.String()); err != nil {
		t.Errorf("the first lab is damaged: %v", err)
	}
}

// hold brings up a lab in another process.
func hold(t *testing.T, id string) *exec.Cmd {
	t.Helper()
	needRoot(t)
	cmd := exec.Command(os.Args[0], holdArg, id)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, when the test went well
		if err := Remove(id); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the lab says %q: %v", line, err)
	}
	return cmd
}

func TestInterruptLeavesNothing(t *testing.T) {
	id := newID()
	cmd := hold(t, id)
	set := inodes(t, id)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left := remains(t, id, set); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What a killed process leaves can be seen, and be removed by another.
func TestRemoveAfterKill(t *testing.T) {
	id := newID()
	cmd := hold(t, id)
	set := inodes(t, id)
	owned := func() bool {
		labs, err := List()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range labs {
			if l.ID == id {
				if time.Since(l.Created) > time.Minute {
					t.Errorf("created %s, a moment ago", l.Created)
				}
				return l.Owned
			}
		}
		t.Fatalf("lab %s is not in %v", id, labs)
		return false
	}
	if !owned() {
		t.Error("a lab whose creator lives has no owner")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if owned() {
		t.Error("a lab whose creator was killed has an owner")
	}
	if len(remains(t, id, set)) == 0 {
		t.Error("nothing is left to remove")
	}
	if err := Remove(id); err != nil {
		t.Fatal(err)
	}
	if left := remains(t, id, set); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
