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

	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// nicHost is a namespace with a pair of veths with four queues, another one that polls
// its queues, and a tap device.
func nicHost(t *testing.T) {
	t.Helper()
	ns(t)
	run(t, "ip", "link", "add", "veth0", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "veth1.7")
	run(t, "ip", "link", "add", "veth2", "numrxqueues", "2", "numtxqueues", "2", "type", "veth", "peer", "name", "veth3")
	run(t, "ip", "link", "set", "veth2", "up")
	run(t, "ethtool", "-K", "veth2", "gro", "on")
	run(t, "ip", "tuntap", "add", "tap0", "mode", "tap", "multi_queue")
}

func nic(kind, name string, rank int, want reconcile.State) reconcile.Resource {
	return reconcile.Resource{Kind: kind, Name: name, Want: want, Rank: nicRank + rank}
}

// nicWants are resources of all kinds that virtual devices have.
func nicWants() []reconcile.Resource {
	return []reconcile.Resource{
		nic("channels", "veth0", 0, reconcile.State{"rx": "3", "tx": "2"}),
		nic("coalesce", "tap0", 2, reconcile.State{"rx-frames": "9"}),
		nic(FeaturesKind, "veth0", 4, reconcile.State{"tx-scatter-gather": "off", "rx-gro": "on", "rx-udp-gro-forwarding": "on"}),
		nic(FeaturesKind, "tap0", 4, reconcile.State{"rx-gro": "off"}),
		nic(MTUKind, "veth0", 5, reconcile.State{valueKey: "1400"}),
		nic(ThreadedKind, "veth2", 41, reconcile.State{valueKey: "on"}),
		nic(RPSKind, "veth0", 42, reconcile.State{cpusKey: "0-1 0 1", flowsKey: "1000"}),
		nic(XPSKind, "veth0", 43, reconcile.State{cpusKey: "0 1"}),
		nic(RPSKind, "tap0", 42, reconcile.State{cpusKey: "1"}),
	}
}

// nicState is all that ethtool and sysfs show.
func nicState(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, args := range [][]string{
		{"ethtool", "-k", "veth0"}, {"ethtool", "-k", "tap0"}, {"ethtool", "-l", "veth0"}, {"ethtool", "-c", "tap0"}, {"ip", "-o", "link", "show", "veth0"},
	} {
		b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, b)
		}
		out.Write(b)
	}
	for _, pattern := range []string{"veth[02]/threaded", "*/queues/*/[rx]ps_*"} {
		files, _ := filepath.Glob("/sys/class/net/" + pattern)
		for _, path := range files {
			b, err := os.ReadFile(path)
			fmt.Fprintln(&out, path, string(b), err)
		}
	}
	return out.String()
}

func TestNIC(t *testing.T) {
	nicHost(t)
	before := nicState(t)
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), nicWants())
	if err != nil || len(plan.Notes) != 0 {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	state := nicState(t)
	for _, want := range []string{"RX:\t\t3\nTX:\t\t2\n", "tx-scatter-gather: off\n", "rx-gro-list: off", "rx-udp-gro-forwarding: on", "generic-receive-offload: on\n", "rx-frames: 9\n", "mtu 1400",
		"veth2/threaded 1\n", "veth0/queues/rx-0/rps_cpus 3\n", "veth0/queues/rx-1/rps_cpus 1\n", "veth0/queues/rx-2/rps_cpus 2\n", "veth0/queues/rx-2/rps_flow_cnt 1024\n",
		"veth0/queues/tx-1/xps_cpus 2\n", "tap0/queues/rx-0/rps_cpus 2\n",
	} {
		if !strings.Contains(state, want) {
			t.Errorf("%q is not in\n%s", want, state)
		}
	}
	if again, err := e.Plan(t.Context(), nicWants()); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := nicState(t); after != before {
		t.Errorf("not undone:\n%s\nnot\n%s", after, before)
	}
}

