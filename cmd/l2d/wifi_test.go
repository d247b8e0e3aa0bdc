// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/internal/wifitest"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/observe"
)

var wifiMachine = flag.Bool("l2d.wifi", false, "TestWiFi: have radios in this machine, which is for nothing else")

const wifiRuleset = `table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname "br0" oifname "wan0" accept
	}
}
table ip nat {
	chain postrouting {
		type nat hook postrouting priority 100;
		oifname "wan0" masquerade
	}
}
`

// accessPoint is a machine with two access points, a station and an Internet.
type accessPoint struct {
	*host
	station *wifitest.Station
	// far is the name of the Internet's namespace.
	far string
	// socket is the daemon's control socket, and services the directory of its services.
	socket, services string
}

// wifiConfig is the file, with more for the radio of 5 GHz.
func (a *accessPoint) wifiConfig(ssid, more string) string {
	return fmt.Sprintf(`dataplane: { ruleset: firewall.nft, pin_path: %s, interfaces: [{ name: wan0 }, { name: br0, xdp: "off" }] }
control: { socket: %s }
metrics: { listen: 127.0.0.1:9465 }
host:
  state_dir: %s
  sysctl: { net.ipv4.ip_forward: 1 }
  links:
    keep0: { kind: dummy }
    br0: { kind: bridge, members: [keep0], addresses: [192.168.1.1/24] }
network: { lan: { interface: br0 } }
services:
  kea_dhcp4: { mode: child, user: nobody, pools: [192.168.1.50-192.168.1.50], lease_file: %s }
  hostapd:
    mode: child
    country: US
    ssid: %s
    passphrase: %s
    bridge: br0
    io_class: realtime
    wmm: { be: { aifs: 1, cwmin: 4, cwmax: 4, txop_limit: 32 } }
    radios:
      wlan_2g: { channel: 6 }
      wlan_5g: { channel: 36%s }
`, a.pins, a.path("run/l2d.sock"), a.path("state"), a.path("kea/leases4.csv"), ssid, a.path("passphrase"), more)
}

func newAccessPoint(t *testing.T) *accessPoint {
	t.Helper()
	if !*wifiMachine {
		t.Skip("changes the whole machine: -l2d.wifi, in a virtual one")
	}
	if err := enforce.EnsureBPFFS("/sys/fs/bpf/l2d"); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: servicetest.Dir(t), pins: "/sys/fs/bpf/l2d-test-wifi"}
	h.holder = exec.Command("sleep", "1000")
	if err := h.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.holder.Process.Kill()
		_ = h.holder.Wait()
	})
	a := &accessPoint{h, wifitest.New(t), "far", h.path("run/l2d.sock"), h.path("run-services")}
	for _, line := range strings.Split(`ip netns add far
ip link add br0 type bridge
ip link add keep0 type dummy
ip link set keep0 master br0 up
ip link set br0 up
ip link add wan0 type veth peer name eth0 netns far
ip link set wan0 up
ip addr add 192.0.2.1/24 dev wan0
ip -n far link set lo up
ip -n far link set eth0 up
ip -n far addr add 192.0.2.2/24 dev eth0`, "\n") {
		servicetest.Run(t, strings.Fields(line)...)
	}
	h.states = readStates(t, h.path("notify"))
	h.write("firewall.nft", wifiRuleset)
	h.write("passphrase", "correct horse\n")
	h.write("l2d.yaml", a.wifiConfig("l2d", ""))
	return a
}

func (a *accessPoint) client() *api.Client { return api.NewClient(a.socket) }

// radio is the control interface of a radio's hostapd.
func (a *accessPoint) radio(link string) *hostapd.Control {
	c := hostapd.Dial(filepath.Join(a.services, "hostapd-"+link, "control"), link, a.path("client"))
	a.t.Cleanup(func() { _ = c.Close() })
	return c
}

