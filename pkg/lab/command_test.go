// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// l2ctlLab prepares "l2ctl lab" with the kernel as its router.
func l2ctlLab(t *testing.T, verb, examples string, args ...string) *exec.Cmd {
	t.Helper()
	needRoot(t)
	args = append([]string{"lab", verb, "--dataplane", "nftables", "--examples", examples}, args...)
	return exec.Command(program(t, "l2ctl"), args...)
}

// Ctrl-C in the middle of the checks leaves nothing behind.
func TestCommandInterrupted(t *testing.T) {
	id := newID()
	cmd := l2ctlLab(t, "run", example(t, ""), "--id", id)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(id); err != nil {
			t.Error(err)
		}
	})
	var text strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "ping the router") {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("the command ended: %s%s", &text, &stderr)
		}
	}
	set := inodes(t, id)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = out.Read(buf)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		t.Errorf("an interrupted command ends with %v, want an exit code", err)
	}
	if left := remains(t, id, set); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("the command does not say that it was interrupted: %s", &stderr)
	}
}

func TestCommandUpDown(t *testing.T) {
	id := newID()
	out, err := l2ctlLab(t, "up", example(t, ""), "--id", id).CombinedOutput()
	t.Cleanup(func() {
		if err := Remove(id); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	set := inodes(t, id)
	// The servers and the router outlive the command.
	ns, err := openNamespace(nsPrefix(id) + Client1)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	l := &Lab{ns: map[string]*Namespace{Client1: ns}}
	if err := l.download(t.Context(), Client1, AddrServer.V6, 1_000_000, ""); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(out), "ip netns exec "+ns.Name()) {
		t.Errorf("the command does not say how to enter: %s", out)
	}
	if out, err := exec.Command(program(t, "l2ctl"), "lab", "down", id).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if left := remains(t, id, set); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What the checks find makes the report and the exit code.
func TestCommandResult(t *testing.T) {
	good := example(t, "")
	text, err := os.ReadFile(filepath.Join(good, "l2/firewall.nft"))
	if err != nil {
		t.Fatal(err)
	}
	bad := t.TempDir()
	if err := os.Mkdir(filepath.Join(bad, "l2"), 0o755); err != nil {
		t.Fatal(err)
	}
	open := strings.NewReplacer("counter drop", "accept", "policy drop", "policy accept").Replace(string(text))
	if err := os.WriteFile(filepath.Join(bad, "l2/firewall.nft"), []byte(open), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		examples string
		pass     bool
	}{{good, true}, {bad, false}} {
		cmd := l2ctlLab(t, "run", c.examples, "--json", "--only", "^SYN to a client, IPv4$")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if (err == nil) != c.pass {
			t.Errorf("%s: exit with %v, want success: %v; %s", c.examples, err, c.pass, &stderr)
		}
		var report struct {
			Dataplane string   `json:"dataplane"`
			Pass      bool     `json:"pass"`
			Results   []Result `json:"results"`
		}
		if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
			t.Fatalf("%v: %s", err, &stdout)
		}
		if report.Dataplane != "nftables" || report.Pass != c.pass || len(report.Results) != 1 || report.Results[0].Pass != c.pass {
			t.Errorf("report %+v, want one result that is a pass: %v", report, c.pass)
		}
	}
	if out, err := l2ctlLab(t, "run", good, "--only", "no such check").CombinedOutput(); err == nil || !strings.Contains(string(out), "no such check") {
		t.Errorf("a pattern that fits no check: %v: %s", err, out)
	}
}
