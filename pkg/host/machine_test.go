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

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// machineNICs are the interfaces of the virtual machine by their drivers.
func machineNICs(t *testing.T) map[string]string {
	t.Helper()
	if os.Getenv("L2D_VM") == "" {
		t.Skip("needs the NICs of the virtual machine")
	}
	for _, module := range []string{"virtio_net", "e1000e", "vmxnet3"} {
		if out, err := exec.Command("modprobe", module).CombinedOutput(); err != nil {
			t.Fatalf("modprobe %s: %v: %s", module, err, out)
		}
	}
	names := map[string]string{}
	for end := time.Now().Add(30 * time.Second); len(names) < 3; time.Sleep(50 * time.Millisecond) {
		links, _ := filepath.Glob("/sys/class/net/*/device/driver")
		for _, path := range links {
			name := strings.Split(path, "/")[4]
			names[driver(name)] = name
		}
		if time.Now().After(end) {
			t.Fatalf("only %v", names)
		}
	}
	for _, name := range names {
		run(t, "ip", "link", "set", name, "up")
	}
	return names
}

// machineState is where all interrupts of some interfaces are served, and what steers their packets.
func machineState(t *testing.T, names map[string]string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range names {
		list, err := (&IRQ{"/"}).affinities(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			out[name+" "+a.Action] = a.cpus
		}
		files, _ := filepath.Glob("/sys/class/net/" + name + "/queues/*/[rx]ps_*")
		for _, path := range files {
			b, err := os.ReadFile(path)
			out[path] = string(b)
			if err != nil {
				out[path] = err.Error()
			}
		}
	}
	return out
}

// TestMachine: interrupts of real drivers are where they shall be, also after a change of channels,
// which makes them anew, and are back where they were when that is undone.
func TestMachine(t *testing.T) {
	names := machineNICs(t)
	virtio := names["virtio_net"]
	run(t, "ethtool", "-L", virtio, "combined", "4")
	before := machineState(t, names)
	var wants []reconcile.Resource
	for _, name := range names {
		wants = append(wants, nic(IRQKind, name, irqRank-nicRank, reconcile.State{cpusKey: "1 3 0"}))
	}
	wants = append(wants,
		nic("channels", virtio, 0, reconcile.State{"combined": "2"}),
		nic(RPSKind, virtio, rpsRank-nicRank, reconcile.State{cpusKey: "0-1", flowsKey: "512"}),
		nic(XPSKind, virtio, xpsRank-nicRank, reconcile.State{cpusKey: "3 2 1"}))
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), wants)
	if err != nil || len(plan.Notes) != 0 {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		list, err := (&IRQ{"/"}).affinities(name)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		for _, a := range list {
			if want := []string{"1", "3", "0"}[a.Queue%3]; a.cpus != want {
				t.Errorf("%s: %s of queue %d is on CPU %s, not %s", name, a.Action, a.Queue, a.cpus, want)
			}
		}
	}
	for path, want := range map[string]string{"rx-1/rps_cpus": "3", "rx-1/rps_flow_cnt": "512", "tx-0/xps_cpus": "a", "tx-1/xps_cpus": "4"} {
		b, err := os.ReadFile("/sys/class/net/" + virtio + "/queues/" + path)
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			t.Errorf("%s: %s, %v, not %s", path, got, err, want)
		}
	}
	if again, err := e.Plan(t.Context(), wants); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, machineState(t, names)); d != nil {
		t.Errorf("not undone: %v", d)
	}
}