// onAir waits until a radio is on a channel.
func (a *accessPoint) onAir(link string, channel int) {
	a.t.Helper()
	c := a.radio(link)
	servicetest.Eventually(a.t, func() error {
		s, err := c.Status(a.t.Context())
		if err == nil && (s.State != hostapd.StateEnabled || s.Channel != channel) {
			err = fmt.Errorf("%s: %+v", link, s)
		}
		return err
	})
}

// associate has the station join, and ask for an address.
func (a *accessPoint) associate() {
	a.t.Helper()
	a.station.Associate("l2d", "correct horse", 2437, 5180)
	a.station.Associated()
	if got := a.station.Lease("laptop"); got != "192.168.1.50" {
		a.t.Fatalf("the station has a lease of %s", got)
	}
}

// download begins one, and returns how many bytes have come, and its error if it has broken.
func (a *accessPoint) download() (bytes func() (int64, error)) {
	a.t.Helper()
	var listener net.Listener
	err := wifitest.Within(a.far, func() (err error) {
		listener, err = net.Listen("tcp4", "192.0.2.2:80")
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = listener.Close() })
	from := make(chan net.Addr, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		from <- c.RemoteAddr()
		chunk := make([]byte, 1400)
		for err == nil {
			_, err = c.Write(chunk)
			time.Sleep(20 * time.Millisecond) // an emulated machine has to do other things
		}
	}()
	var c net.Conn
	err = wifitest.Within(wifitest.Namespace, func() (err error) {
		c, err = net.DialTimeout("tcp4", "192.0.2.2:80", 30*time.Second)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	if got := (<-from).(*net.TCPAddr); got.IP.String() != "192.0.2.1" {
		a.t.Errorf("the Internet sees %v", got)
	}
	var n atomic.Int64
	var broken atomic.Pointer[error]
	go func() {
		buf := make([]byte, 65536)
		for {
			k, err := c.Read(buf)
			n.Add(int64(k))
			if err != nil && !errors.Is(err, net.ErrClosed) {
				broken.Store(&err)
			}
			if err != nil {
				return
			}
		}
	}()
	return func() (int64, error) {
		if err := broken.Load(); err != nil {
			return n.Load(), *err
		}
		return n.Load(), nil
	}
}

// goesOn waits until more bytes have come.
func (a *accessPoint) goesOn(what string, bytes func() (int64, error)) {
	a.t.Helper()
	before, _ := bytes()
	servicetest.Eventually(a.t, func() error {
		now, err := bytes()
		if errors.Is(err, io.EOF) || err != nil {
			a.t.Fatalf("the download %s: %v", what, err)
		}
		if now < before+65536 {
			return fmt.Errorf("the download %s: %d bytes, and before %d", what, now, before)
		}
		return nil
	})
}

// TestWiFi: two radios with WPA3 are the way to the Internet. A station gets a lease, and its download survives that it
// roams between them and that one changes its channel; what drops stations is said before.
func TestWiFi(t *testing.T) {
	a := newAccessPoint(t)
	p := a.start()
	a.onAir("wlan_2g", 6)
	a.onAir("wlan_5g", 36)
	a.associate()
	bytes := a.download()
	a.goesOn("begins", bytes)
	a.table()
	for _, link := range []string{"wlan_5g", "wlan_2g", "wlan_5g"} {
		a.station.Roam(link)
		a.goesOn("after the station has roamed to "+link, bytes)
	}

	a.write("l2d.yaml", a.wifiConfig("l2d", ", max_stations: 20, wmm: { be: { txop_limit: 0 } }"))
	a.apply("")
	a.goesOn("after a change in place", bytes)
	a.write("l2d.yaml", strings.Replace(a.wifiConfig("l2d", ", max_stations: 20"), "channel: 36", "channel: 44", 1))
	a.apply("its stations move along to channel 44")
	a.onAir("wlan_5g", 44)
	a.goesOn("after the radio has gone to another channel", bytes)
	if err := a.station.Is("wpa_state=COMPLETED", "freq=5220"); err != nil {
		t.Errorf("the station has not gone along: %v", err)
	}

	a.write("l2d.yaml", a.wifiConfig("other", ""))
	plan, err := a.client().HostPlan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "disruptive: its stations drop: the network has another name") || strings.Contains(text.String(), "correct horse") {
		t.Errorf("the plan is\n%s", text.String())
	}
	log := p.stderr.String()
	if strings.Contains(log, "correct horse") {
		t.Errorf("the passphrase is in the log")
	}
	for _, want := range []string{`msg="station connected" radio=wlan_5g station=` + wifitest.MAC, `msg="radio on another channel" radio=wlan_5g`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s", want)
		}
	}
	if out := servicetest.Run(t, "ps", "axww"); strings.Contains(out, "correct horse") || !strings.Contains(out, "hostapd") {
		t.Errorf("processes:\n%s", out)
	}
	if err := p.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	a.goesOn("without the daemon", bytes)
}

