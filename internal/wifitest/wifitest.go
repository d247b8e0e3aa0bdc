// SPDX-License-Identifier: GPL-2.0-only

// Package wifitest has radios and a station for tests in a virtual machine, which they have for themselves: the
// kernel's emulated radios, with a real wpa_supplicant.
package wifitest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
)

// Names of what [New] makes.
const (
	// Radio2 and Radio5 are the interfaces of access points.
	Radio2, Radio5 = "wlan_2g", "wlan_5g"
	// Namespace has the station's radio, whose interface is Link.
	Namespace, Link = "station", "wlan2"
	// MAC is the station's address: hwsim numbers its radios.
	MAC = "02:00:00:00:02:00"

	supplicantDir = "/run/wpa_supplicant"
)

// Station is a machine with a radio, in a network namespace.
type Station struct {
	t *testing.T
	// control is the supplicant's, which speaks as hostapd does; events are what it tells of.
	control *hostapd.Control
	events  chan hostapd.Event
}

// New loads three radios: two for access points, and one for a station.
func New(t *testing.T) *Station {
	t.Helper()
	// Linux 7.3's hwsim encrypts itself, in room behind the frame that mac80211's short way to a driver does not
	// make: a frame from XDP, with none, is lost with a warning. A threshold for fragments has all go the long way.
	// Radios of two channels listen to others without being away from their own, as devices that scan by themselves.
	for _, line := range strings.Split(`modprobe mac80211_hwsim radios=3 channels=2
iw phy phy0 set frag 2346
iw phy phy1 set frag 2346
iw phy phy2 set frag 2346
ip link set wlan0 down
ip link set wlan1 down
ip link set wlan0 name `+Radio2+`
ip link set wlan1 name `+Radio5+`
ip netns add `+Namespace+`
ip -n `+Namespace+` link set lo up
iw phy phy2 set netns name `+Namespace, "\n") {
		servicetest.Run(t, strings.Fields(line)...)
	}
	return &Station{t: t, events: make(chan hostapd.Event, 1024)}
}

// Within does something in a network namespace.
func Within(name string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends
		ns, err := netns.GetFromName(name)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// Associate has the station join a network with WPA3 as soon as it hears of one, on some frequencies in MHz.
func (s *Station) Associate(ssid, pass string, frequencies ...int) {
	s.t.Helper()
	dir := s.t.TempDir()
	conf := filepath.Join(dir, "supplicant.conf")
	text := fmt.Sprintf("ctrl_interface=%s\nsae_pwe=2\nnetwork={\n\tssid=%q\n\tkey_mgmt=SAE\n\tsae_password=%q\n\tieee80211w=2\n\tscan_freq=%s\n}\n",
		supplicantDir, ssid, pass, strings.Trim(fmt.Sprint(frequencies), "[]"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	argv := []string{"ip", "netns", "exec", Namespace, "wpa_supplicant", "-t", "-i" + Link, "-c", conf}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && s.t.Failed() {
			s.t.Logf("wpa_supplicant:\n%s", text)
		}
	})
	s.listen()
}

// Associated waits until it has joined one of the radios.
func (s *Station) Associated() {
	s.t.Helper()
	servicetest.Eventually(s.t, func() error {
		var err error
		for end := time.Now().Add(eventTime); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if err = s.stays(Radio2, Radio5); err == nil {
				return nil
			}
		}
		// REASSOCIATE does nothing where the supplicant takes a handshake that was repeated for one that has not ended.
		_, left := s.Ask("DISCONNECT")
		return errors.Join(err, left, s.does("RECONNECT", "CTRL-EVENT-CONNECTED", ""))
	})
}

// handshake is for as long as hostapd repeats one that nobody answers, until it drops the station.
const handshake = 6 * time.Second

// stays wants the station to be one of some radios', as both see it, and to remain so. In an emulated machine hostapd
// may find the station's second request to associate behind the handshake that the first one began: it begins another
// one then, and loses the station, who does not know.
func (s *Station) stays(links ...string) error {
	if err := s.joined(links); err != nil {
		return err
	}
	time.Sleep(handshake)
	return s.joined(links)
}

