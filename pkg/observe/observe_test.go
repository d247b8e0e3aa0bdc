// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

func TestBetween(t *testing.T) {
	at := time.Unix(1000, 0)
	a := &Sample{
		Time: at, Interfaces: []Interface{{Name: "wan0", RxBytes: 1000, TxPackets: 10}, {Name: "gone0"}, {Name: "new1", RxBytes: 1 << 40}},
		CPUs: []CPU{{CPU: 3, XDP: 5, Ticks: 100, Busy: 50, Softirq: 40}}, Drops: map[string]uint64{"policy": 7},
		Queues: []Queue{{Interface: "wan0", Kind: "cake", Marks: 1}}, Flows: Flows{Begun: 100},
		Radios:   []Radio{{Interface: "wlan0", Active: 1e9, Busy: 5e8}},
		Stations: []Station{{Radio: "wlan0", MAC: "a", Sent: 1000, Airtime: 1e9}, {Radio: "wlan0", MAC: "b", Airtime: 1e9}, {Radio: "wlan1", MAC: "c", Airtime: 5}},
	}
	b := &Sample{
		Time: at.Add(2 * time.Second), Interfaces: []Interface{{Name: "wan0", RxBytes: 3000, TxPackets: 30}, {Name: "new0", RxBytes: 1 << 40}, {Name: "new1"}},
		CPUs: []CPU{{CPU: 3, XDP: 9, Ticks: 300, Busy: 200, Softirq: 90}, {CPU: 4, XDP: 1 << 40}}, Drops: map[string]uint64{"policy": 7, "martian": 4, "no_route": 0},
		Queues: []Queue{{Interface: "wan0", Kind: "cake", Marks: 5, Delay: 0.25}}, Flows: Flows{Confirmed: 6, Begun: 120},
		Radios: []Radio{{Interface: "wlan0", Channel: 36, Stations: 2, Active: 3e9, Busy: 1e9}, {Interface: "wlan1"}},
		Stations: []Station{
			{Radio: "wlan0", MAC: "a", Name: "phone", Signal: -50, SendRate: 7, Sent: 3000, Received: 500, Retries: 2, Airtime: 11e8},
			{Radio: "wlan0", MAC: "b", Airtime: 2e9}, {Radio: "wlan0", MAC: "c", Airtime: 1 << 60}, // it has roamed
		},
	}
	v := Between(a, b)
	want := View{
		Time: b.Time, Interval: 2,
		Interfaces: []InterfaceRate{{Name: "wan0", RxBits: 8000, TxPackets: 10}, {Name: "new0"}, {Name: "new1"}}, // no rate of one that is new, or began anew
		CPUs:       []CPURate{{CPU: 3, XDP: 2, Busy: 0.75, Softirq: 0.25}, {CPU: 4}},
		Drops:      []DropRate{{"martian", 2, 4}, {"policy", 0, 7}},
		Flows:      FlowRates{Flows: b.Flows, BegunRate: 10},
		Queues:     []QueueRate{{Interface: "wan0", Kind: "cake", Marks: 2, Delay: 0.25}},
		Radios:     []RadioRate{{"wlan0", 36, 2, 0.25}, {"wlan1", 0, 0, -1}},
		Stations: []StationRate{
			{Radio: "wlan0", MAC: "b", Airtime: 0.5}, {Radio: "wlan0", MAC: "a", Name: "phone", Signal: -50, SendRate: 7, Up: 2000, Down: 8000, Retries: 1, Airtime: 0.05},
			{Radio: "wlan0", MAC: "c"},
		},
	}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got  %+v\nwant %+v", v, want)
	}
	if v := Between(nil, b); v.Interval != 0 || v.Interfaces[0].RxBits != 0 || v.Drops[0].Rate != 0 {
		t.Errorf("rates of one sample: %+v", v)
	}
}

