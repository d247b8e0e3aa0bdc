// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mishap"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

const aqmConfig = `dataplane: {ruleset: x, interfaces: [{name: a}]}
host:
  nics:
    wlan0:
      aqm:
        aql: { vo: { low: 2500, high: 6000 }, be: { low: 4000, high: 8000 } }
        aql_threshold: 20000
        airtime: [rx]
        limit: 4096
        quantum: 600
`

func aqmResource(t *testing.T) reconcile.Resource {
	t.Helper()
	c, err := config.Parse("f", []byte(aqmConfig))
	if err != nil {
		t.Fatal(err)
	}
	list, err := nicResources("f", &c.Host.NICs[0])
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// radioTree is a radio as Linux 6.12 shows it.
func radioTree() map[string]string {
	const debug = "sys/kernel/debug/ieee80211/phy3/"
	return map[string]string{
		"sys/class/net/wlan0/phy80211/name": "phy3\n",
		"sys/class/net/eth0/address":        "02:00:00:00:00:01\n",
		debug + "aql_txq_limit":             "AC\tAQL limit low\tAQL limit high\nVO\t5000\t\t12000\nVI\t5000\t\t12000\nBE\t5000\t\t12000\nBK\t5000\t\t12000\nBC/MC\t50000\n",
		debug + "aql_threshold":             "24000\n",
		debug + "airtime_flags":             "AIRTIME_TX\t(1)\nAIRTIME_RX\t(2)\n",
		debug + "aqm":                       "access name value\nR fq_flows_cnt 4096\nR fq_backlog 0\nRW fq_memory_limit 16777216\nRW fq_limit 8192\nRW fq_quantum 300\n",
	}
}

func TestAQM(t *testing.T) {
	root := tree(t, radioTree())
	k := &AQM{root}
	r := aqmResource(t)
	if p := k.Check(t.Context(), &r); p != nil {
		t.Errorf("refused: %v", p)
	}
	before, err := k.Before(t.Context(), "wlan0", r.Want)
	if want := "map[airtime:tx rx aql be:5000 12000 aql vo:5000 12000 aql_threshold:24000 fq_limit:8192 fq_quantum:300]"; fmt.Sprint(before) != want || err != nil {
		t.Errorf("%v, %v, not %s", before, err, want)
	}
	for key, want := range map[string]string{
		"aql vo": "0 2500 6000", "aql bk": "3 5000 12000", airtimeKey: "2", aqlThresholdKey: "20000", "fq_limit": "fq_limit 4096",
	} {
		value := r.Want[key]
		if key == "aql bk" {
			value = "5000 12000"
		}
		if err := k.Set(t.Context(), "wlan0", reconcile.State{key: value}); err != nil {
			t.Error(err)
		}
		b, err := os.ReadFile(filepath.Join(root, "sys/kernel/debug/ieee80211/phy3", aqmFile(key)))
		if got := strings.TrimSpace(string(b)); got != want || err != nil {
			t.Errorf("%s: %q was written, not %q: %v", key, got, want, err)
		}
	}
}

// TestThreadedRadio: the driver mt76 has a switch of its own, as its NAPI is of no interface.
func TestThreadedRadio(t *testing.T) {
	files := radioTree()
	const file = "sys/kernel/debug/ieee80211/phy3/mt76/napi_threaded"
	files["sys/class/net/wlan0/threaded"], files[file] = "0\n", "1\n"
	root := tree(t, files)
	k := NewThreaded()
	k.Root = root
	r := reconcile.Resource{Kind: ThreadedKind, Name: "wlan0", Want: reconcile.State{valueKey: "off"}}
	if p := k.Check(t.Context(), &r); p != nil {
		t.Errorf("refused: %v", p)
	}
	if s, err := k.Observe(t.Context(), "wlan0", nil); s[valueKey] != "on" || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	if err := k.Set(t.Context(), "wlan0", r.Want); err != nil {
		t.Error(err)
	}
	if got := contents(t, root); got["/"+file] != "0" {
		t.Errorf("%q was written", got["/"+file])
	}
	if err := os.Remove(filepath.Join(root, file)); err != nil {
		t.Fatal(err)
	}
	r.Want[valueKey] = "on"
	if p := k.Check(t.Context(), &r); len(p) != 1 || !p[0].Skip {
		t.Errorf("another driver's radio: %v", p)
	}
}

// TestAQMRefused: what the radio or the kernel lacks is said before anything is touched.
func TestAQMRefused(t *testing.T) {
	files := radioTree()
	delete(files, "sys/kernel/debug/ieee80211/phy3/aql_txq_limit")
	files["sys/class/net/wlan1/phy80211/name"] = "phy4\n"
	k := &AQM{tree(t, files)}
	for link, want := range map[string]string{
		"wlan0": "aqm wlan0: aql be: \"4000 8000\": the kernel does not have it for this radio: aql_txq_limit in debugfs (CONFIG_MAC80211_DEBUGFS)",
		"wlan1": "debugfs, where mac80211 has it, is not mounted: want mount -t debugfs",
		"eth0":  "not one of a radio: want host.qdiscs",
	} {
		r := aqmResource(t)
		r.Name = link
		p := k.Check(t.Context(), &r)
		if len(p) == 0 || !strings.Contains(p[0].Error(), want) || p[0].Skip != (link == "wlan0") {
			t.Errorf("%s: %v, not %s", link, p, want)
		}
	}
}

// ownRadio has the kernel have a radio.
func ownRadio(t *testing.T) {
	t.Helper()
	if !*machine {
		t.Skip("has a radio in this machine, which is for nothing else: -host.machine")
	}
	if out, err := exec.Command("modprobe", "mac80211_hwsim", "radios=1").CombinedOutput(); err != nil {
		t.Fatalf("this kernel has no radio: %s", out)
	}
}

// TestRadioQueues: the kernel's own radio takes all of it, and has it back when a change
// is undone; or all of it is left out, if the kernel does not let anybody set it.
func TestRadioQueues(t *testing.T) {
	ownRadio(t)
	files := []string{"aql_txq_limit", "aql_threshold", "airtime_flags", "aqm"}
	dir, err := radioDir("/", "wlan0")
	if err != nil {
		t.Fatal(err)
	}
	state := func() string {
		var all strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		return all.String()
	}
	e := engine(t, t.TempDir(), Kinds()...)
	if _, err := os.Stat(filepath.Join(dir, files[0])); err != nil {
		plan, err := e.Plan(t.Context(), []reconcile.Resource{aqmResource(t)})
		if err != nil || len(plan.Changes) != 0 || len(plan.Notes) != len(aqmResource(t).Want) {
			t.Fatalf("%+v, %v", plan, err)
		}
		return
	}
	before := state()
	apply := func(gate error) error {
		plan, err := e.Plan(t.Context(), []reconcile.Resource{aqmResource(t)})
		if err != nil || len(plan.Changes) != 1 || len(plan.Notes) > 0 {
			t.Fatalf("%+v, %v", plan, err)
		}
		_, err = e.Apply(t.Context(), plan, reconcile.Options{Gates: []reconcile.Gate{{Name: "look", Check: func(context.Context) error { return gate }}}})
		return err
	}
	if err := apply(errInjected); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if after := state(); after != before {
		t.Errorf("undone, it is\n%s\nnot\n%s", after, before)
	}
	if err := apply(nil); err != nil {
		t.Fatal(err)
	}
	after := strings.Join(strings.Fields(state()), " ")
	for _, want := range []string{"VO 2500 6000", "VI 5000 12000", "BE 4000 8000", "AIRTIME_RX (2)", "RW fq_limit 4096", "RW fq_quantum 600", " 20000 "} {
		if !strings.Contains(after, want) {
			t.Errorf("no %q in %s", want, after)
		}
	}
	if strings.Contains(after, "AIRTIME_TX") {
		t.Errorf("airtime of what is sent still counts: %s", after)
	}
}

// TestRadioCountry: the kernel follows a country that it has rules for, is back where it was when that is undone,
// and an error says so if it does not follow.
func TestRadioCountry(t *testing.T) {
	ownRadio(t)
	e := engine(t, t.TempDir(), Kinds()...)
	apply := func(country string, gate error) error {
		plan, err := e.Plan(t.Context(), []reconcile.Resource{{Kind: RegdomKind, Name: regdomName, Want: reconcile.State{valueKey: country}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Apply(t.Context(), plan, reconcile.Options{Gates: []reconcile.Gate{{Name: "look", Check: func(context.Context) error { return gate }}}})
		return err
	}
	is := func(want string) {
		t.Helper()
		if s, err := (Regdom{}).Observe(t.Context(), regdomName, nil); s[valueKey] != want || err != nil {
			t.Errorf("%v, %v, not %s", s, err, want)
		}
	}
	is("00")
	if err := apply("US", errInjected); !errors.Is(err, errInjected) {
		t.Error(err)
	}
	is("00")
	if err := apply("US", nil); err != nil {
		t.Error(err)
	}
	is("US")
	if err := apply("QQ", nil); err == nil || !strings.Contains(err.Error(), "it has no rules for QQ") {
		t.Error(err)
	}
	is("US")
	if err := apply("00", nil); err != nil {
		t.Error(err)
	}
	is("00")
}

// TestRadioSteps: whichever system call of a change of the country and of a radio's queues fails, or the one behind
// it, on the way there or back: both are as they were.
func TestRadioSteps(t *testing.T) {
	ownRadio(t)
	w, err := mishap.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	list := []reconcile.Resource{{Kind: RegdomKind, Name: regdomName, Want: reconcile.State{valueKey: "US"}}, aqmResource(t)}
	state := func() string {
		s, err := Regdom{}.Observe(t.Context(), regdomName, nil)
		queues, _ := (&AQM{"/"}).Observe(t.Context(), "wlan0", aqmResource(t).Want.Keys()) // of a kernel that has them
		return fmt.Sprint(s, err, queues)
	}
	before, total := state(), 0
	for _, way := range []mishap.Way{mishap.Fails, mishap.FailsBehind} {
		for at := 0; ; at++ {
			dir := filepath.Join(memory(t), "state")
			e := engine(t, dir, Kinds()...)
			plan, err := e.Plan(t.Context(), list)
			if err != nil || len(plan.Changes) == 0 {
				t.Fatalf("%+v, %v", plan, err)
			}
			w.Skip(noStep(dir))
			w.Arm(at, way)
			w.Do(func() { err = thereAndBack(t.Context(), e, plan) })
			_, hit := w.Disarm()
			if hit == "" && err != nil {
				t.Fatal(err)
			}
			if err := comeBack(t.Context(), engine(t, dir, Kinds()...)); err != nil {
				t.Fatalf("%s %d: %s: %v", way, at, hit, err)
			}
			if now := state(); now != before {
				t.Fatalf("%s %d: %s: %s, not %s", way, at, hit, now, before)
			}
			if hit == "" {
				total += at
				break
			}
		}
	}
	if t.Logf("%d calls", total); total < 4 {
		t.Error("these are too few")
	}
}
