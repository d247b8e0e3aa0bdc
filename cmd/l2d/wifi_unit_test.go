// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/util"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/internal/wifitest"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// unitConfig is a router's file, with all that its services have from systemd, and the radios' queues.
const unitConfig = `dataplane: { ruleset: firewall.nft, interfaces: [{ name: wan0 }, { name: br0, xdp: "off" }] }
host:
  sysctl: { net.ipv4.ip_forward: 1 }
  links:
    keep0: { kind: dummy }
    br0: { kind: bridge, members: [keep0], addresses: [192.168.1.1/24] }
  nics:
    wlan_5g: { aqm: { aql: { be: { low: 4000, high: 8000 } }, airtime: [rx] } }
network: { lan: { interface: br0 } }
services:
  slices:
    network: { cpus: 0-1, memory_high: 256M, memory_max: 512M }
  kea_dhcp4: { slice: network, user: nobody, pools: [192.168.1.50-192.168.1.50] }
  hostapd:
    slice: network
    cpus: "1"
    cpu_weight: 200
    memory_high: 64M
    memory_max: 128M
    nice: -10
    io_class: realtime
    country: US
    ssid: l2d
    passphrase: credential:wifi
    bridge: br0
    radios:
      wlan_2g: { channel: 6 }
      wlan_5g: { channel: 36 }
`

// installUnit puts l2d where its package does, as systemd runs it, with a credential that the daemon could not
// read itself: ProtectHome=yes.
func (a *accessPoint) installUnit() {
	a.t.Helper()
	self, err := os.Executable()
	if err != nil {
		a.t.Fatal(err)
	}
	servicetest.Run(a.t, "cp", self, "/usr/sbin/l2d")
	text, err := os.ReadFile("../../scripts/l2d.service")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range []struct {
		path, text string
		mode       os.FileMode
	}{
		{"/run/systemd/system/l2d.service", string(text), 0o644},
		// An emulated machine is slow.
		{"/run/systemd/system/l2d.service.d/test.conf", "[Service]\nEnvironment=" + asProgram + "=1\nLoadCredential=wifi:/root/wifi.secret\nTimeoutStartSec=600\nWatchdogSec=600\n", 0o644},
		{"/root/wifi.secret", "correct horse\n", 0o600},
		{"/etc/l2d/firewall.nft", wifiRuleset, 0o600},
		{config.DefaultPath, unitConfig, 0o600},
	} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			a.t.Fatal(err)
		}
		if err := os.WriteFile(f.path, []byte(f.text), f.mode); err != nil {
			a.t.Fatal(err)
		}
	}
	a.socket, a.services = config.DefaultSocket, "/run/l2d-services"
	a.t.Cleanup(func() {
		if !a.t.Failed() {
			return
		}
		out, err := exec.Command("journalctl", "--no-pager", "--lines", "300").CombinedOutput()
		a.t.Logf("%s\n%v", out, err)
	})
}

