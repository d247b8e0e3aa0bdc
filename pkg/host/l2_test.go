// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// l2Tree is a router with 12 cores of two threads each, the first eight of which
// are isolated but for some, NICs of four drivers with eight queues, and a radio of two bands.
func l2Tree() map[string]string {
	files := map[string]string{
		"sys/devices/system/cpu/possible": "0-23\n", "sys/devices/system/cpu/online": "0-23\n",
		"sys/devices/system/cpu/isolated": "0-7,12-15\n", "sys/devices/system/cpu/nohz_full": "0-7,12-15\n",
	}
	eight := func(format string) (out []string) {
		for n := range 8 {
			out = append(out, strings.ReplaceAll(format, "N", fmt.Sprint(n)))
		}
		return out
	}
	for n := range 24 {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/", n)
		files[dir+"scaling_available_governors"], files[dir+"scaling_governor"] = "performance powersave\n", "powersave\n"
	}
	device(files, "0000:01:00.0", 30, eight("enp1s0"), "enp1s0")
	device(files, "0000:23:00.0", 40, append([]string{"i40e-0000:23:00.0:misc"}, eight("i40e-enp35s0f0np0-TxRx-N")...), "enp35s0f0np0")
	device(files, "0000:31:00.0", 50, append(eight("ixgbe0-TxRx-N"), "ixgbe0"), "ixgbe0")
	device(files, "0000:04:00.0", 60, eight("enp4s0f0np0-TxRx-N"), "enp4s0f0np0")
	for i, name := range []string{"enp35s0f1np1", "ixgbe1", "enp4s0f1np1", "enp66s0f0np0"} {
		device(files, fmt.Sprintf("0000:10:00.%d", i), 80+10*i, eight(name+"-TxRx-N"), name)
	}
	device(files, "0000:05:00.0", 70, []string{"mt7915e"}, "wlan_2g", "wlan_5g")
	files["sys/devices/pci0000:00/0000:05:00.0/driver"] = "-> ../../../bus/pci/drivers/mt7915e"
	for _, radio := range []string{"wlan_2g", "wlan_5g"} {
		files["sys/devices/pci0000:00/0000:05:00.0/net/"+radio+"/phy80211/index"] = "0\n"
	}
	device(files, "0000:06:00.0", 75, []string{"mt7915e-hif"})
	return files
}

// TestL2: the example has the queues of NICs spread over one thread after the other of the packet cores,
// and a core for each radio.
func TestL2(t *testing.T) {
	root := tree(t, l2Tree())
	before := contents(t, root)
	text, err := os.ReadFile("../../examples/l2/l2d.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("l2d.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Host.NICs {
		c.Host.NICs[i].Optional = false // they are in the tree, and not here
	}
	list, err := cpuResources(root, c)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, t.TempDir(), work(root)...)
	plan, err := e.Plan(t.Context(), list)
	if err != nil || len(plan.Changes) != 9+24 || len(plan.Notes) != 0 {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	now := contents(t, root)
	cores := []string{"0", "12", "1", "13", "2", "14", "3", "15"}
	want := map[int]string{40: "0", 58: "0", 70: "4", 75: "4"}
	for n, core := range cores {
		for _, first := range []int{30, 41, 50, 60, 80, 90, 100, 110} {
			want[first+n] = core
		}
	}
	for irq, core := range want {
		if got := now[fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq)]; got != core {
			t.Errorf("interrupt %d is on CPU %s, not %s", irq, got, core)
		}
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, contents(t, root)); d != nil {
		t.Errorf("not undone: %v", d)
	}
}