func (s *Station) joined(links []string) error {
	if err := s.Is("wpa_state=COMPLETED", "key_mgmt=SAE", "pmf=2"); err != nil {
		return err
	}
	for _, link := range links {
		out, err := exec.CommandContext(s.t.Context(), "iw", "dev", link, "station", "get", MAC).Output()
		if err == nil && strings.Contains(string(out), "authorized:\tyes") && s.Is("bssid="+Address(s.t, link)) == nil {
			return nil
		}
	}
	return fmt.Errorf("none of %v knows the station", links)
}

// leaseScript gives the station what it was told.
const leaseScript = `#!/bin/bash
case $1 in
bound | renew)
	ip addr replace "$ip/$mask" dev "$interface" && ip route replace default via "$router"
	echo "$ip $router" >%s
	;;
esac
`

// Lease has the station ask for an address as a host of some name, and returns it once it has it, and a way to the
// Internet.
func (s *Station) Lease(name string) string {
	s.t.Helper()
	dir := s.t.TempDir()
	script, got := filepath.Join(dir, "script"), filepath.Join(dir, "lease")
	if err := os.WriteFile(script, fmt.Appendf(nil, leaseScript, got), 0o700); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", Namespace, "udhcpc", "-f", "-i", Link, "-s", script, "-x", "hostname:"+name, "-t", "100")
	cmd.Stdout, cmd.Stderr = s.t.Output(), s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var address string
	servicetest.Eventually(s.t, func() error {
		text, err := os.ReadFile(got)
		address, _, _ = strings.Cut(string(text), " ")
		return err
	})
	return address
}

// listen connects to the supplicant.
func (s *Station) listen() {
	own := s.t.TempDir()
	s.control = hostapd.Dial(supplicantDir, Link, own)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hostapd.Listen(ctx, supplicantDir, Link, own, func() {}, func(e hostapd.Event) {
			select {
			case s.events <- e:
			default: // nobody waits for one
			}
		})
	}()
	s.t.Cleanup(func() {
		cancel()
		<-ended
		_ = s.control.Close()
	})
}

// Ask gives the supplicant a command.
func (s *Station) Ask(command string) (string, error) {
	reply, err := s.control.Ask(s.t.Context(), command)
	if err == nil && strings.HasPrefix(reply, "FAIL") { // FAIL-BUSY
		err = errors.New(strings.TrimSpace(reply))
	}
	return reply, err
}

// Is tells what lines the supplicant's state does not have.
func (s *Station) Is(lines ...string) error {
	text, err := s.Ask("STATUS")
	if err != nil {
		return err
	}
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			return fmt.Errorf("no %s in %s", line, text)
		}
	}
	return nil
}

// Address is that of a radio.
func Address(t *testing.T, link string) string {
	t.Helper()
	b, err := os.ReadFile("/sys/class/net/" + link + "/address")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Roam has the station move to a radio.
func (s *Station) Roam(link string) {
	s.t.Helper()
	to := Address(s.t, link)
	servicetest.Eventually(s.t, func() error {
		if s.stays(link) == nil {
			return nil
		}
		scanned := s.does("SCAN", "CTRL-EVENT-SCAN-RESULTS", "") // what it has heard before may be gone
		if err := s.does("ROAM "+to, "CTRL-EVENT-CONNECTED", to); err != nil {
			return errors.Join(scanned, err)
		}
		return s.stays(link)
	})
}

// eventTime is how long a command may take until the supplicant says what has come of it.
const eventTime = 20 * time.Second

// does gives a command, and waits for an event with a text in its detail.
func (s *Station) does(command, name, detail string) error {
	for len(s.events) > 0 { // of before
		<-s.events
	}
	if _, err := s.Ask(command); err != nil {
		return err
	}
	for end := time.After(eventTime); ; {
		select {
		case e := <-s.events:
			if e.Name == name && strings.Contains(e.Detail, detail) {
				return nil
			}
		case <-end:
			return fmt.Errorf("no %s after %s", name, command)
		}
	}
}
