// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// sinceLinux are kinds, and options of kinds, that a kernel has from a version on, of those that virtual machines run.
var sinceLinux = map[string][2]int{"dualpi2": {6, 17}, "cake_mq": {7, 0}, "fq offload_horizon": {6, 13}}

// mustHaveQdisc tells whether this kernel has to have a kind: one of a virtual machine has all that its version can.
func mustHaveQdisc(t *testing.T, kind string) bool {
	t.Helper()
	return os.Getenv("L2D_VM") != "" && sinceThen(t, kind)
}

// sinceThen tells whether this kernel's version can have a kind or an option.
func sinceThen(t *testing.T, what string) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var is [2]int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &is[0], &is[1]); err != nil {
		t.Fatal(err)
	}
	since := sinceLinux[what]
	return slices.Compare(is[:], since[:]) >= 0
}

// valuesOf are values of an option: each word that it has, or one that is no default.
func valuesOf(t *testing.T, kind string, o *tcnl.Option) []string {
	t.Helper()
	if o.Bool() {
		return []string{"on", "off"}
	}
	if words, ok := strings.CutPrefix(o.Want(), "one of "); ok {
		return strings.Split(words, ", ")
	}
	v := optionValues[kind+" "+o.Name]
	switch kind + " " + o.Name {
	case "dualpi2 step_thresh":
		v = "2ms" // which random ones choose by themselves
	case "fq offload_horizon":
		v = "0s" // more is for drivers that take it
	}
	if v == "" {
		t.Errorf("%s %s: no value is tried", kind, o.Name)
	}
	return []string{v}
}

// needed are options without which the kernel does not say that it has another one.
var needed = map[string]map[string]string{
	"fq_codel ce_threshold_selector": {"ce_threshold": "2ms"}, "fq_codel ce_threshold_mask": {"ce_threshold": "2ms"},
	"cake raw": {"overhead": "0"}, "cake_mq raw": {"overhead": "0"},
}

// shownByTC is what tc(8) shows of options, of those that it knows, where that is not the word itself.
var shownByTC = map[string]string{
	"bfifo limit 64KiB": "limit 64Kb", "pfifo limit 77": "limit 77p",
	"cake bandwidth 900mbit": "bandwidth 900Mbit", "cake overhead 18": "overhead 18", "cake rtt 30ms": "rtt 30ms", "cake memlimit 8MiB": "memlimit 8Mb", "cake mpu 64": "mpu 64", "cake fwmark 15": "fwmark 0xf",
	"cake nat on": "nat", "cake nat off": "nonat", "cake raw on": "raw", "cake wash on": "wash", "cake wash off": "nowash", "cake ingress on": "ingress", "cake split_gso on": "split-gso", "cake split_gso off": "no-split-gso",
	"cake ack_filter none": "no-ack-filter", "cake ack_filter filter": "ack-filter", "cake ack_filter aggressive": "ack-filter-aggressive", "cake autorate_ingress on": "autorate-ingress",
	"cake atm noatm": "raw overhead 0", "cake atm atm": "atm", "cake atm ptm": "ptm",
	"fq limit 4096": "limit 4096p", "fq flow_limit 77": "flow_limit 77p", "fq quantum 3000": "quantum 3000b", "fq initial_quantum 9000": "initial_quantum 9000b", "fq pacing off": "nopacing", "fq maxrate 100mbit": "maxrate 100Mbit",
	"fq buckets_log 9": "buckets 512", "fq refill_delay 80ms": "refill_delay 80ms", "fq orphan_mask 511": "orphan_mask 511", "fq low_rate_threshold 1mbit": "low_rate_threshold 1Mbit", "fq ce_threshold 5ms": "ce_threshold 5ms",
	"fq timer_slack 20us": "timer_slack 20us", "fq horizon 5s": "horizon 5s", "fq horizon_drop off": "horizon_cap", "fq horizon_drop on": "horizon_drop",
	"fq priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 2": "bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 2", "fq weights 589824 196608 65536": "weights 589824 196608 65536",
	"fq_codel target 7.003ms": "target 7ms", "fq_codel limit 1234": "limit 1234p", "fq_codel interval 90ms": "interval 90ms", "fq_codel ecn on": "ecn", "fq_codel flows 64": "flows 64", "fq_codel quantum 300": "quantum 300",
	"fq_codel ce_threshold 2ms": "ce_threshold 2ms", "fq_codel drop_batch 32": "drop_batch 32", "fq_codel memory_limit 4MiB": "memory_limit 4Mb", "fq_codel ce_threshold_selector 1": "ce_threshold_selector 0x1/0", "fq_codel ce_threshold_mask 3": "ce_threshold_selector 0/0x3",
}

