// SPDX-License-Identifier: GPL-2.0-only

package hostapd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long something that is to happen may take.
const limit = 20 * time.Second

// ns gives the test a network namespace of its own.
func ns(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// process starts a program that runs until the test ends, or stop is called.
func process(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s says\n%s", args[0], text)
		}
	})
	t.Cleanup(stop)
	return stop
}

func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOwnDirectory: the client's directory is its own, and what that is in, where other services have files, is not.
func TestOwnDirectory(t *testing.T) {
	all := filepath.Join(t.TempDir(), "services")
	own := filepath.Join(all, "clients")
	c := Dial(filepath.Join(all, "control"), "wlan0", own)
	if err := c.Ping(t.Context()); err == nil {
		t.Error("nobody answers")
	}
	for dir, want := range map[string]os.FileMode{all: 0o755, own: 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, not %v", dir, info.Mode(), err, want)
		}
	}
}

// await tries until there is no error.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// dial opens the control interface of a hostapd that was just started.
func dial(t *testing.T, dir, link string) *Control {
	t.Helper()
	c := Dial(dir, link, t.TempDir())
	t.Cleanup(func() { _ = c.Close() })
	await(t, "control interface", func() error { return c.Ping(t.Context()) })
	return c
}

// TestControl: commands and answers of a real hostapd, which has no radio.
func TestControl(t *testing.T) {
	ns(t)
	dir := t.TempDir()
	conf := file(t, dir, "conf", "interface=lo\ndriver=none\nssid=a net\nctrl_interface="+dir+"/ctl\nhw_mode=g\nchannel=6\nwmm_enabled=1\n")
	stop := process(t, "hostapd", conf)
	c := dial(t, dir+"/ctl", "lo")
	ctx := t.Context()
	await(t, "the access point", func() error {
		s, err := c.Status(ctx)
		if err == nil && (s.State != StateEnabled || s.SSID != "a net" || s.Channel != 6 || s.Interface != "lo") {
			err = errors.New(s.State)
		}
		return err
	})
	if list, err := c.Stations(ctx); len(list) != 0 || err != nil {
		t.Errorf("stations: %v, %v", list, err)
	}
	if err := errors.Join(c.Set(ctx, "wmm_ac_be_txop_limit", "33"), c.UpdateBeacon(ctx)); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		c.Set(ctx, "wmm_ac_be_cwmin", "16"), c.Set(ctx, "wmm_ac_be_aifs", "0"), c.do(ctx, "NONSENSE secret"),
		c.SwitchChannel(ctx, Channel{Band2, 1, 20}),
	} {
		if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "secret") {
			t.Errorf("not refused: %v", err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Ask(gone, "STATUS"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for range 3 {
		if err := c.Ping(ctx); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := c.Ping(ctx); err == nil {
		t.Error("a hostapd that is gone has answered")
	}
	process(t, "hostapd", conf)
	await(t, "another hostapd", func() error { return c.Ping(ctx) })
}

// TestSilent: a hostapd that does not answer is not waited for without end.
func TestSilent(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "wlan0"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Dial(dir, "wlan0", dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ask(ctx, "STATUS"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	// An answer that comes late is not that of the next command.
	go func() {
		buf := make([]byte, 100)
		for _, answer := range []string{"late\n", "PONG\n"} {
			if _, from, err := l.ReadFromUnix(buf); err == nil {
				_, _ = l.WriteToUnix([]byte(answer), from) // the first one is gone
			}
		}
	}()
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(dir + "/hostapd-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestStations: a station that authenticates at a real hostapd, by 802.1X and a wire, is told of
// by events and in the table; also after hostapd has been started again.
func TestStations(t *testing.T) {
	ns(t)
	dir := t.TempDir()
	run(t, "ip", "link", "add", "ap0", "type", "veth", "peer", "name", "sta0")
	run(t, "ip", "link", "set", "ap0", "up")
	run(t, "ip", "link", "set", "sta0", "address", "02:00:00:00:00:17", "up")
	users := file(t, dir, "users", "\"user\" MD5 \"password\"\n")
	conf := file(t, dir, "conf", "interface=ap0\ndriver=wired\nctrl_interface="+dir+"/ctl\nieee8021x=1\neap_server=1\nuse_pae_group_addr=1\neap_user_file="+users+"\n")
	stop := process(t, "hostapd", conf)
	events, connected := make(chan Event, 100), make(chan bool, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		defer close(ended)
		Listen(ctx, dir+"/ctl", "ap0", dir, func() { connected <- true }, func(e Event) { events <- e })
	}()
	defer func() {
		cancel()
		<-ended
	}()
	wait := func(name string) Event {
		t.Helper()
		for end := time.After(limit); ; {
			select {
			case e := <-events:
				if e.Name == name {
					return e
				}
			case <-end:
				t.Fatalf("no %s", name)
			}
		}
	}
	attached := func() {
		t.Helper()
		select {
		case <-connected:
		case <-time.After(limit):
			t.Fatal("it does not listen")
		}
	}
	attached()
	supplicant := []string{"wpa_supplicant", "-Dwired", "-ista0", "-c",
		file(t, dir, "supplicant", "ap_scan=0\nnetwork={\nkey_mgmt=IEEE8021X\neap=MD5\nidentity=\"user\"\npassword=\"password\"\neapol_flags=0\n}\n")}
	leave := process(t, supplicant...)
	if e := wait(StationConnected); e.MAC != "02:00:00:00:00:17" || e.Interface != "ap0" {
		t.Errorf("%+v", e)
	}
	c := dial(t, dir+"/ctl", "ap0")
	list, err := c.Stations(t.Context())
	if err != nil || len(list) != 1 || list[0].MAC != "02:00:00:00:00:17" || !strings.Contains(strings.Join(list[0].Flags, " "), "AUTHORIZED") {
		t.Errorf("%+v, %v", list, err)
	}
	if s, err := c.Status(t.Context()); s.Stations != 1 || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
	run(t, "ip", "neigh", "add", "192.0.2.7", "lladdr", "02:00:00:00:00:17", "dev", "ap0", "nud", "permanent")
	reports := Survey(t.Context(), []Endpoint{{"ap0", dir + "/ctl", dir}, {"gone", dir + "/ctl", dir}})
	if len(reports) != 2 || reports[0].Error != "" || len(reports[0].Stations) != 1 || reports[0].State != StateEnabled || reports[1].Error == "" {
		t.Fatalf("%+v", reports)
	}
	if s := reports[0].Stations[0]; s.MAC != "02:00:00:00:00:17" || !s.Authorized || fmt.Sprint(s.Addresses) != "[192.0.2.7]" {
		t.Errorf("%+v", s)
	}
	stop()
	leave()
	process(t, "hostapd", conf)
	attached()
	process(t, supplicant...)
	wait(StationConnected)
}
