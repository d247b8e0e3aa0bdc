// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// groupOf is the directory of a process's control group.
func groupOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, path, ok := strings.Cut(strings.TrimSpace(string(b)), "0::")
	if !ok {
		t.Fatalf("control groups: %s", b)
	}
	return filepath.Join(cgroupMount, path)
}

// limits are files of a group, with what is in them.
func limits(t *testing.T, dir string, files ...string) string {
	t.Helper()
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Error(err)
		}
		out = append(out, f+" "+strings.TrimSpace(string(b)))
	}
	return strings.Join(out, ", ")
}

// withLimits has a service in a slice, both with limits.
func (h *host) withLimits(c *config.Config) *Unit {
	h.declare("a", "one good")
	u := h.d.units[0]
	u.Service.Slice = "network"
	u.Service.Limits = config.Limits{CPUs: []int{1}, CPUWeight: 200, MemoryHigh: 64 << 20, MemoryMax: 128 << 20}
	c.Services.Slices = []config.Slice{{Name: "network", Limits: config.Limits{CPUs: []int{0, 1}, MemoryHigh: 256 << 20, MemoryMax: 512 << 20}}}
	return u
}

// applyOf applies a configuration with slices.
func (h *host) applyOf(c *config.Config) error {
	list, err := h.m.Declare(c)
	if err != nil {
		return err
	}
	p, err := h.e.Plan(h.t.Context(), list)
	if err == nil {
		_, err = h.e.Apply(h.t.Context(), p, reconcile.Options{})
	}
	return err
}

// TestGroups: without systemd, services have control groups with their limits, below that of their slice.
func TestGroups(t *testing.T) {
	h := newHost(t)
	if h.m.Slices.groups.root == "" {
		t.Skip(h.m.Slices.groups.why)
	}
	testLimits(t, h, "l2d/network/a.service")
}

// TestUnits: with systemd, services are units with the limits that are declared, below their slices, and
// as closed off as they say.
func TestUnits(t *testing.T) {
	if !systemdRuns() {
		t.Skip("systemd is not the first process: make test-vm VM=units")
	}
	h := newHost(t)
	pid := testLimits(t, h, "l2d.slice/l2d-network.slice/l2d-network-test.slice/l2d-a.service")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "CapBnd:\t0000000000000000") {
		t.Errorf("%v: %s", err, status)
	}
	lines, err := h.m.Logs(t.Context(), "a", 100)
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "has read its file") {
		t.Errorf("log: %q, %v", lines, err)
	}

	// It ends again and again.
	h.declare("a", "two crash", "b", "one good")
	if err := h.apply(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	eventually(t, "it is not as it was", func() bool { s := h.status("a"); return s.Error == "" && s.Detail == "one" })
	if list := h.m.Statuses(t.Context()); len(list) != 1 {
		t.Errorf("%+v", list)
	}

	// A new daemon goes on with it.
	before := h.status("a")
	h.begin()
	if s := h.status("a"); s.PID != before.PID || s.Error != "" {
		t.Errorf("%+v, and before %+v", s, before)
	}

	h.restarted("a")
	before = h.status("a")

	// Somebody has changed the unit.
	if err := os.WriteFile(unitPath("a"), []byte("[Service]\nExecStart=/bin/true\n"), 0); err != nil {
		t.Fatal(err)
	}
	p, err := h.plan()
	if err != nil || len(p.Changes) == 0 {
		t.Errorf("a changed unit is no drift: %+v, %v", p, err)
	}
	h.declare()
	h.must()
	if _, err := os.Stat(unitPath("a")); err == nil || alive(before.PID) {
		t.Error("the unit is still there")
	}
}

// testLimits runs a service with limits, changes them, and has it end and come again. It returns the process.
func testLimits(t *testing.T, h *host, group string) int {
	var c config.Config
	u := h.withLimits(&c)
	u.Mode = config.ModeAuto
	if err := h.applyOf(&c); err != nil {
		t.Fatal(err)
	}
	first := h.status("a")
	dir := groupOf(t, first.PID)
	if dir != filepath.Join(cgroupMount, group) {
		t.Errorf("group %s", dir)
	}
	files := []string{cpusFile, weightFile, highFile, maxFile}
	if got := limits(t, dir, files...); got != "cpuset.cpus 1, cpu.weight 200, memory.high 67108864, memory.max 134217728" {
		t.Error(got)
	}
	slice := filepath.Join(cgroupMount, strings.Join(strings.Split(group, "/")[:2], "/"))
	if got := limits(t, slice, cpusFile, highFile, maxFile); got != "cpuset.cpus 0-1, memory.high 268435456, memory.max 536870912" {
		t.Error(got)
	}

	u.Service.MemoryMax, u.Service.CPUs = 96<<20, []int{0}
	c.Services.Slices[0].MemoryMax = 0
	if err := h.applyOf(&c); err != nil {
		t.Fatal(err)
	}
	if s := h.status("a"); s.PID != first.PID || s.Error != "" {
		t.Errorf("other limits take another process: %+v, and before %+v", s, first)
	}
	// systemd gives them once it has read all units again.
	eventually(t, "the limits stay", func() bool {
		return limits(t, dir, files...) == "cpuset.cpus 0, cpu.weight 200, memory.high 67108864, memory.max 100663296"
	})
	if got := limits(t, slice, maxFile); got != "memory.max max" {
		t.Error(got)
	}
	if p, err := h.e.Plan(t.Context(), mustDeclare(t, h, &c)); err != nil || len(p.Changes) != 0 {
		t.Errorf("nothing is to do: %+v, %v", p, err)
	}

	if err := unix.Kill(first.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not started again", func() bool {
		s := h.status("a")
		return s.Error == "" && s.PID != first.PID && s.Restarts > 0
	})
	return h.status("a").PID
}

func mustDeclare(t *testing.T, h *host, c *config.Config) []reconcile.Resource {
	t.Helper()
	list, err := h.m.Declare(c)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