// table wants the station in the daemon's table.
func (a *accessPoint) table() {
	a.t.Helper()
	list, err := a.client().Stations(a.t.Context())
	if err != nil || len(list) != 2 || list[0].Interface != "wlan_2g" || list[1].SSID != "l2d" {
		a.t.Fatalf("%+v, %v", list, err)
	}
	// The other radio may have heard a request of the station's that it has not gone on with.
	stations := slices.DeleteFunc(slices.Concat(list[0].Stations, list[1].Stations), func(s hostapd.Client) bool { return !s.Authorized })
	if len(stations) != 1 {
		a.t.Fatalf("%+v", list)
	}
	s := stations[0]
	if s.MAC != wifitest.MAC || s.Security != "SAE" || s.Signal >= 0 || s.SendRate == 0 || s.Received == 0 || fmt.Sprint(s.Addresses) != "[192.168.1.50]" {
		a.t.Errorf("%+v", s)
	}
	if s.Queue == nil || s.Queue.Packets == 0 { // airtime is not counted by these radios
		a.t.Errorf("no queue: %+v, %+v", s, s.Queue)
	}
	a.looked()
}

// looked wants the station in what l2ctl top shows.
func (a *accessPoint) looked() {
	a.t.Helper()
	sample, err := a.client().Sample(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	if len(sample.Radios) != 2 || sample.Radios[1].Channel != 36 {
		a.t.Fatalf("radios %+v", sample.Radios)
	}
	heard := slices.IndexFunc(sample.Stations, func(s observe.Station) bool { return s.Signal < 0 })
	if heard < 0 {
		a.t.Fatalf("stations %+v", sample.Stations)
	}
	s := sample.Stations[heard]
	if s.Name != "laptop" || s.Signal >= 0 || s.Sent == 0 {
		a.t.Errorf("%+v", s)
	}
	info := fmt.Sprintf("l2d_wifi_station_info{interface=%q,name=\"laptop\",station=%q} 1\n", s.Radio, wifitest.MAC)
	if out := servicetest.Run(a.t, "curl", "-sS", "--fail", "http://127.0.0.1:9465/metrics"); !strings.Contains(out, info) {
		a.t.Errorf("no %s in\n%s", info, out)
	}
	i := slices.IndexFunc(sample.Queues, func(q observe.Queue) bool { return q.Kind == "mac80211" && q.Interface == s.Radio })
	if i < 0 || sample.Queues[i].Packets == 0 {
		a.t.Errorf("queues %+v", sample.Queues)
	}
}

// apply applies the file, and tells whether the plan has a text.
func (a *accessPoint) apply(want string) {
	a.t.Helper()
	done, err := a.client().HostApply(a.t.Context(), api.HostOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	var text strings.Builder
	if err := done.Plan.Write(&text); err != nil {
		a.t.Fatal(err)
	}
	if !strings.Contains(text.String(), want) || strings.Contains(text.String(), "disruptive") {
		a.t.Errorf("the plan is\n%s", text.String())
	}
}