// TestWiFiUnit: l2d and its access points as units of systemd: with their slices and limits, closed off, with a
// passphrase from a credential of l2d's alone. A station downloads while it roams and l2d is started anew.
func TestWiFiUnit(t *testing.T) {
	if *wifiMachine && !util.IsRunningSystemd() {
		t.Skip("systemd is not the first process")
	}
	t.Setenv("TMPDIR", "/run") // units have a /tmp of their own, without this test's sockets
	a := newAccessPoint(t)
	a.installUnit()
	servicetest.Run(t, "systemctl", "daemon-reload")
	servicetest.Run(t, "systemctl", "start", "systemd-journald.service") // nothing else wants it in this machine
	servicetest.Run(t, "systemctl", "start", "l2d.service")
	a.onAir("wlan_2g", 6)
	a.onAir("wlan_5g", 36)
	servicetest.Eventually(t, func() error { // services start one after another
		list, err := a.client().Services(t.Context())
		notWell := func(s service.Status) bool { return s.Error != "" }
		if err == nil && (len(list) < 3 || slices.ContainsFunc(list, notWell)) {
			err = fmt.Errorf("not all are well: %+v", list)
		}
		return err
	})
	a.country()
	units := a.units()
	for _, s := range units {
		a.limited(s)
		a.closedOff(s)
	}
	a.concealed()
	plan, err := a.client().HostPlan(t.Context())
	if err != nil || len(plan.Changes) != 0 {
		t.Errorf("there is more to do: %+v, %v", plan, err)
	}

	a.associate()
	bytes := a.download()
	a.goesOn("begins", bytes)
	for _, link := range []string{wifitest.Radio5, wifitest.Radio2, wifitest.Radio5} {
		a.station.Roam(link)
		a.goesOn("after the station has roamed to "+link, bytes)
	}
	servicetest.Run(t, "systemctl", "restart", "l2d.service")
	a.goesOn("after l2d was started anew", bytes)
	if now := a.units(); pids(now) != pids(units) {
		t.Errorf("access points are processes %s, and were %s", pids(now), pids(units))
	}
	if err := unix.Kill(a.units()[1].PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, func() error {
		if s := a.units()[1]; s.Error != "" || s.PID == units[1].PID || s.Restarts == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	a.station.Associated()
	a.goesOn("after its access point was killed", bytes)
}

// units are the services of the two radios; the DHCP server is well.
func (a *accessPoint) units() []service.Status {
	a.t.Helper()
	list, err := a.client().Services(a.t.Context())
	if err != nil || len(list) != 3 || list[2].Name != "kea-dhcp4" || list[2].Error != "" || list[0].Name != "hostapd-wlan_2g" || list[1].Name != "hostapd-wlan_5g" || list[0].Mode != config.ModeSystemd {
		a.t.Fatalf("%+v, %v", list, err)
	}
	return list[:2]
}

func pids(list []service.Status) (out string) {
	for _, s := range list {
		out += fmt.Sprint(s.PID, " ")
	}
	return out
}

// country wants the kernel in the country of the file since before there was an access point.
func (a *accessPoint) country() {
	a.t.Helper()
	if out := servicetest.Run(a.t, "iw", "reg", "get"); !strings.Contains(out, "country US") {
		a.t.Errorf("the country is\n%s", out)
	}
	log := servicetest.Run(a.t, "journalctl", "--no-pager", "--unit", "l2d.service", "--output", "cat")
	set, started := strings.Index(log, `"regdom country"`), strings.Index(log, `"service hostapd-`)
	if set < 0 || started < set {
		a.t.Errorf("the country was not set before access points started:\n%s", log)
	}
	for file, want := range map[string]string{"aql_txq_limit": "BE\t4000\t\t8000", "airtime_flags": "AIRTIME_RX\t(2)"} {
		b, err := os.ReadFile("/sys/kernel/debug/ieee80211/phy1/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel does not let anybody set it, as l2d says
		}
		if err != nil || !strings.Contains(string(b), want) {
			a.t.Errorf("%s: %q, %v", file, b, err)
		}
	}
}

// limited reads back what the kernel has of a unit's limits.
func (a *accessPoint) limited(s service.Status) {
	a.t.Helper()
	group := "/l2d.slice/l2d-network.slice/l2d-network-hostapd.slice/l2d-" + s.Name + ".service"
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			a.t.Error(err)
		}
		return strings.TrimSpace(string(b))
	}
	if got := read(fmt.Sprintf("/proc/%d/cgroup", s.PID)); got != "0::"+group {
		a.t.Errorf("%s is in %s", s.Name, got)
	}
	for file, want := range map[string]string{
		group + "/cpuset.cpus.effective": "1", group + "/cpu.weight": "200", group + "/memory.high": fmt.Sprint(64 << 20), group + "/memory.max": fmt.Sprint(128 << 20),
		"/l2d.slice/l2d-network.slice/cpuset.cpus": "0-1",
		"/l2d.slice/l2d-network.slice/memory.high": fmt.Sprint(256 << 20), "/l2d.slice/l2d-network.slice/memory.max": fmt.Sprint(512 << 20),
	} {
		if got := read("/sys/fs/cgroup" + file); got != want {
			a.t.Errorf("%s: %s, not %s", file, got, want)
		}
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, s.PID)
	if err != nil || 20-nice != -10 { // as the system call has it
		a.t.Errorf("%s: nice %d, %v", s.Name, 20-nice, err)
	}
	if out := servicetest.Run(a.t, "ionice", "-p", fmt.Sprint(s.PID)); !strings.HasPrefix(out, "realtime: prio 4") {
		a.t.Errorf("%s: I/O class %s", s.Name, out)
	}
}

// closedOff wants an access point without more than it needs.
func (a *accessPoint) closedOff(s service.Status) {
	a.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
	if err != nil {
		a.t.Fatal(err)
	}
	capabilities := fmt.Sprintf("CapBnd:\t%016x", 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW)
	for _, want := range []string{"NoNewPrivs:\t1", capabilities, "Seccomp:\t2"} {
		if !strings.Contains(string(b), want+"\n") {
			a.t.Errorf("%s: no %q in %s", s.Name, want, b)
		}
	}
}

// concealed wants the passphrase in the files of hostapd alone, and those for root alone.
func (a *accessPoint) concealed() {
	a.t.Helper()
	shown := []string{
		servicetest.Run(a.t, "ps", "axwwe"), servicetest.Run(a.t, "journalctl", "--no-pager"),
		servicetest.Run(a.t, "systemctl", "show", "l2d-hostapd-wlan_5g.service"), servicetest.Run(a.t, "systemctl", "cat", "l2d-hostapd-wlan_5g.service"),
	}
	config, err := a.client().ServiceConfig(a.t.Context(), "hostapd-wlan_5g")
	if err != nil {
		a.t.Fatal(err)
	}
	for _, text := range append(shown, fmt.Sprint(config)) {
		if strings.Contains(text, "correct horse") {
			a.t.Errorf("the passphrase is in\n%s", text)
		}
	}
	// It cannot read all that is in /run.
	out, _ := exec.Command("grep", "-rls", "correct horse", "/run", "/etc", "/var/lib/l2d").Output()
	paths := strings.Fields(string(out))
	if len(paths) < 2 {
		a.t.Errorf("nothing has the passphrase but %q", paths)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			a.t.Fatal(err)
		}
		open := info.Mode().Perm()&0o077 != 0
		for dir := filepath.Dir(path); open && dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o011 == 0 {
				open = false
			}
		}
		if open {
			a.t.Errorf("%s has the passphrase, and others than root can read it: %v", path, info.Mode())
		}
	}
}
