// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// qdiscHandles are numbers that the kernel gives.
var qdiscHandles = regexp.MustCompile(`qdisc ([a-z_0-9]+) [0-9a-f]+:`)

var (
	wholeMachine = flag.Int("host.whole", 0, "TestWholePlan: change the sysctls of this machine, which is for nothing else, and have every so many-th write fail, in one way; 1: each, in all ways")
	wholeOneWay  = flag.Bool("host.oneway", false, "TestWholePlan: in one way also if it is each write; which one goes by -host.seed")
)

// wholeState is all that the example of a whole machine can change.
func wholeState(t *testing.T, root string, list []reconcile.Resource) map[string]string {
	t.Helper()
	out := contents(t, root)
	for _, args := range []string{"ip -o -d link", "ip -o -4 address", "ip -o -6 address show scope global", "ip -o -4 route", "tc qdisc show"} {
		text := numbers.ReplaceAllString(output(t, strings.Fields(args)...), "")
		out[args] = qdiscHandles.ReplaceAllString(text, "qdisc $1")
	}
	for _, link := range []string{"enp1s0", "wlan_2g", "wlan_5g"} {
		out["ethtool "+link] = output(t, "ethtool", "-k", link)
	}
	for _, r := range list {
		if r.Kind == SysctlKind {
			s, err := NewSysctl().Observe(t.Context(), r.Name, []string{valueKey})
			out[r.Name] = fmt.Sprint(s, err)
		}
	}
	return out
}

// TestWholePlan: whichever write of the plan of a whole machine fails, or is the
// process's last: the machine is as it was.
func TestWholePlan(t *testing.T) {
	if *wholeMachine == 0 {
		t.Skip("changes the whole machine: -host.whole, in a virtual one")
	}
	run(t, "ip", "link", "add", "enp1s0", "numrxqueues", "8", "numtxqueues", "8", "type", "veth", "peer", "name", "wan")
	for _, link := range []string{"wlan_2g", "wlan_5g"} {
		run(t, "ip", "link", "add", link, "type", "dummy")
	}
	files := treeOf(24, "0-7,12-19")
	device(files, "0000:01:00.0", 30, strings.Split(strings.Repeat("enp1s0 ", 8), " ")[:8], "enp1s0")
	for i, radio := range []string{"wlan_2g", "wlan_5g"} {
		address := fmt.Sprintf("0000:%d:00.0", 42+i)
		device(files, address, 50+i, []string{"mt7915e"}, radio)
		files["sys/devices/pci0000:00/"+address+"/driver"] = "-> ../../../bus/pci/drivers/mt7915e"
		files["sys/devices/pci0000:00/"+address+"/net/"+radio+"/phy80211/index"] = "0\n"
		files["sys/devices/pci0000:00/"+address+"/net/"+radio+"/phy80211/name"] = radio + "\n"
		files["sys/kernel/debug/ieee80211/"+radio+"/power"] = "0\n" // of a kernel that shows no more
	}
	root := tree(t, files)
	kinds := Kinds()
	for i, k := range kinds {
		switch k.(type) { // what no virtual machine has
		case *IRQ:
			kinds[i] = &IRQ{root}
		case *Governor:
			kinds[i] = &Governor{root}
		case *AQM:
			kinds[i] = &AQM{root}
		}
	}
	text, err := os.ReadFile("../../examples/l2/l2d.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("modprobe", "sch_dualpi2").Run(); err != nil { // before Linux 6.17
		text = bytes.ReplaceAll(text, []byte("dualpi2"), []byte("fq_codel"))
	}
	c, err := config.Parse("l2d.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	wanted := func() []reconcile.Resource {
		list, err := resources(root, c)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	before := wholeState(t, root, wanted())
	begin := time.Now()
	plan, err := engine(t, t.TempDir(), kinds...).Plan(t.Context(), wanted())
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	if err := plan.Write(&shown); err != nil {
		t.Fatal(err)
	}
	t.Logf("planned in %v:\n%s", time.Since(begin).Round(time.Millisecond), shown.String())
	writes := 0
	// stop applies the plan up to a write, and undoes it; it tells whether there is that write.
	stop := func(failAt int, after, crash bool) bool {
		dir := t.TempDir()
		e := engine(t, dir, spoil(kinds, failAt, after, crash)...)
		plan, err := e.Plan(t.Context(), wanted())
		if err != nil {
			t.Fatal(err)
		}
		err = applyOrDie(t.Context(), e, plan)
		if err == nil {
			writes = len(plan.Changes)
			return false
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("write %d: %v", failAt, err)
		}
		if err := engine(t, dir, kinds...).Recover(t.Context()); err != nil {
			t.Fatalf("write %d: %v", failAt, err)
		}
		if d := mapdiff.Of(before, wholeState(t, root, wanted())); d != nil {
			t.Fatalf("write %d failed, and is not undone: after %t, crash %t: %v", failAt, after, crash, d)
		}
		return true
	}
	for failAt := 1; writes == 0; failAt += *wholeMachine {
		for way := range 4 {
			if (*wholeMachine > 1 || *wholeOneWay) && way != (failAt / *wholeMachine + int(*stepSeed%4))%4 {
				continue // one of them for each
			}
			if !stop(failAt, way&1 != 0, way&2 != 0) {
				break
			}
		}
	}
	t.Logf("%d writes", writes)
	if writes < 40 {
		t.Errorf("only %d writes", writes)
	}
	// What is as declared is not written: this engine's first write would fail.
	e := engine(t, t.TempDir(), spoil(kinds, 1, false, false)...)
	begin = time.Now()
	plan, err = e.Plan(t.Context(), wanted())
	t.Logf("planned again in %v", time.Since(begin).Round(time.Millisecond))
	if err == nil {
		err = applyOrDie(t.Context(), e, plan)
	}
	if err != nil || len(plan.Changes) != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
}
