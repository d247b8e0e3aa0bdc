// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a kernel is expected to have: in the virtual machines, all that the suite names.
var wanted = flag.String("bench.devices", "", "devices that must not be missing here, with commas in between")

// TestDevices forwards packets with each device of others and each queue discipline that
// there is here.
func TestDevices(t *testing.T) {
	needRoot(t)
	must := strings.FieldsFunc(*wanted, func(c rune) bool { return c == ',' })
	all := append([]string{xdpForwardName, flowtableName, "forward+pfifo", "nftables+pfifo", "forward+fq_codel", "forward+cake", "forward+dualpi2"}, must...)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		t.Run(name, func(t *testing.T) {
			d, err := NewDevice(name, DeviceOptions{Ruleset: "../examples/l2/firewall.nft"})
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := d.(Needer); ok {
				if err := n.Missing(t.Context()); err != nil {
					if slices.Contains(must, name) {
						t.Fatal(err)
					}
					t.Skip(err)
				}
			}
			if v, ok := d.(Versioned); ok {
				if program, version := v.Version(t.Context()); version == "" {
					t.Errorf("%s tells no version", program)
				}
			}
			o := testOptions()
			o.Warmup, o.Duration = 100*time.Millisecond, 300*time.Millisecond
			r, err := Run(t.Context(), []Case{{Device: d, Flows: 16}}, o, func(s string) { t.Log(s) })
			if err != nil {
				t.Fatal(err)
			}
			if r.Samples[0].Received == 0 {
				t.Error("nothing forwarded")
			}
		})
	}
}

// TestQdiscPassedBy: a redirect that goes past the queue fails the run.
func TestQdiscPassedBy(t *testing.T) {
	needRoot(t)
	o := testOptions()
	o.Duration = 50 * time.Millisecond
	_, err := Run(t.Context(), []Case{{Device: &Qdisc{Device: &Redirect{}, Kind: "pfifo"}, Flows: 16}}, o, func(s string) { t.Log(s) })
	if err == nil || !strings.Contains(err.Error(), "no packet has passed pfifo") {
		t.Errorf("got %v", err)
	}
}

// TestRoomForFlows: who has no room for them is left out and says why, l2d gets the room, and
// the time that they take to begin is told.
func TestRoomForFlows(t *testing.T) {
	quick := QuickCmd{Devices: []string{"redirect", "l2d", "nftables", "flowtable"}, Flows: MaxFlows, FlowRate: 1000}
	var out []string
	cases, err := quick.cases(t.Context(), func(why string) { out = append(out, why) })
	if err != nil || len(cases) != 2 || cases[1].Device.(*L2d).MaxFlows != 2*MaxFlows {
		t.Fatalf("%+v, %v", cases, err)
	}
	if len(out) != 2 || !strings.Contains(out[0], "nf_conntrack_max is ") {
		t.Errorf("left out: %q", out)
	}
	if s := setUp(cases[1]); s != "set up l2d: its 4194304 flows begin in 1h9m54s, 1000 a second" {
		t.Error(s)
	}
	if s := setUp(cases[0]); s != "set up redirect" {
		t.Error(s)
	}
	for _, bad := range []QuickCmd{{Devices: quick.Devices, Flows: 2 * MaxFlows, FlowRate: 1}, {Devices: quick.Devices, Flows: 1}, {Devices: quick.Devices, Flows: 1, FlowRate: 2 * flowRate}} {
		if _, err := bad.cases(t.Context(), func(string) {}); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%d flows at %g a second: %v", bad.Flows, bad.FlowRate, err)
		}
	}
}

func TestDeviceNames(t *testing.T) {
	for _, good := range []string{"redirect", "l2d-tc+cake"} {
		if d, err := NewDevice(good, DeviceOptions{}); err != nil || d.Name() != good {
			t.Errorf("%s: got %v, %v", good, d, err)
		}
	}
	if _, err := NewDevice("l3d", DeviceOptions{}); err == nil || !strings.Contains(err.Error(), "xdp-forward") {
		t.Errorf("an unknown device: %v does not say which there are", err)
	}
	if err := (&Qdisc{Device: Forward{}, Kind: "no_such"}).Missing(t.Context()); err == nil {
		t.Error("the kernel has a queue discipline no_such")
	}
	for text, want := range map[string]string{
		`{"nftables": [{"metainfo": {}}, {"chain": {}}, {"rule": {"expr": [{"match": {}}, {"counter": {"packets": 7, "bytes": 1}}]}}]}`: "7",
		`{"nftables": [{"rule": {"expr": [{"match": {}}]}}]}`:                                                                           "error", `{`: "error",
	} {
		got := "error"
		if n, err := firstCounter([]byte(text)); err == nil {
			got = fmt.Sprint(n)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