// wakes are the lines of ethtool about what wakes the host.
func wakes(t *testing.T, name string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(output(t, "ethtool", name)) {
		if strings.Contains(line, "Wake-on:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, ", ")
}

// TestMachineWake: what wakes the host is set as a real driver takes it, read back and undone, and what it has not is refused
// before. Private flags are those that a driver has; what it does not let be set fails, and leaves all as it was.
func TestMachineWake(t *testing.T) {
	names := machineNICs(t)
	wake, flags := names["vmxnet3"], names["e1000e"]
	e := engine(t, t.TempDir(), Kinds()...)
	want := func(kind, name string, state reconcile.State) []reconcile.Resource {
		return []reconcile.Resource{nic(kind, name, 0, state)}
	}
	apply := func(list []reconcile.Resource) (*reconcile.Pending, error) {
		t.Helper()
		plan, err := e.Plan(t.Context(), list)
		if err != nil || len(plan.Changes) != 1 || len(plan.Notes) != 0 {
			t.Fatalf("%v, %+v", err, plan)
		}
		return e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	}
	turn := func(value, shown string) (undo func()) {
		t.Helper()
		before, list := wakes(t, wake), want(WoLKind, wake, reconcile.State{valueKey: value})
		p, err := apply(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := wakes(t, wake); !strings.HasSuffix(got, ", Wake-on: "+shown) {
			t.Errorf("%s: %s, not %s", value, got, shown)
		}
		if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
			t.Errorf("%s: not as declared: %v, %+v", value, err, again)
		}
		return func() {
			t.Helper()
			if err := e.Rollback(t.Context(), p.ID); err != nil {
				t.Fatal(err)
			}
			if got := wakes(t, wake); got != before {
				t.Errorf("%s is not undone: %s, not %s", value, got, before)
			}
		}
	}
	turn("magic", "g")()
	turn("arp magic ucast", "uag")()
	run(t, "ethtool", "-s", wake, "wol", "g")
	turn("off", "d")()
	for _, c := range []struct{ kind, name, key, value, says string }{
		{WoLKind, wake, valueKey, "magic bcast", `the driver vmxnet3 has no bcast: want one of arp, magic, off, ucast`},
		{PrivateFlagsKind, flags, "s0ix-enabledd", "on", `the driver e1000e has no such flag: want s0ix-enabled`},
		{"eee", flags, "enabled", "0", `the driver e1000e has no eee`},
		{FECKind, flags, valueKey, "rs", `the driver e1000e has no fec`},
	} {
		plan, err := e.Plan(t.Context(), want(c.kind, c.name, reconcile.State{c.key: c.value}))
		said := fmt.Sprint(err)
		if err == nil { // a kind that a driver has nothing of is left out
			said = fmt.Sprintf("%d changes, %+v", len(plan.Changes), plan.Notes)
		}
		if !strings.Contains(said, c.says) || err == nil && !strings.HasPrefix(said, "0 changes") {
			t.Errorf("%s: %s, not %s", c.kind, said, c.says)
		}
	}

	private := func() string { return output(t, "ethtool", "--show-priv-flags", flags) }
	before := private()
	if !strings.Contains(before, "s0ix-enabled: off") {
		t.Fatalf("flags of e1000e: %s", before)
	}
	if plan, err := e.Plan(t.Context(), want(PrivateFlagsKind, flags, reconcile.State{"s0ix-enabled": "off"})); err != nil || len(plan.Changes) != 0 {
		t.Errorf("what is off is read as such: %v, %+v", err, plan)
	}
	// This device is older than what the flag is of.
	if _, err := apply(want(PrivateFlagsKind, flags, reconcile.State{"s0ix-enabled": "on"})); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), PrivateFlagsKind+" "+flags) {
		t.Errorf("a flag that the device cannot have: %v", err)
	}
	if after := private(); after != before || e.Pending() != nil {
		t.Errorf("not undone: %s, not %s: %+v", after, before, e.Pending())
	}
}

// TestIsolated: the kernel refuses to steer packets to isolated CPUs, and the plan does so before.
func TestIsolated(t *testing.T) {
	names := machineNICs(t)
	m, err := cpus.Read("/")
	if err != nil || cpus.Format(m.Isolated) != "2-3" || cpus.Format(m.Tickless) != "2-3" {
		t.Fatalf("%+v, %v", m, err)
	}
	path := "/sys/class/net/" + names["virtio_net"] + "/queues/rx-0/rps_cpus"
	if err := write(path, "c"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("the kernel: %v", err)
	}
	// Those that it accepts are not all that were asked for.
	if err := write(path, "e"); err != nil {
		t.Errorf("the kernel: %v", err)
	}
	if b, err := os.ReadFile(path); strings.TrimSpace(string(b)) != "2" {
		t.Errorf("the kernel has %q, %v", b, err)
	}
	if err := write(path, "0"); err != nil {
		t.Error(err)
	}
	e := engine(t, t.TempDir(), Kinds()...)
	for _, list := range []string{"2-3", "1-3"} {
		_, err := e.Plan(t.Context(), []reconcile.Resource{nic(RPSKind, names["virtio_net"], 0, reconcile.State{cpusKey: list})})
		if err == nil || !strings.Contains(err.Error(), "isolated CPUs (isolcpus, nohz_full): 2-3: want CPUs of 0-1") {
			t.Errorf("%s: %v", list, err)
		}
	}
	// Interrupts can be there.
	for _, name := range names {
		if _, err := e.Plan(t.Context(), []reconcile.Resource{nic(IRQKind, name, 0, reconcile.State{cpusKey: "2 3"})}); err != nil {
			t.Error(err)
		}
	}
}
