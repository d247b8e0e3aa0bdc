// SPDX-License-Identifier: GPL-2.0-only

package kea_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/kea"
)

func TestMain(m *testing.M) { ownns.Main(m) }

// lan is a router with Kea on a link, and a client at its other end.
type lan struct {
	*servicetest.Host
	t      *testing.T
	client func(...string) []string
	kea4   string
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	servicetest.Need(t, "kea-dhcp4", "udhcpc")
	l := &lan{t: t, kea4: servicetest.Program(t, "kea-dhcp4")}
	l.client = servicetest.Neighbour(t, "kea", "br0", "eth0")
	servicetest.Run(t, "ip", "addr", "add", "192.168.1.1/24", "dev", "br0")
	l.Host = servicetest.NewHost(t, kea.New(4))
	return l
}

// config declares the server, with more of its keys.
func (l *lan) config(more string) string {
	return fmt.Sprintf(`
network: {lan: {interface: br0, addresses: [192.168.1.1/24], domain: home.arpa}}
services:
  kea_dhcp4:
    mode: child
    binary: %s
    lease_file: %s
    lifetime: 60s
%s`, l.kea4, l.leaseFile(), more)
}

func (l *lan) leaseFile() string { return filepath.Join(l.Dir, "kea", "leases4.csv") }

func (l *lan) socket() string { return filepath.Join(l.Run, "kea-dhcp4", "run", "control") }

// clientScript says what the client was told, and changes nothing.
const clientScript = `#!/bin/sh
echo "$1 $ip router=$router dns=$dns domain=$domain" >>%s
`

// dhcpClient is a client that asks when it is told to.
type dhcpClient struct {
	t   *testing.T
	log string
	cmd *exec.Cmd
}

func (l *lan) ask() *dhcpClient {
	l.t.Helper()
	dir := servicetest.Dir(l.t)
	c := &dhcpClient{t: l.t, log: filepath.Join(dir, "log")}
	script := filepath.Join(dir, "script")
	err := errors.Join(os.WriteFile(c.log, nil, 0o644), os.WriteFile(script, fmt.Appendf(nil, clientScript, c.log), 0o755))
	if err != nil {
		l.t.Fatal(err)
	}
	argv := l.client("udhcpc", "-f", "-i", "eth0", "-s", script, "-x", "hostname:laptop", "-t", "100", "-T", "1")
	c.cmd = exec.Command(argv[0], argv[1:]...)
	if err := c.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // may have ended
		_ = c.cmd.Wait()
	})
	return c
}

// events are what it was told.
func (c *dhcpClient) events() []string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// bound waits for its first lease.
func (c *dhcpClient) bound(want string) {
	c.t.Helper()
	servicetest.Eventually(c.t, func() error {
		if count(c.events(), "bound "+want) == 0 {
			return fmt.Errorf("not bound to %s: %q", want, c.events())
		}
		return nil
	})
}

// renew has it renew its lease, and waits for what it is told then.
func (c *dhcpClient) renew(want string) {
	c.t.Helper()
	n := count(c.events(), "renew "+want)
	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		c.t.Fatal(err)
	}
	servicetest.Eventually(c.t, func() error {
		if count(c.events(), "renew "+want) == n {
			return fmt.Errorf("not renewed as %s: %q", want, c.events())
		}
		return nil
	})
}

// count is how often the client was told something.
func count(events []string, prefix string) (n int) {
	for _, e := range events {
		if strings.HasPrefix(e, prefix) {
			n++
		}
	}
	return n
}

// hook is the path of the library that tells leases; empty if it is not installed.
func hook() string {
	list, _ := filepath.Glob("/usr/lib/*/kea/hooks/libdhcp_lease_cmds.so")
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

const pool = "    pools: [192.168.1.100-192.168.1.200]\n"

// TestLease: a client gets an address and what the LAN says of itself, keeps it over a reload and a
// death of the server, and is listed.
func TestLease(t *testing.T) {
	l := newLAN(t)
	l.Must(l.config(pool))
	client := l.ask()
	client.bound("192.168.1.100 router=192.168.1.1 dns=192.168.1.1 domain=home.arpa")
	l.listed("laptop")

	before := l.Status("kea-dhcp4")
	if before.Error != "" || before.Detail != "1 of 101 addresses" || before.Version == "" {
		t.Errorf("status: %+v", before)
	}
	more := pool
	if path := hook(); path != "" {
		more += "    lease_hook: " + path + "\n"
	}
	more += "    reservations: {nas: {mac: '02:00:5e:10:00:01', address: 192.168.1.10}}\n"
	reloaded := strings.Replace(l.config(pool), "domain: home.arpa", "domain: lan.home.arpa", 1)
	l.Must(reloaded)
	after := l.Status("kea-dhcp4")
	if after.Error != "" || after.PID != before.PID {
		t.Errorf("after the reload: %+v, before: %+v", after, before)
	}
	client.renew("192.168.1.100 router=192.168.1.1 dns=192.168.1.1 domain=lan.home.arpa")

	l.Must(l.config(more)) // the hook has another environment: a restart
	l.listed("laptop")
	if hook() != "" {
		c := kea.Control{Path: l.socket()}
		list, err := c.Leases(t.Context(), 4)
		if err != nil || len(list) != 1 || list[0].Name != "laptop" {
			t.Errorf("by the hook: %+v %v", list, err)
		}
	}

	pid := l.Status("kea-dhcp4").PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, func() error {
		if s := l.Status("kea-dhcp4"); s.Error != "" || s.PID == pid || s.Restarts == 0 {
			return fmt.Errorf("after SIGKILL: %+v", s)
		}
		return nil
	})
	l.listed("laptop")
	client.renew("192.168.1.100 router=192.168.1.1 dns=192.168.1.1 domain=home.arpa")
}

// listed wants the one lease, both of the file and as l2d reads it.
func (l *lan) listed(name string) {
	l.t.Helper()
	for what, read := range map[string]func() ([]kea.Lease, error){
		"file":   func() ([]kea.Lease, error) { return kea.ReadFile(l.leaseFile()) },
		"leases": func() ([]kea.Lease, error) { return kea.Leases(l.t.Context(), 4, l.socket(), l.leaseFile()) },
	} {
		list, err := read()
		if err != nil || len(list) != 1 {
			l.t.Fatalf("%s: %+v %v", what, list, err)
		}
		e := &list[0]
		if e.Name != name || e.Address() != netip.MustParseAddr("192.168.1.100") || !e.Active(time.Now()) || e.MAC == "" || e.Subnet != 1 {
			l.t.Errorf("%s: %+v", what, e)
		}
		if left := time.Until(e.Expires); left <= 0 || left > time.Minute {
			l.t.Errorf("%s: ends in %v", what, left)
		}
	}
}
