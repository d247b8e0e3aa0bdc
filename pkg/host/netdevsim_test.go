// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// netdevsim makes a NIC of the driver that the kernel tests ethtool with, with four queues.
func netdevsim(t *testing.T) string {
	t.Helper()
	if os.Getenv("L2D_VM") == "" {
		t.Skip("needs the modules of the virtual machine")
	}
	if out, err := exec.Command("modprobe", "netdevsim").CombinedOutput(); err != nil {
		t.Skipf("this kernel has no netdevsim: %s", out)
	}
	if err := os.WriteFile("/sys/bus/netdevsim/new_device", []byte("7 1 4"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile("/sys/bus/netdevsim/del_device", []byte("7"), 0) })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if found, _ := filepath.Glob("/sys/bus/netdevsim/devices/netdevsim7/net/*"); len(found) == 1 {
			name := filepath.Base(found[0])
			run(t, "ip", "link", "set", name, "up")
			return name
		}
	}
	t.Fatal("no interface appears")
	return ""
}

// netdevsimState is all that ethtool shows of what its driver has.
func netdevsimState(t *testing.T, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, args := range []string{"ethtool -g", "ethtool -l", "ethtool -c", "ethtool -a", "ethtool --show-fec", "ethtool -k", "ip -o link show"} {
		out[args] = output(t, append(strings.Fields(args), name)...)
	}
	return out
}

// TestNetdevsim: what a driver has of rings, channels, coalescing, pause, FEC, features and MTU is set by what the kernel's
// own driver for tests takes, refused beyond what that has, and undone after each step, also if the driver fails.
func TestNetdevsim(t *testing.T) {
	name := netdevsim(t)
	wants := func() []reconcile.Resource {
		return []reconcile.Resource{
			nic("channels", name, 0, reconcile.State{"combined": "2"}),
			nic("rings", name, 1, reconcile.State{"rx": "256", "tx": "1024"}),
			nic("coalesce", name, 2, reconcile.State{"rx-usecs": "50", "tx-frames": "9", "adaptive-rx": "1"}),
			nic("pause", name, 3, reconcile.State{"rx": "1", "tx": "1"}),
			nic(FeaturesKind, name, 4, reconcile.State{"tx-scatter-gather": "off"}),
			nic(MTUKind, name, 5, reconcile.State{valueKey: "1400"}),
			nic(FECKind, name, 6, reconcile.State{valueKey: "rs"}),
		}
	}
	kinds := Kinds()
	e := engine(t, t.TempDir(), kinds...)
	fec, err := e.Plan(t.Context(), []reconcile.Resource{nic(FECKind, name, 6, reconcile.State{valueKey: "rs"})})
	if err != nil || fec.Worst() != reconcile.NotRevertable {
		t.Errorf("of a driver that has not been told of any: %+v, %v", fec, err)
	}
	run(t, "ethtool", "--set-fec", name, "encoding", "off")
	before := netdevsimState(t, name)
	_, err = e.Plan(t.Context(), []reconcile.Resource{
		nic("rings", name, 1, reconcile.State{"rx": "99999"}), nic("channels", name, 0, reconcile.State{"combined": "99"}),
	})
	for _, want := range []string{`rx: "99999": more than the device has: want at most 4096`, `combined: "99": more than the device has: want at most 4`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %s", err, want)
		}
	}
	plan, err := e.Plan(t.Context(), wants())
	if err != nil || len(plan.Notes) > 0 || len(plan.Changes) != len(wants()) {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	after := netdevsimState(t, name)
	for _, args := range []string{"ethtool -g", "ethtool -l", "ethtool -c", "ethtool -a", "ethtool --show-fec", "ethtool -k", "ip -o link show"} {
		if after[args] == before[args] {
			t.Errorf("%s is as before:\n%s", args, after[args])
		}
	}
	if again, err := e.Plan(t.Context(), wants()); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	isAgain := func(what string) {
		t.Helper()
		if d := mapdiff.Of(before, netdevsimState(t, name)); d != nil {
			t.Errorf("%s: not undone: %v", what, d)
		}
	}
	isAgain("rolled back")

	// The driver fails with the last change.
	fails := "/sys/kernel/debug/netdevsim/netdevsim7/ports/0/ethtool/set_err"
	if err := os.WriteFile(fails, []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	if plan, err = e.Plan(t.Context(), wants()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), plan, reconcile.Options{}); err == nil || !strings.Contains(err.Error(), "fec "+name) {
		t.Errorf("the driver has failed: %v", err)
	}
	isAgain("the driver fails")
	if err := os.WriteFile(fails, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}

	// So does each write, or the process ends with it.
	for failAt := 1; failAt <= len(wants()); failAt++ {
		for way := range 4 {
			dir := t.TempDir()
			e := engine(t, dir, spoil(kinds, failAt, way&1 != 0, way&2 != 0)...)
			plan, err := e.Plan(t.Context(), wants())
			if err != nil {
				t.Fatal(err)
			}
			if err := applyOrDie(t.Context(), e, plan); !errors.Is(err, errInjected) {
				t.Fatalf("write %d: %v", failAt, err)
			}
			if err := engine(t, dir, kinds...).Recover(t.Context()); err != nil {
				t.Fatalf("write %d: %v", failAt, err)
			}
			isAgain(fmt.Sprintf("write %d, way %d", failAt, way))
		}
	}
}
