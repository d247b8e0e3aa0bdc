// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// algorithm is the kind with a name of the test's own, which is the whole kernel's, in a
// namespace.
func algorithm(t *testing.T) *Algorithm {
	t.Helper()
	ns(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("b3h%d", os.Getpid())
	k := &Algorithm{bbr3.Registration{Dir: dir + "/bbr3", Name: name}, &trials{takes: map[string]bool{}, provided: map[string]bool{}}}
	t.Cleanup(func() {
		if err := k.registration.Unregister(true); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *Algorithm) want(t *testing.T, b config.BBR3) reconcile.Resource {
	t.Helper()
	c := &config.Config{}
	c.Host.BBR3 = &b
	return *k.resource(c)
}

// What is not there yet is registered and used in one plan, changed in place, and all of it
// undone.
func TestAlgorithm(t *testing.T) {
	k := algorithm(t)
	name := k.registration.Name
	e := engine(t, t.TempDir(), &Sysctl{Root: "/proc/sys", trials: k.trials}, k)
	before := allSysctls(t)
	wanted := []reconcile.Resource{k.want(t, config.BBR3{Source: config.BBR3Auto}), sysctl(congestionControl, name)}
	plan, err := e.Plan(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(algorithms(), name) || len(plan.Changes) != 2 {
		t.Fatalf("a plan registers it, or %+v", plan.Changes)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); strings.TrimSpace(string(b)) != name {
		t.Errorf("the default is %s", b)
	}
	if plan, err := e.Plan(t.Context(), wanted); err != nil || len(plan.Changes) != 0 {
		t.Errorf("afterwards: %+v, %v", plan, err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := differences(before, allSysctls(t)); d != nil || slices.Contains(algorithms(), name) {
		t.Errorf("not undone: %s", strings.Join(d, "; "))
	}
}

// apply has a kind's resource as it is wanted.
func apply(t *testing.T, e *reconcile.Engine, r reconcile.Resource) error {
	t.Helper()
	plan, err := e.Plan(t.Context(), []reconcile.Resource{r})
	if err == nil {
		_, err = e.Apply(t.Context(), plan, reconcile.Options{})
	}
	return err
}

// Settings are changed in place and read back; what connections use is removed only if they
// are left to their end.
func TestAlgorithmInUse(t *testing.T) {
	k := algorithm(t)
	e := engine(t, t.TempDir(), k)
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF})); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte(k.registration.Name), 0); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF, L4S: true, ECNMaxRTT: -1, LossThreshold: 35})); err != nil {
		t.Fatal(err)
	}
	got, err := k.Observe(t.Context(), k.name(), []string{sourceKey, lossThresholdKey, probeRTTIntervalKey, marksKey, l4sMaxRTTKey})
	want := reconcile.State{sourceKey: "bpf", lossThresholdKey: "35", probeRTTIntervalKey: "5s", marksKey: "l4s", l4sMaxRTTKey: "none"}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3None})); err == nil || !strings.Contains(err.Error(), "connections use it") {
		t.Errorf("removed while it is used: %v", err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3Drain})); err != nil || slices.Contains(algorithms(), k.name()) {
		t.Errorf("drain: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("the connection: %v", err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3None})); err != nil {
		t.Errorf("none, when there is none: %v", err)
	}
}

// It is never silently another: a module that is not there, and a name that is taken.
func TestAlgorithmRefused(t *testing.T) {
	k := algorithm(t)
	e := engine(t, t.TempDir(), k)
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3Module})); err == nil || !strings.Contains(err.Error(), "no module") {
		t.Errorf("module: %v", err)
	}
	k.registration.Name = "reno"
	if got := k.want(t, config.BBR3{Source: config.BBR3Auto}).Want[sourceKey]; got != config.BBR3Module {
		t.Errorf("one that is there: %s", got)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF})); err == nil || !strings.Contains(err.Error(), "not l2d's") {
		t.Errorf("taken: %v", err)
	}
}
