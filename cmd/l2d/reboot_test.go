// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/revision"
)

var rebootsMachine = flag.Bool("l2d.reboots", false, "TestReboot: boot this machine again, which has systemd as its first process and runs the test each time")

// exitReboot has the machine boot again: scripts/vm.
const exitReboot = 123

// bootsFile counts the boots, where only files that are on disk are found again.
const bootsFile = "/var/lib/l2d-test-boots"

// rebooted is a machine whose files differ in a number.
type rebooted struct {
	t *testing.T
	c *api.Client
}

// declare writes the files with a number.
func (r *rebooted) declare(n int) {
	r.t.Helper()
	for path, text := range map[string]string{
		"/etc/l2d/firewall.nft": strings.Replace(ruleset, "dport 22", fmt.Sprint("dport ", n), 1),
		config.DefaultPath: fmt.Sprintf(`dataplane: { ruleset: firewall.nft, interfaces: [{ name: br0, xdp: "off" }] }
host:
  sysctl: { net.ipv4.tcp_fin_timeout: %d }
  links:
    keep0: { kind: dummy }
    br0: { kind: bridge, members: [keep0], addresses: [192.168.1.%[1]d/24] }
  nics: { keep0: { mtu: %d } }
network: { lan: { interface: br0 } }
services: { kea_dhcp4: { user: nobody, pools: ["192.168.1.100-192.168.1.%d"] } }
`, n, 1400+n, 100+n),
	} {
		if err := durable.WriteFile(path, []byte(text)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// runs wants what was declared with a number in force: of the ruleset, the host and the service.
func (r *rebooted) runs(n int) {
	r.t.Helper()
	servicetest.Eventually(r.t, func() error { // the service starts behind the rest
		list, err := r.c.Services(r.t.Context())
		if err == nil && (len(list) != 1 || list[0].Error != "") {
			err = fmt.Errorf("services %+v", list)
		}
		return err
	})
	rules, err := r.c.Rules(r.t.Context())
	if err != nil || !strings.Contains(rules.Text, fmt.Sprintf("tcp dport %d accept", n)) {
		r.t.Errorf("not port %d, %v:\n%s", n, err, rules.Text)
	}
	for path, want := range map[string]int{"/proc/sys/net/ipv4/tcp_fin_timeout": n, "/sys/class/net/keep0/mtu": 1400 + n} {
		if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != fmt.Sprint(want) {
			r.t.Errorf("%s is %q, not %d: %v", path, b, want, err)
		}
	}
	if got := servicetest.Run(r.t, "ip", "-o", "-4", "address", "show", "dev", "br0"); strings.Count(got, "inet ") != 1 || !strings.Contains(got, fmt.Sprintf("192.168.1.%d/24", n)) {
		r.t.Errorf("addresses are %s", got)
	}
	shown, err := r.c.ServiceConfig(r.t.Context(), "kea-dhcp4")
	if text := fmt.Sprint(shown); err != nil || !strings.Contains(text, fmt.Sprint("192.168.1.", 100+n)) {
		r.t.Errorf("%v: %s", err, text)
	}
}

// apply puts the files in force.
func (r *rebooted) apply(o api.HostOptions) {
	r.t.Helper()
	if a, err := r.c.HostApply(r.t.Context(), o); err != nil || (a.Pending == nil) != (o.Confirm == 0) {
		r.t.Fatalf("%+v, %v", a, err)
	}
}

// booted wants what a boot begins with, and what became of the latest change.
func (r *rebooted) booted(n int) {
	r.t.Helper()
	r.runs(n)
	var s api.Status
	servicetest.Eventually(r.t, func() (err error) { // the service is well a moment before its start is final
		if s, err = r.c.Status(r.t.Context()); err == nil && s.Host.Progress != nil {
			err = fmt.Errorf("%+v", s.Host.Progress)
		}
		return err
	})
	if s.Host.Pending != nil || s.Host.Error != "" || !strings.Contains(s.Host.Notice, "(undone)") {
		r.t.Errorf("%+v", s.Host)
	}
	list, err := r.c.HostRevisions(r.t.Context())
	if err != nil || list[0].Fate != revision.Undone {
		r.t.Errorf("%+v, %v", list, err)
	}
	if _, err := os.Stat(filepath.Join(config.DefaultStateDir, "pending.json")); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("what was pending is kept: %v", err)
	}
}

// cut ends the machine at once, whatever runs. Its file system has no journal, and would not be whole else.
func (r *rebooted) cut() {
	r.t.Helper()
	unix.Sync()
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0); err != nil {
		r.t.Fatal(err)
	}
	select {}
}

// install has systemd start l2d with each boot from now on, and starts it.
func (r *rebooted) install() {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	const units = "/etc/systemd/system/"
	copyFile(r.t, self, "/usr/sbin/l2d", 0o755)
	copyFile(r.t, "../../scripts/l2d.service", units+"l2d.service", 0o644)
	for path, text := range map[string]string{
		// An emulated machine is slow.
		units + "l2d.service.d/test.conf": "[Service]\nEnvironment=" + asProgram + "=1\nTimeoutStartSec=600\nWatchdogSec=600\n",
		// What a boot is to come to here is the unit of this test.
		units + "vm.service.d/test.conf": "[Unit]\nWants=systemd-journald.service l2d.service\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(config.DefaultPath), 0o700); err != nil {
		r.t.Fatal(err)
	}
	servicetest.Run(r.t, "systemctl", "daemon-reload")
	servicetest.Run(r.t, "systemctl", "start", "systemd-journald.service")
	servicetest.Run(r.t, "systemctl", "start", "l2d.service")
	unix.Sync() // what is installed has been for long
}

// TestReboot: a machine boots with what was applied for good last, whatever was in force or waited when it ended: by a
// reboot as an operator has it, by one that nobody was told of, and in the middle of a change.
func TestReboot(t *testing.T) {
	if !*rebootsMachine {
		t.Skip("-l2d.reboots: make test-vm VM=reboot")
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(servicetest.Run(t, "journalctl", "--no-pager", "--lines", "200"))
		}
	})
	r := &rebooted{t, api.NewClient(config.DefaultSocket)}
	boots := r.count()
	t.Logf("boot %d", boots)
	if boots > 1 {
		servicetest.Eventually(t, func() error { _, err := r.c.Status(t.Context()); return err })
	}
	switch boots {
	case 1:
		if err := os.MkdirAll(filepath.Dir(config.DefaultPath), 0o700); err != nil {
			t.Fatal(err)
		}
		r.declare(41)
		r.install()
		r.runs(41)
		r.declare(42)
		r.apply(api.HostOptions{Runtime: true})
		r.runs(42)
		r.declare(43)
		r.apply(api.HostOptions{Confirm: time.Hour})
		r.runs(43)
	case 2:
		r.booted(41)
		r.declare(44)
		r.apply(api.HostOptions{})
		r.runs(44)
		r.declare(45)
		r.apply(api.HostOptions{Confirm: time.Hour})
		r.runs(45)
		r.cut()
	case 3:
		r.booted(44)
		r.declare(46)
		go func() { _, _ = r.c.HostApply(context.Background(), api.HostOptions{Confirm: time.Hour}) }()
		for { // the last one of all
			s, err := r.c.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p := s.Host.Progress; p != nil && strings.HasPrefix(p.What, "service") {
				r.cut()
			}
		}
	default:
		r.booted(44)
		return
	}
	if !t.Failed() {
		os.Exit(exitReboot)
	}
}

// count counts this boot.
func (r *rebooted) count() int {
	r.t.Helper()
	b, err := os.ReadFile(bootsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	boots := len(b) + 1
	if err := durable.WriteFile(bootsFile, []byte(strings.Repeat("x", boots))); err != nil {
		r.t.Fatal(err)
	}
	return boots
}
