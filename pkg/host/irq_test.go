// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

func TestInterrupts(t *testing.T) {
	root := tree(t, nicTree())
	for link, want := range map[string]string{
		"enp1s0":  "30=0 31=1 32=2 33=3",
		"enp35s0": "40=0 41=0 42=1",
		"wlan_2g": "50=0 55=1",
		"eth0":    "70=0 71=0 72=0 73=1 74=1",
		"rx-1":    "80=0 81=1",
		"br0":     "",
		"nosuch":  "",
	} {
		list, err := Interrupts(root, link)
		var got []string
		for _, i := range list {
			got = append(got, fmt.Sprintf("%d=%d", i.Number, i.Queue))
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %v, %v, not %s", link, got, err, want)
		}
	}
	for action, queue := range map[string]string{
		"eth0-TxRx-3": "3", "i40e-eth0-TxRx-12": "12", "eth0-rx-1": "1", "virtio2-input.3": "3", "eth0-Tx-Rx-7": "7", "mlx5_comp5@pci:0000:01:00.0": "5",
		"eth0-rxtx-3": "3", "ice-eth0-TxRx-9": "9", "eth0": "", "enp1s0": "", "mt7915e": "", "i40e-0000:23:00.0:misc": "", "virtio2-config": "", "sfp1": "", "enp4sfp0": "", "gve-rx.2": "2",
	} {
		got := ""
		if m := queueName.FindStringSubmatch(action); m != nil {
			got = m[1]
		}
		if got != queue {
			t.Errorf("%s: queue %q, not %q", action, got, queue)
		}
	}
}

// work are the kinds that are about CPUs, in a tree.
func work(root string) []reconcile.Kind {
	return []reconcile.Kind{&IRQ{root}, &Governor{root}}
}

const workConfig = `dataplane:
  ruleset: x
  cpus: 0,4,1
  interfaces: [{name: enp1s0}, {name: enp35s0}, {name: br0}, {name: eth0}]
host:
  governor: {0-1: performance}
  nics:
    enp35s0: {irqs: [5-6, 7]}
    wlan_2g: {irqs: 4-7}
    wlan_5g: {irqs: 4-7}
    wlan_6g: {irqs: 4-7, enforce: true}
    eth0: {irqs: keep}
`

func TestPlacement(t *testing.T) {
	root := tree(t, nicTree())
	before := contents(t, root)
	c, err := config.Parse("f", []byte(workConfig))
	if err != nil {
		t.Fatal(err)
	}
	list, err := cpuResources(root, c)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, t.TempDir(), work(root)...)
	plan, err := e.Plan(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	_ = plan.Write(&text)
	const want = `~ irq enp35s0
    cpus: 0:0-7 0:0-7 1:0-7 -> 5-6 7
~ irq wlan_2g
    cpus: 0:0-7 1:0-7 -> 4
~ irq wlan_6g
    cpus: 0:0-7 -> 5
~ irq enp1s0
    cpus: 0:0-7 1:0-7 2:0-7 3:0-7 -> 0 4 1
~ governor cpu0
    value: schedutil -> performance
~ governor cpu1
    value: schedutil -> performance
Plan: 6 of 6 resources change.
`
	if text.String() != want {
		t.Errorf("%s\nnot\n%s", text.String(), want)
	}
	for _, r := range list {
		if enforce := r.Name == "enp1s0" || r.Name == "wlan_6g"; r.Enforce != enforce {
			t.Errorf("%s: enforced: %v", r.ID(), r.Enforce)
		}
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	now := contents(t, root)
	for n, set := range map[string]string{
		"30": "0", "31": "4", "32": "1", "33": "0", "40": "5-6", "41": "5-6", "42": "7", "50": "4", "55": "4", "60": "5", "70": "0-7", "74": "0-7",
	} {
		if got := now["/proc/irq/"+n+"/smp_affinity_list"]; got != set {
			t.Errorf("interrupt %s is on %s, not %s", n, got, set)
		}
	}
	if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, contents(t, root)); d != nil {
		t.Errorf("not undone: %v", d)
	}
}

