// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// TestThreads: the threads that poll an interface's queues run where they are placed, and where they were again.
func TestThreads(t *testing.T) {
	nicHost(t)
	e := engine(t, t.TempDir(), Kinds()...)
	want := []reconcile.Resource{nic(ThreadsKind, "veth2", threadsRank-nicRank, reconcile.State{cpusKey: "0 1"})}
	plan, err := e.Plan(t.Context(), want)
	if err != nil || len(plan.Changes) != 0 || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "no thread polls its queues now") {
		t.Fatalf("without threads: %v, %+v", err, plan)
	}
	if err := os.WriteFile("/sys/class/net/veth2/threaded", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	k := NewThreads()
	where := func() (out []string) {
		t.Helper()
		list, err := k.threads("veth2")
		if err != nil || len(list) != 2 {
			t.Fatalf("threads %v, %v", list, err)
		}
		for _, pid := range list {
			set, err := k.allowed(pid)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(set))
		}
		return out
	}
	before := where()
	if plan, err = e.Plan(t.Context(), want); err != nil || len(plan.Changes) != 1 {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := where(); !slices.Equal(got, []string{"[0]", "[1]"}) {
		t.Errorf("threads run on %v", got)
	}
	if again, err := e.Plan(t.Context(), want); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := where(); !slices.Equal(after, before) {
		t.Errorf("threads run on %v, and before on %v", after, before)
	}
}

// TestThreadsRadio: threads of a driver such as mt76 have the radio's name, and not its interface's.
func TestThreadsRadio(t *testing.T) {
	files := radioTree()
	for pid, comm := range map[int]string{70: "napi/phy3-8193", 71: "napi/phy3-129", 72: "napi/phy30-5", 73: "mt76-tx phy3", 74: "napi/wlan0-7"} {
		files[fmt.Sprintf("proc/%d/comm", pid)] = comm + "\n"
		files[fmt.Sprintf("proc/%d/status", pid)] = "Name:\t" + comm + "\nCpus_allowed_list:\t0-7\n"
	}
	files["sys/devices/system/cpu/online"], files["sys/devices/system/cpu/possible"], files["sys/devices/system/cpu/present"] = "0-7\n", "0-7\n", "0-7\n"
	var placed []string
	k := &Threads{tree(t, files), nil, func(pid int, list []int) error {
		placed = append(placed, fmt.Sprint(pid, list))
		return nil
	}}
	r := reconcile.Resource{Kind: ThreadsKind, Name: "wlan0", Want: reconcile.State{cpusKey: "4-5 6"}}
	if p := k.Check(t.Context(), &r); p != nil {
		t.Errorf("refused: %v", p)
	}
	if s, err := k.Observe(t.Context(), "wlan0", r.Want.Keys()); err != nil || s[cpusKey] != "0-7 0-7" {
		t.Errorf("%v, %v", s, err)
	}
	if err := k.Set(t.Context(), "wlan0", r.Want); err != nil || !slices.Equal(placed, []string{"71 [4 5]", "70 [6]"}) {
		t.Errorf("%v, %v", placed, err)
	}
	r.Want[cpusKey] = "4-9"
	if p := k.Check(t.Context(), &r); len(p) != 1 || p[0].Skip || !strings.Contains(p[0].Problem, "no CPU 8") {
		t.Errorf("CPUs that there are not: %+v", p)
	}
}