// shows tells whether tc has it as it should be; tc is what others have made of the same attributes.
func shows(t *testing.T, name, kind, option, value string, words bool) {
	t.Helper()
	want, known := shownByTC[kind+" "+option+" "+value]
	if !known && words && kind == "cake" {
		want = value
	}
	if want == "" {
		return
	}
	text := output(t, "tc", "-d", "qdisc", "show", "dev", name)
	if !strings.Contains(strings.Join(strings.Fields(text), " ")+" ", " "+want+" ") {
		t.Errorf("%s %s %s: %q is not in %s", kind, option, value, want, text)
	}
}

// TestQdiscOptions: each option of each kind, with each word that it can have, is set in place, as the qdisc is by then, read
// back, and undone to the byte; so is the qdisc itself. Those that the kernel takes only with a new qdisc have one, and those that it
// does not have are refused before.
func TestQdiscOptions(t *testing.T) {
	names := qdiscHost(t)
	k, _ := faultyQdisc(t)
	for i := range tcnl.Kinds {
		kind := &tcnl.Kinds[i]
		if len(k.kernel.lacks(kind.Name)) > 0 {
			if mustHaveQdisc(t, kind.Name) {
				t.Errorf("this kernel has no %s", kind.Name)
			}
			continue
		}
		if kind.Classful || len(kind.Options) == 0 {
			continue // see TestQdiscRollback and TestQdisc
		}
		name := "single0"
		if kind.Multiqueue {
			name = "multi0"
		}
		begin := rawQdiscs(t, names...)
		// Not the one that the kernel may have put there by itself, which becomes another one first.
		other := qdiscTurns(t, k, name, names, map[string]string{kindKey: map[bool]string{true: "pfifo", false: "bfifo"}[kind.Name == "bfifo"]}, "")
		undo := qdiscTurns(t, k, name, names, map[string]string{kindKey: kind.Name}, "")
		tried := 0
		for j := range kind.Options {
			o := &kind.Options[j]
			if !sinceThen(t, kind.Name+" "+o.Name) {
				list := []reconcile.Resource{wantQdisc(name, map[string]string{kindKey: kind.Name, o.Name: valuesOf(t, kind.Name, o)[0]})}
				const says = "this kernel does not have it, and would ignore it: want it left out"
				if _, err := engine(t, t.TempDir(), k).Plan(t.Context(), list); err == nil || !strings.Contains(err.Error(), kind.Name+" "+o.Name) || !strings.Contains(err.Error(), says) {
					t.Errorf("%s %s, which this kernel does not have: %v", kind.Name, o.Name, err)
				}
				continue
			}
			for _, v := range valuesOf(t, kind.Name, o) {
				want := map[string]string{kindKey: kind.Name, o.Name: v}
				maps.Copy(want, needed[kind.Name+" "+o.Name])
				impact := reconcile.InPlace
				if kind.Name+" "+o.Name == "fq_codel flows" { // tc(8): "can only be set at creation"
					impact = reconcile.Disruptive
				}
				undo := qdiscTurns(t, k, name, names, want, impact)
				shows(t, name, kind.Name, o.Name, v, !o.Bool() && strings.HasPrefix(o.Want(), "one of "))
				undo()
				tried++
			}
		}
		undo()
		other()
		if after := rawQdiscs(t, names...); after != begin {
			t.Errorf("%s is not undone:\n%s\nnot\n%s", kind.Name, after, begin)
		}
		t.Logf("%s: %d options, %d values", kind.Name, len(kind.Options), tried)
	}
}

// qdiscTurns makes the qdisc of an interface what is wanted, and returns what undoes that. If there is something to change, that
// has an impact; no impact is any.
func qdiscTurns(t *testing.T, k *Qdisc, name string, all []string, want map[string]string, impact reconcile.Impact) func() {
	t.Helper()
	before := rawQdiscs(t, all...)
	e, list := engine(t, t.TempDir(), k), []reconcile.Resource{wantQdisc(name, want)}
	plan, err := e.Plan(t.Context(), list)
	if err != nil {
		t.Fatalf("%v: %v", want, err)
	}
	if len(plan.Changes) == 0 { // the kernel's default
		return func() {}
	}
	if impact != "" && plan.Worst() != impact {
		t.Errorf("%v is %s: %+v", want, plan.Worst(), plan.Changes)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatalf("%v: %v", want, err)
	}
	if rawQdiscs(t, all...) == before {
		t.Errorf("%v: the kernel has nothing else", want)
	}
	if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
		t.Errorf("%v: not as declared: %v, %+v", want, err, again)
	}
	return func() {
		t.Helper()
		if err := e.Rollback(t.Context(), p.ID); err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		if after := rawQdiscs(t, all...); after != before {
			t.Errorf("%v: not undone:\n%s\nnot\n%s", want, after, before)
		}
	}
}