// TestFeatureDepends: a feature that another one has turned off is given back what
// was requested of it.
func TestFeatureDepends(t *testing.T) {
	nicHost(t)
	run(t, "ethtool", "-K", "veth0", "tx-scatter-gather", "off")
	before := nicState(t)
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), []reconcile.Resource{
		nic(FeaturesKind, "veth0", 0, reconcile.State{"tx-tcp-segmentation": "on", "tx-scatter-gather": "on"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if from := plan.Changes[0].From["tx-tcp-segmentation"]; from != "off (requested on)" {
		t.Errorf("from %q", from)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := nicState(t); after != before {
		t.Errorf("not undone:\n%s\nnot\n%s", after, before)
	}
}

func TestNICProblems(t *testing.T) {
	nicHost(t)
	e := engine(t, t.TempDir(), Kinds()...)
	_, err := e.Plan(t.Context(), []reconcile.Resource{
		nic("channels", "veth0", 0, reconcile.State{"rx": "5", "tx": "many"}),
		nic("channels", "eth7", 0, reconcile.State{"rx": "5"}),
		nic(FeaturesKind, "veth0", 0, reconcile.State{"lro": "off", "rx-udp-gro-forwardin": "on"}),
		nic(MTUKind, "eth7", 0, reconcile.State{valueKey: "1500"}),
		nic(MTUKind, "tap0", 0, reconcile.State{valueKey: "65522"}),
		nic(MTUKind, "veth0", 0, reconcile.State{valueKey: "67"}),
	})
	for _, want := range []string{
		`channels veth0: rx: "5": more than the device has: want at most 4`, `tx: "many": not a number`,
		`channels eth7: no such interface: want one of `, `lro: "off": no such feature: want rx-lro`, `no such feature: want rx-udp-gro-forwarding`, `mtu eth7: no such interface`,
		`mtu tap0: value: "65522": more than the device has: want at most 65521`, `mtu veth0: value: "67": less than the device has: want at least 68`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	// What a driver does not have is left out.
	plan, err := e.Plan(t.Context(), []reconcile.Resource{
		nic("coalesce", "veth0", 0, reconcile.State{"rx-usecs": "5"}),
		nic("channels", "veth0", 0, reconcile.State{"rx": "2", "other": "1"}),
		nic("coalesce", "tap0", 0, reconcile.State{"rx-usecs": "5"}),
		nic(FeaturesKind, "veth0", 0, reconcile.State{"rx-lro": "on"}),
		nic(FeaturesKind, "tap0", 0, reconcile.State{"rx-lro": "off"}),
	})
	if err != nil || len(plan.Changes) != 1 || len(plan.Notes) != 4 {
		t.Errorf("%v, %+v", err, plan)
	}
	// The kernel refuses this one itself, and the other change is undone.
	before := nicState(t)
	refused := sysctl("net.ipv4.ip_local_port_range", "5 1")
	refused.Rank = nicRank + 1
	plan, err = e.Plan(t.Context(), []reconcile.Resource{nic("channels", "veth0", 0, reconcile.State{"rx": "2"}), refused})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), plan, reconcile.Options{}); err == nil || nicState(t) != before {
		t.Errorf("%v", err)
	}
}

func TestHints(t *testing.T) {
	if h := hintOf("atlantic", "coalesce", "rx-frames"); !h.never || h.why == "" {
		t.Errorf("%+v", h)
	}
	if h := hintOf("veth", "coalesce", "rx-frames"); h != (hint{}) {
		t.Errorf("%+v", h)
	}
	if s := lacks("atlantic", "channels", "channels"); !strings.Contains(s, "has no channels: it has as many as there are CPUs") {
		t.Error(s)
	}
	for _, c := range []struct {
		driver, kind, key, value string
		said                     string
	}{
		{"bnxt_en", "channels", "rx", "4", "combined channels alone"},
		{"bnxt_en", "channels", "rx", "0", ""},
		{"bnxt_en", "channels", "combined", "8", ""},
		{"i40e", "channels", "rx", "4", ""},
		{"veth", FeaturesKind, "rx-lro", "on", "cannot be taken apart"},
		{"ixgbe", FeaturesKind, "rx-lro", "on", "cannot be taken apart"},
		{"ixgbe", FeaturesKind, "rx-lro", "off", ""},
	} {
		r := nic(c.kind, "x", 0, reconcile.State{c.key: c.value})
		switch said := unwise(c.driver, &r, c.key); {
		case c.said == "" && len(said) == 0:
		case len(said) != 1 || c.said == "" || !said[0].Warn || !strings.Contains(said[0].Problem, c.said):
			t.Errorf("%+v: %+v", c, said)
		}
	}
	if e := effectOf("i40e", xdpKind); e.Impact != reconcile.Disruptive || !strings.Contains(e.Why, "whole port is reset") {
		t.Errorf("XDP of i40e: %+v", e)
	}
	rings := &Settings{ethnl.Rings, func() (*ethnl.Client, error) { return nil, errors.ErrUnsupported }}
	for have, same := range map[string]bool{"4000": true, "4031": true, "4032": false, "3999": false, "x": false} {
		if rings.Same("rx", "4000", have) != same {
			t.Errorf("4000 and %s", have)
		}
	}
	if d := driver("lo"); d != "of lo" {
		t.Errorf("driver %q", d)
	}
}