func TestTalkers(t *testing.T) {
	client, server, outside := netip.MustParseAddrPort("192.168.1.50:4000"), netip.MustParseAddrPort("1.1.1.1:443"), netip.MustParseAddrPort("203.0.113.7:80")
	inside, guest := netip.MustParseAddrPort("192.168.1.9:8080"), netip.MustParseAddrPort("198.51.100.1:99")
	download := flow.Flow{Protocol: "tcp", Original: flow.Direction{Src: client, Dst: server, Bytes: 1000}, Reply: flow.Direction{Src: server, Dst: outside, Bytes: 50000}}
	// A port forward: the host is the one inside.
	forward := flow.Flow{Protocol: "tcp", Original: flow.Direction{Src: guest, Dst: outside, Bytes: 10}, Reply: flow.Direction{Src: inside, Dst: guest, Bytes: 20}}
	flows := []*flow.Flow{&forward, &download}
	k := Talkers{
		Each: func(yield func(*flow.Flow)) error {
			for _, f := range flows {
				yield(f)
			}
			return nil
		},
		Name: func(a netip.Addr) string { return map[netip.Addr]string{client.Addr(): "laptop"}[a] },
	}
	now := time.Unix(1000, 0)
	hosts, talkers, err := k.Top(now)
	if err != nil || len(hosts) != 2 || len(talkers) != 2 || hosts[0].Up+hosts[1].Down+talkers[0].Back != 0 {
		t.Fatalf("first walk: %+v %+v %v", hosts, talkers, err)
	}
	download.Original.Bytes, download.Reply.Bytes = 2000, 150000
	forward.Reply.Bytes = 270
	fresh := flow.Flow{Protocol: "udp", Original: flow.Direction{Src: client, Dst: server, Bytes: 500}, Reply: flow.Direction{Src: server, Dst: client}}
	flows = append(flows, &fresh)
	if again, _, _ := k.Top(now.Add(walkEvery / 2)); !reflect.DeepEqual(again, hosts) {
		t.Error("the table was walked again at once")
	}
	hosts, talkers, err = k.Top(now.Add(2 * time.Second))
	want := []Host{{Address: client.Addr(), Name: "laptop", Flows: 2, Up: 4000 + 2000, Down: 400000}, {Address: inside.Addr(), Flows: 1, Up: 1000}}
	if err != nil || !reflect.DeepEqual(hosts, want) {
		t.Errorf("got  %+v\nwant %+v, %v", hosts, want, err)
	}
	if talkers[0].Src != client || talkers[0].Back != 400000 || talkers[1].Protocol != "udp" || talkers[2].Host != inside.Addr() || talkers[2].Back != 1000 {
		t.Errorf("%+v", talkers)
	}
	k.Forget(now.Add(time.Hour), time.Minute)
	if hosts, _, _ := k.Top(now.Add(time.Hour)); hosts[0].Up != 0 || hosts[0].Down != 0 {
		t.Errorf("rates over an hour that nobody looked: %+v", hosts)
	}
	flows = nil
	for i := range 5000 {
		flows = append(flows, &flow.Flow{Original: flow.Direction{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)}})
	}
	hosts, talkers, _ = k.Top(now.Add(2 * time.Hour))
	if len(hosts) != mostListed || len(talkers) != mostListed {
		t.Errorf("%d hosts and %d flows are listed", len(hosts), len(talkers))
	}
}

func TestQueue(t *testing.T) {
	q := queue("wan0", &tcnl.Report{Kind: "dualpi2", Parent: "root", Drops: 3, Details: []tcnl.Value{
		{Name: "marks", Value: 5}, {Name: "step_marks", Value: 2}, {Name: "classic_delay_seconds", Value: 0.015}, {Name: "l4s_delay_seconds", Value: 0.001},
	}})
	if want := (Queue{Interface: "wan0", Parent: "root", Kind: "dualpi2", Drops: 3, Marks: 7, Delay: 0.015}); q != want {
		t.Errorf("%+v", q)
	}
	q = queue("wan0", &tcnl.Report{Kind: "cake", Tins: []tcnl.Tin{{Values: []tcnl.Value{{Name: "marks", Value: 1}}}, {Values: []tcnl.Value{{Name: "marks", Value: 2}, {Name: "average_delay_seconds", Value: 0.004}}}}})
	if q.Marks != 3 || q.Delay != 0.004 {
		t.Errorf("%+v", q)
	}
	if q = queue("wan0", &tcnl.Report{Kind: "pfifo_fast"}); q.Delay != -1 {
		t.Errorf("%+v", q)
	}
}

func TestTemperatures(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hwmon0/name": "k10temp\n", "hwmon0/temp1_input": "51250\n", "hwmon0/temp1_label": "Tctl\n", "hwmon0/temp2_input": "none\n",
		"hwmon1/name": "mt7915_phy0\n", "hwmon1/temp1_input": "-5000\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := readTemperatures(dir); !reflect.DeepEqual(got, []Temperature{{"k10temp Tctl", 51.25}, {"mt7915_phy0", -5}}) {
		t.Errorf("%+v", got)
	}
}
