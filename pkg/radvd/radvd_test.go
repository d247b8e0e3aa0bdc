// SPDX-License-Identifier: GPL-2.0-only

package radvd_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/radvd"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

func TestMain(m *testing.M) { ownns.Main(m) }

// lan makes a LAN that has a client behind it.
func lan(t *testing.T) (client func(args ...string) string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("radvd"); err != nil {
		t.Skip("radvd is not installed: scripts/setup.sh test")
	}
	name := fmt.Sprintf("l2d-radvd-%d", os.Getpid())
	run(t, "ip", "netns", "add", name) // also makes /run/netns
	t.Cleanup(func() {
		run(t, "ip", "link", "del", "br0")
		run(t, "ip", "netns", "del", name)
	})
	client = func(args ...string) string { return run(t, append([]string{"ip", "netns", "exec", name}, args...)...) }
	run(t, "ip", "link", "add", "br0", "type", "veth", "peer", "name", "eth0", "netns", name)
	run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.br0.accept_dad=0")
	run(t, "ip", "link", "set", "br0", "up")
	run(t, "ip", "addr", "add", "fd00::1/64", "dev", "br0", "nodad")
	client("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.router_solicitation_interval=1")
	client("ip", "link", "set", "eth0", "up")
	return client
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// eventually waits for a state.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

const head = `
dataplane: {ruleset: x, interfaces: [{name: br0}]}
network: {lan: {interface: br0, addresses: ["fd00::1/64"], domain: home.arpa}}
services:
  radvd:
    user: nobody
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("l2d.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// host is an engine with services.
type host struct {
	t *testing.T
	m *service.Manager
	e *reconcile.Engine
}

func newHost(t *testing.T) *host {
	t.Helper()
	// Not in /tmp: a unit of systemd has one of its own.
	dir, err := os.MkdirTemp("/run", "l2d-radvd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // not all services are root
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	m := service.New([]service.Daemon{radvd.New()}, service.Dirs{Run: dir + "/run"}, dir+"/state", log)
	h := &host{t, m, reconcile.New(dir+"/engine", log, m)}
	t.Cleanup(func() {
		if err := h.apply(parse(t, "dataplane: {ruleset: x, interfaces: [{name: br0}]}")); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) apply(c *config.Config) error {
	list, err := h.m.Declare(c)
	if err != nil {
		return err
	}
	p, err := h.e.Plan(context.Background(), list)
	if err != nil {
		return err
	}
	_, err = h.e.Apply(context.Background(), p, reconcile.Options{})
	return err
}

// TestSLAAC: a client gets an address of the LAN's prefix from the real daemon, and that of a
// prefix which is added while it runs; the process stays the same.
func TestSLAAC(t *testing.T) {
	client := lan(t)
	h := newHost(t)
	if err := h.apply(parse(t, head)); err != nil {
		t.Fatal(err)
	}
	has := func(prefix string) func() bool {
		return func() bool { return strings.Contains(client("ip", "-6", "addr", "show", "dev", "eth0"), " "+prefix) }
	}
	eventually(t, "no address of fd00::/64", has("fd00::"))
	before := h.m.Statuses(t.Context())[0]
	if err := h.apply(parse(t, head+"    prefixes: ['fd01::/64']\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no address of fd01::/64", has("fd01:"))
	after := h.m.Statuses(t.Context())[0]
	if after.Error != "" || after.PID != before.PID {
		t.Errorf("%+v, and before the reload %+v", after, before)
	}
}

// TestTentative: the daemon begins when it has an address to send by.
func TestTentative(t *testing.T) {
	lan(t)
	dir := servicetest.Dir(t)
	program, found := filepath.Join(dir, "radvd"), filepath.Join(dir, "found")
	text := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -c '*) ;; *) ip -6 -o addr show dev br0 >%s;; esac\nexec %s \"$@\"\n", found, servicetest.Program(t, "radvd"))
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // the daemon is not root
		t.Fatal(err)
	}
	h := newHost(t)
	again := func() {
		run(t, "sysctl", "-qw", "net.ipv6.conf.br0.accept_dad=1", "net.ipv6.conf.br0.dad_transmits=2")
		run(t, "ip", "link", "set", "br0", "down")
		run(t, "ip", "link", "set", "br0", "up")
		if out := run(t, "ip", "-6", "-o", "addr", "show", "dev", "br0", "tentative"); !strings.Contains(out, " fe80:") {
			t.Fatalf("the address is not looked for: %q", out)
		}
	}
	for what, begin := range map[string]func() error{
		"start":   func() error { return h.apply(parse(t, head+"    binary: "+program+"\n")) },
		"restart": func() error { return h.m.Restart(t.Context(), "radvd") },
	} {
		if what == "restart" {
			must(t, h.apply(parse(t, head+"    binary: "+program+"\n")))
		}
		again()
		must(t, begin())
		b, err := os.ReadFile(found)
		if err != nil || !strings.Contains(string(b), " fe80:") || strings.Contains(string(b), "tentative") {
			t.Errorf("at its %s it finds %s %v", what, b, err)
		}
		must(t, h.apply(parse(t, "dataplane: {ruleset: x, interfaces: [{name: br0}]}")))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDelegated: a prefix that is delegated is announced when the host is compared with what is declared,
// and the one before it as not to be used any more.
func TestDelegated(t *testing.T) {
	client := lan(t)
	h := newHost(t)
	c := parse(t, head+"    delegated: true\n")
	if err := h.apply(c); err != nil {
		t.Fatal(err)
	}
	drift := func() {
		declared := func() ([]reconcile.Resource, error) { return h.m.Declare(c) }
		if left, err := h.e.Drift(t.Context(), declared); err != nil || len(left) != 0 {
			t.Fatalf("%+v, %v", left, err)
		}
	}
	address := func(prefix, flag string) func() bool {
		return func() bool {
			for l := range strings.Lines(client("ip", "-6", "-o", "addr", "show", "dev", "eth0")) {
				if strings.Contains(l, " "+prefix) && strings.Contains(l, "deprecated") == (flag == "deprecated") {
					return true
				}
			}
			return false
		}
	}
	run(t, "ip", "addr", "add", "2001:db8:1::1/64", "dev", "br0", "nodad")
	drift()
	eventually(t, "no address of the delegated prefix", address("2001:db8:1:", ""))
	run(t, "ip", "addr", "del", "2001:db8:1::1/64", "dev", "br0")
	run(t, "ip", "addr", "add", "2001:db8:2::1/64", "dev", "br0", "nodad")
	drift()
	eventually(t, "no address of the prefix after it", address("2001:db8:2:", ""))
	eventually(t, "the address of the prefix before it is still preferred", address("2001:db8:1:", "deprecated"))
}
