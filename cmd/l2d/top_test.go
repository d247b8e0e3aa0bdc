// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/observe"
)

// terminal is one of tmux with a program on it.
type terminal struct {
	t      *testing.T
	socket string
}

func newTerminal(t *testing.T, columns, rows int, command string) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not there: scripts/setup.sh test installs it")
	}
	w := &terminal{t, fmt.Sprintf("l2d-test-%d", os.Getpid())}
	w.tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", w.socket, "kill-server").Run() })
	return w
}

func (w *terminal) tmux(args ...string) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), "tmux", append([]string{"-L", w.socket}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// shows waits until all texts are on the screen.
func (w *terminal) shows(want ...string) {
	w.t.Helper()
	var screen string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		screen = w.tmux("capture-pane", "-p")
		missing := 0
		for _, text := range want {
			if !strings.Contains(screen, text) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
	w.t.Fatalf("not all of %q on\n%s", want, screen)
}

// TestTop has somebody look at a router with traffic.
func TestTop(t *testing.T) {
	h := newHost(t)
	l2ctl := h.l2ctl()
	h.start()
	h.expect("READY=1")
	ping := h.command("ping", "-q", "-i", "0.05", "-s", "1000", "192.0.2.2") // nobody answers
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = ping.Process.Kill()
		_ = ping.Wait()
	}()
	out, err := exec.CommandContext(t.Context(), l2ctl, "--socket", h.path("run/l2d.sock"), "top", "--json").Output()
	var v observe.View
	if err != nil || json.Unmarshal(out, &v) != nil || v.Interval < 1 || len(v.Interfaces) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, i := range v.Interfaces {
		if i.Name == "wan0" && (i.TxPackets < 1 || i.TxBits < 8000) {
			t.Errorf("nothing is sent: %+v", i)
		}
	}
	if len(v.Hosts) == 0 || v.Hosts[0].Address.String() != "192.0.2.1" || v.Hosts[0].Up < 8000 || len(v.CPUs) == 0 {
		t.Errorf("hosts %+v, CPUs %+v", v.Hosts, v.CPUs)
	}

	w := newTerminal(t, 80, 24, fmt.Sprintf("NO_COLOR=1 %s --socket %s top --interval 500ms; echo ended with $?; sleep 60", l2ctl, h.path("run/l2d.sock")))
	w.shows("INTERFACE", "wan0", "192.0.2.1", "flows ", "q quit")
	w.tmux("send-keys", "4")
	w.shows("Hosts: 1", "UP bit/s")
	w.tmux("send-keys", "s", "s", "s", "s")
	w.shows("UP bit/sv")
	w.tmux("send-keys", "Enter")
	w.shows("Flows that move most: 1 of 192.0.2.1", "icmp")
	w.tmux("send-keys", "Escape")
	w.shows("Hosts: 1")
	w.tmux("send-keys", "/", "nosuch", "Enter")
	w.shows("nothing has flows")
	w.tmux("send-keys", "1")
	w.shows("Interfaces: 2")
	w.tmux("resize-window", "-x", "50", "-y", "12")
	w.shows("Interfaces: 2")
	w.tmux("send-keys", "q")
	w.shows("ended with 0")
}
