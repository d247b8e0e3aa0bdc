// SPDX-License-Identifier: GPL-2.0-only

package hostapd_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/internal/wifitest"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/radvd"
	"github.com/randomizedcoder/l2d/pkg/service"
)

var machine = flag.Bool("hostapd.machine", false, "have radios in this machine, which is for nothing else")

const (
	ssid       = "home net"
	passphrase = "correct horse"
	unit2      = "hostapd-" + wifitest.Radio2
	unit5      = "hostapd-" + wifitest.Radio5
)

// air is a host with two access points and another service, and a station at the first of them.
type air struct {
	*servicetest.Host
	t       *testing.T
	mode    string
	station *wifitest.Station
	secret  string
	// program is the hostapd that is there.
	program string
}

// config declares it, with a hostapd and more of the keys of the radio of 5 GHz.
func (a *air) config(program, more string) string {
	return fmt.Sprintf(`
network: {lan: {interface: br0, addresses: ["fd00::1/64"]}}
services:
  radvd: {mode: %s, user: nobody}
  hostapd:
    mode: %[1]s
    binary: %s
    country: US
    ssid: %s
    passphrase: %s
    bridge: br0
    radios:
      %s: { channel: 6 }
      %s: { channel: 36%s }
`, a.mode, program, ssid, a.secret, wifitest.Radio2, wifitest.Radio5, more)
}

// TestFaults: whatever hostapd does, the other services go on, the file of before is in force again, and stations
// come back. In both modes that there are where systemd is.
func TestFaults(t *testing.T) {
	if !*machine {
		t.Skip("changes the whole machine: -hostapd.machine, in a virtual one")
	}
	t.Setenv("TMPDIR", "/run") // units have a /tmp of their own
	station := wifitest.New(t)
	for _, line := range []string{
		"iw reg set US", // l2d's host kinds do that, which are not here
		"ip link add br0 type bridge", "ip link add keep0 type dummy", "ip link set keep0 master br0 up", "ip link set br0 up",
		"sysctl -qw net.ipv6.conf.all.forwarding=1", "ip addr add fd00::1/64 dev br0 nodad",
	} {
		servicetest.Run(t, strings.Fields(line)...)
	}
	program, err := exec.LookPath("hostapd")
	if err != nil {
		t.Fatal(err)
	}
	station.Associate(ssid, passphrase, 2437, 5180)
	for _, mode := range []string{config.ModeSystemd, config.ModeChild} {
		t.Run(mode, func(t *testing.T) {
			a := &air{Host: servicetest.NewHost(t, hostapd.New(), radvd.New()), t: t, mode: mode, station: station, program: program}
			a.secret = filepath.Join(a.Dir, "passphrase")
			if err := os.WriteFile(a.secret, []byte(passphrase+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			a.atStart()
			a.programs()
			a.refused()
			a.hangs()
			a.full()
			a.Killed(unit5)
			a.comes()
		})
	}
}

// comes wants the station to have come to an access point, whatever process that is now.
func (a *air) comes() {
	a.t.Helper()
	a.station.Associated()
	servicetest.Eventually(a.t, func() error {
		for _, r := range hostapd.Survey(a.t.Context(), a.endpoints()) {
			if slices.ContainsFunc(r.Stations, func(s hostapd.Client) bool { return s.MAC == wifitest.MAC && s.Authorized && s.Security == "SAE" }) {
				return nil
			}
		}
		return errors.New("no access point has it")
	})
}

func (a *air) endpoints() []hostapd.Endpoint {
	c, err := config.Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: br0}]}\n"+a.config(a.program, "")))
	if err != nil {
		a.t.Fatal(err)
	}
	return hostapd.Endpoints(c, service.Dirs{Run: a.Run})
}

// others are the processes of the services besides that of the radio of 5 GHz; all have to be well.
func (a *air) others() (out [2]int) {
	a.t.Helper()
	for i, name := range []string{unit2, "radvd"} {
		s := a.Status(name)
		if s.Error != "" {
			a.t.Errorf("%+v", s)
		}
		out[i] = s.PID
	}
	return out
}

// file is that of the radio of 5 GHz, as it is installed.
func (a *air) file() string {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.Run, unit5, "hostapd.conf"))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// fails applies a configuration that fails, with words of an error, and wants all to be as it was then. The process of
// the radio of 5 GHz may be another.
func (a *air) fails(text string, want ...string) {
	a.t.Helper()
	others, file := a.others(), a.file()
	err := a.Apply(text)
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			a.t.Errorf("%v, not %q", err, w)
		}
	}
	if err != nil && strings.Contains(err.Error(), passphrase) {
		a.t.Errorf("the passphrase is in %v", err)
	}
	servicetest.Eventually(a.t, func() error {
		if s := a.Status(unit5); s.Error != "" {
			return fmt.Errorf("it is not well again: %+v", s)
		}
		return nil
	})
	if now := a.others(); now != others {
		a.t.Errorf("others are processes %v, and were %v", now, others)
	}
	if now := a.file(); now != file {
		a.t.Errorf("the file is\n%s\nand was\n%s", now, file)
	}
	a.comes()
}