// TestPlacementProblems: what is beyond the machine, and what contradicts itself, is told
// with its place before anything is touched.
func TestPlacementProblems(t *testing.T) {
	root := tree(t, nicTree())
	c, err := config.Parse("f", []byte(`dataplane:
  ruleset: x
  cpus: 4,9
  interfaces: [{name: enp1s0}]
host:
  governor: {8: performance, 1: fast}
  nics:
    enp35s0: {irqs: [1, 7-8]}
    wlan_2g: {irqs: 4}
    wlan_5g: {irqs: 5}
    br0: {irqs: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	list, err := cpuResources(root, c)
	e := engine(t, t.TempDir(), work(root)...)
	_, err2 := e.Plan(t.Context(), list)
	text := fmt.Sprint(err, "\n", err2)
	for _, want := range []string{
		`f:3:9: dataplane.cpus: "4,9": the machine has no CPU 9: want CPUs of 0-7`,
		`f:6:14: host.governor: "8": the machine has no CPU 8`,
		`f:6:30: governor cpu1: value: "fast": the kernel has no such governor: want one of performance, powersave, schedutil`,
		`f:8:21: irq enp35s0: cpus: "1 7-8": the machine has no CPU 8`,
		`f:10:21: host.nics.wlan_5g.irqs: "5": wlan_5g has the same device as another interface, whose interrupts are placed on 4: want the same CPUs for both`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	// What has no interrupts is left out, and said.
	plan, err := e.Plan(t.Context(), []reconcile.Resource{{Kind: IRQKind, Name: "br0", Want: reconcile.State{cpusKey: "5"}}})
	if err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "irq br0: the interface has no interrupts") {
		t.Errorf("%v, %+v", err, plan)
	}
}

// TestIrqbalance: a daemon that undoes it is named in the plan.
func TestIrqbalance(t *testing.T) {
	files := nicTree()
	files["proc/1/comm"], files["proc/77/comm"] = "systemd\n", "irqbalance\n"
	root := tree(t, files)
	plan, err := engine(t, t.TempDir(), work(root)...).Plan(t.Context(), []reconcile.Resource{{Kind: IRQKind, Name: "eth0", Want: reconcile.State{cpusKey: "5"}}})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _ = plan.Write(&text); !strings.Contains(text.String(), "~ irq eth0  (in place: irqbalance runs as process 77, ") {
		t.Errorf("%s", text.String())
	}
}

// TestManaged: what the kernel does not let go of is an error, and the rest is undone.
func TestManaged(t *testing.T) {
	root := tree(t, nicTree())
	path := filepath.Join(root, "proc/irq/42/smp_affinity_list")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// It can be read, and not be written.
	if err := os.Symlink("/proc/sys/kernel/random/boot_id", path); err != nil {
		t.Fatal(err)
	}
	if _, err := engine(t, t.TempDir(), work(root)...).Plan(t.Context(), []reconcile.Resource{{Kind: IRQKind, Name: "enp35s0", Want: reconcile.State{cpusKey: "5"}}}); err == nil {
		t.Error("an affinity that is none")
	}
}

// TestNewQueues: the state before is put back also when there are other queues meanwhile.
func TestNewQueues(t *testing.T) {
	k := &IRQ{}
	for _, c := range []struct {
		want, have string
		same       bool
	}{
		{"2 3", "0:2 0:2 1:3 2:2", true},
		{"2 3", "0:2 0:3 1:3", false},
		{"2-3", "0:2-3 1:2-3", true},
		{"0:1 0:2 1:3", "0:1 0:2", true},
		{"0:1", "0:1 1:5", true},
		{"0:1 1:2", "0:1 1:5", false},
		{"", "0:1", false},
		{"2", "", false},
		{"2", "x:1", false},
	} {
		if k.Same(cpusKey, c.want, c.have) != c.same {
			t.Errorf("%q and %q", c.want, c.have)
		}
	}
}

// TestForeign: what /sys shows of another network namespace is not taken for ours.
func TestForeign(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	if isForeign("/", "veth0") || isForeign("/", "nosuch") {
		t.Error("foreign in its own /sys")
	}
	before, err := os.Open("/proc/thread-self/ns/net") // or its interfaces go with it
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil { // and /sys is that of before
		t.Fatal(err)
	}
	e := engine(t, t.TempDir(), Kinds()...)
	run(t, "ip", "link", "add", "veth7", "type", "veth", "peer", "name", "veth0")
	for _, name := range []string{"veth0", "veth1", "veth7"} {
		for _, kind := range []string{IRQKind, RPSKind, XPSKind} {
			_, err := e.Plan(t.Context(), []reconcile.Resource{{Kind: kind, Name: name, Want: reconcile.State{cpusKey: "0"}}})
			if err == nil || !strings.Contains(err.Error(), "/sys does not show this network namespace: want sysfs mounted in it") {
				t.Errorf("%s of %s: %v", kind, name, err)
			}
		}
	}
}