// script is a program in the place of hostapd.
func (a *air) script(name, body string) string {
	a.t.Helper()
	path := filepath.Join(a.Dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/bash\n"+body+"\n"), 0o755); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// atStart: who has its radio or its control interface is named, nothing is left of the try, and it can come when
// that has gone.
func (a *air) atStart() {
	t := a.t
	t.Helper()
	// Another process answers at the control interface.
	dir := filepath.Join(a.Run, unit5, "control")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(dir, wifitest.Radio5)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: taken, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Apply(a.config(a.program, ""))
	if err == nil || !strings.Contains(err.Error(), unit5+": it ends again and again: exit status ") || !strings.Contains(err.Error(), "ctrl_iface exists and seems to be in use") {
		t.Errorf("the control interface is taken: %v", err)
	}
	if list := a.Manager.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("not undone: %+v", list)
	}
	_ = l.Close()
	_ = os.Remove(taken)

	// Another hostapd has the radio.
	conf := filepath.Join(a.Dir, "other.conf")
	text := fmt.Sprintf("interface=%s\ndriver=nl80211\nssid=other\nhw_mode=a\nchannel=44\ncountry_code=US\n", wifitest.Radio5)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	other := exec.Command(a.program, conf)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, func() error {
		if out := servicetest.Run(t, "iw", "dev", wifitest.Radio5, "info"); !strings.Contains(out, "channel 44") {
			return errors.New(out)
		}
		return nil
	})
	err = a.Apply(a.config(a.program, ""))
	if err == nil || !strings.Contains(err.Error(), "exit status ") || !strings.Contains(err.Error(), "nl80211: Could not configure driver mode") {
		t.Errorf("the radio is taken: %v", err)
	}
	_ = other.Process.Kill()
	_ = other.Wait()

	a.Must(a.config(a.program, ""))
	a.comes()
}

// programs that cannot run in the place of hostapd.
func (a *air) programs() {
	t := a.t
	t.Helper()
	others := a.Status("radvd").PID
	a.Faults(unit2, a.program, ".check", func(program string) string { return a.config(program, "") })
	if s := a.Status("radvd"); s.Error != "" || s.PID != others {
		t.Errorf("another service: %+v", s)
	}
	a.comes()
}

// refused: the daemon's own parser says where it does not like its file; an older one does not know all keys.
func (a *air) refused() {
	t := a.t
	t.Helper()
	older := a.script("older", `sed -i s/^sae_pwe=/sae_pew=/ "$1"; exec `+a.program+` "$@"`)
	pid := a.Status(unit5).PID
	a.fails(a.config(older, ""), "Line ", "unknown configuration item 'sae_pew'", "what hostapd accepts")
	if s := a.Status(unit5); s.PID != pid {
		t.Errorf("what was only checked has another process: %+v", s)
	}
}

// hangs: a hostapd that does not answer when it is to go to another channel.
func (a *air) hangs() {
	t := a.t
	t.Helper()
	a.station.Roam(wifitest.Radio5)
	pid := a.Status(unit5).PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.fails(strings.Replace(a.config(a.program, ""), "channel: 36", "channel: 44", 1), unit5, "i/o timeout")
	if s := a.Status(unit5); s.PID == pid {
		t.Errorf("who does not answer is still there: %+v", s)
	}
}

// full: a file that does not fit changes nothing.
func (a *air) full() {
	t := a.t
	t.Helper()
	a.Must("") // what has files there
	room := servicetest.FullDisk(t, a.Run)
	if err := a.Apply(a.config(a.program, "")); !errors.Is(err, syscall.ENOSPC) && (err == nil || !strings.Contains(err.Error(), "no space left")) {
		t.Errorf("a disk that is full: %v", err)
	}
	if list := a.Manager.Statuses(t.Context()); len(list) != 0 {
		t.Errorf("not undone: %+v", list)
	}
	if _, err := os.Stat(filepath.Join(a.Run, unit5, "hostapd.conf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
	room()
	a.Must(a.config(a.program, ""))
	a.comes()
	pid := a.Status(unit5).PID
	if err := os.WriteFile(filepath.Join(a.Run, "filler"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	a.fails(a.config(a.program, ", max_stations: 20"), "no space left")
	if s := a.Status(unit5); s.PID != pid {
		t.Errorf("who has no other file is another process: %+v", s)
	}
	if err := os.Remove(filepath.Join(a.Run, "filler")); err != nil {
		t.Fatal(err)
	}
	a.Must(a.config(a.program, ", max_stations: 20"))
}
