// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// declare writes a configuration that declares sysctls.
func (h *host) declare(sysctls string) {
	h.t.Helper()
	h.write("l2d.yaml", h.config()+fmt.Sprintf("  nics: {wan0: {features: {rx-gro: true, rx-lro: true}}}\n  sysctl:\n%s", sysctls))
}

// sysctl reads one of the namespace's.
func (h *host) sysctl(path string) string {
	h.t.Helper()
	out, err := h.command("cat", "/proc/sys/"+path).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestHost: the daemon brings the host into the declared state when it starts and
// when it is told to, and back if nobody confirms it, also over its death.
func TestHost(t *testing.T) {
	h := newHost(t)
	const first = "    net.ipv4.conf.*.rp_filter: 2\n"
	h.declare(first)
	p := h.start()
	h.expect("READY=1")
	if v := h.sysctl("net/ipv4/conf/wan0/rp_filter"); v != "2" {
		t.Errorf("after the start: rp_filter %s", v)
	}
	c := h.client()
	if plan, err := c.HostPlan(t.Context()); err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], `rx-lro: "on": `) {
		t.Errorf("a veth without LRO: %+v, %v", plan, err)
	}
	if plan, err := c.HostPlan(t.Context()); err != nil || len(plan.Changes) != 0 || plan.Resources < 4 {
		t.Errorf("%+v, %v", plan, err)
	}

	h.declare(first + "    net.ipv4.ip_froward: 1\n")
	if _, err := c.HostApply(t.Context(), api.HostOptions{}); !api.IsBadInput(err) || !strings.Contains(err.Error(), "l2d.yaml:11:5: sysctl net.ipv4.ip_froward: no such sysctl: want net.ipv4.ip_forward") {
		t.Errorf("a typo: %v", err)
	}

	h.declare(first + "    net.ipv4.ip_forward: 1\n")
	a, err := c.HostApply(t.Context(), api.HostOptions{Confirm: time.Hour})
	if err != nil || a.Pending == nil || len(a.Plan.Changes) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if v := h.sysctl("net/ipv4/ip_forward"); v != "1" {
		t.Errorf("not applied: %s", v)
	}
	if _, err := c.HostApply(t.Context(), api.HostOptions{}); !api.IsBadInput(err) || !strings.Contains(err.Error(), a.Pending.ID) {
		t.Errorf("another one: %v", err)
	}
	restart := func() {
		t.Helper()
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		p = h.start()
		h.expect("READY=1")
	}
	restart()
	s, err := c.Status(t.Context())
	if err != nil || s.Host == nil || s.Host.Pending == nil || s.Host.Pending.ID != a.Pending.ID {
		t.Fatalf("%+v, %v", s.Host, err)
	}
	if err := c.HostRollback(t.Context(), a.Pending.ID); err != nil {
		t.Error(err)
	}
	if v := h.sysctl("net/ipv4/ip_forward"); v != "0" {
		t.Errorf("not undone: %s", v)
	}
	if err := c.HostConfirm(t.Context(), a.Pending.ID); !api.IsBadInput(err) {
		t.Errorf("a confirmation that comes late: %v", err)
	}

	if a, err = c.HostApply(t.Context(), api.HostOptions{Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := c.HostConfirm(t.Context(), a.Pending.ID); err != nil {
		t.Error(err)
	}
	h.declare(first + "    net.ipv4.ip_forward: 0\n")
	if _, err = c.HostApply(t.Context(), api.HostOptions{Confirm: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); h.sysctl("net/ipv4/ip_forward") != "1"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not undone, though nobody confirmed")
		}
	}
	h.settles("undone", func() bool { return strings.Contains(h.status().Host.Error, "is undone: not confirmed in time") })

	// All of that is in the history, and what was in force once can be so again.
	h.declare(first + "    net.ipv4.ip_forward: 0\n")
	if a, err = c.HostApply(t.Context(), api.HostOptions{Comment: "no forwarding"}); err != nil || a.Revision != 5 {
		t.Fatalf("%+v, %v", a, err)
	}
	list, err := c.HostRevisions(t.Context())
	var fates []revision.Fate
	for _, r := range list {
		fates = append(fates, r.Fate)
	}
	if !slices.Equal(fates, []revision.Fate{revision.Applied, revision.Undone, revision.Applied, revision.Undone, revision.Applied}) || list[0].Comment != "no forwarding" || err != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := c.HostApply(t.Context(), api.HostOptions{Revision: 3}); err != nil || h.sysctl("net/ipv4/ip_forward") != "1" {
		t.Errorf("revision 3: %v, ip_forward %s", err, h.sysctl("net/ipv4/ip_forward"))
	}
	// What later ones have changed is as it was before them, also where this one says nothing of it.
	seen := func() string {
		t.Helper()
		out, err := h.command("bash", "-c", "ip -br link | sed 's/@.*//; s/ .*//'; ip link show wan0 | grep -o 'mtu.*qlen'; sysctl net.ipv4.tcp_fin_timeout").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	before := seen()
	h.declare(first + "    net.ipv4.tcp_fin_timeout: 33\n  links: {br8: {kind: bridge, addresses: [198.51.100.1/24]}}\n")
	_, err1 := c.HostApply(t.Context(), api.HostOptions{})
	h.declare(first + "    net.ipv4.tcp_fin_timeout: 34\n  qdiscs: {wan0: pfifo}\n")
	h.write("l2d.yaml", strings.Replace(h.text("l2d.yaml"), "wan0: {features", "wan0: {mtu: 1444, features", 1))
	_, err2 := c.HostApply(t.Context(), api.HostOptions{})
	if now := seen(); err1 != nil || err2 != nil || !strings.Contains(now, "br8") || !strings.Contains(now, "mtu 1444 xdp qdisc pfifo") || !strings.Contains(now, "= 34") {
		t.Fatalf("%v, %v: %s", err1, err2, now)
	}
	if _, err := c.HostApply(t.Context(), api.HostOptions{Revision: 6}); err != nil || seen() != before {
		t.Errorf("%v:\n%s\nnot\n%s", err, seen(), before)
	}
	if _, err := c.HostApply(t.Context(), api.HostOptions{Revision: 8}); err != nil || !strings.Contains(seen(), "mtu 1444 xdp qdisc pfifo") {
		t.Errorf("and back: %v: %s", err, seen())
	}
	if _, err := c.HostApply(t.Context(), api.HostOptions{Revision: 99}); !api.IsBadInput(err) || !strings.Contains(err.Error(), "revision 99 is not kept") {
		t.Errorf("revision 99: %v", err)
	}
}

// TestMadeInterface: an interface that the file has made is one of the dataplane's.
func TestMadeInterface(t *testing.T) {
	h := newHost(t)
	h.write("l2d.yaml", strings.Replace(h.config(), "{name: br0}", "{name: br7, xdp: \"off\"}", 1)+"  links: {br7: {kind: bridge, members: [far0], addresses: [198.51.100.1/24]}}\n  sysctl: {net.ipv4.conf.*.rp_filter: 2}\n")
	h.start()
	h.expect("READY=1")
	if v := h.sysctl("net/ipv4/conf/br7/rp_filter"); v != "2" {
		t.Errorf("what is made is not of the pattern: rp_filter %s", v)
	}
	h.settles("attached", func() bool { return slices.Contains(h.attached(), "br7") })
	if s := h.status(); s.Host.Error != "" || len(s.Host.Drift) != 0 || s.Host.Resources < 8 {
		t.Errorf("%+v", s.Host)
	}
}

// TestDrift: what something else changes is seen, and set again if it is to be.
func TestDrift(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	c, err := config.Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost: {sysctl: {net.ipv4.ip_forward: 1, net.ipv4.tcp_ecn: {value: 1, enforce: true}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{services: service.New(nil, service.Dirs{}, t.TempDir(), slog.New(slog.DiscardHandler))}
	defer d.services.Close()
	d.host.revisions = revision.Open(t.TempDir())
	d.host.engine = reconcile.New(t.TempDir(), slog.New(slog.DiscardHandler), hostkinds.Kinds()...)
	d.host.set(c, 2, nil)
	if err := d.checkDrift(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := d.host.status()
	if len(s.Drift) != 1 || s.Drift[0].Name != "net.ipv4.ip_forward" {
		t.Errorf("%+v", s)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_ecn"); string(b) != "1\n" {
		t.Errorf("not enforced: %q, %v", b, err)
	}
	// An interface that went away is said, and the rest is looked at all the same.
	text := strings.Replace(c.Text, "host: {", "host: {nics: {gone0: {mtu: 1400}}, ", 1)
	gone, err := config.Parse("l2d.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d.host.set(gone, 3, nil)
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_ecn", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.checkDrift(t.Context()); err != nil {
		t.Error(err)
	}
	if s := d.host.status(); len(s.Drift) != 1 || !strings.Contains(s.Error, "l2d.yaml:2:15: mtu gone0: no such interface") {
		t.Errorf("%+v", s)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_ecn"); string(b) != "1\n" {
		t.Errorf("not enforced: %q, %v", b, err)
	}
	d.host.set(c, 2, nil)
	if err := d.checkDrift(t.Context()); err != nil || d.host.status().Error != "" {
		t.Errorf("%v, %+v", err, d.host.status())
	}
	// What is half done is no drift.
	d.host.set(c, 2, nil)
	d.host.one.Lock()
	write := func(path, value string) {
		t.Helper()
		if err := os.WriteFile("/proc/sys/net/ipv4/"+path, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("ip_forward", "0")
	checked := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		checked <- errors.Join(unix.Setns(ns, unix.CLONE_NEWNET), d.checkDrift(t.Context()))
	}()
	select {
	case err := <-checked:
		t.Errorf("the host was looked at while it was changed: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	write("ip_forward", "1")
	d.host.one.Unlock()
	if err := <-checked; err != nil || len(d.host.status().Drift) != 0 {
		t.Errorf("%v, %+v", err, d.host.status().Drift)
	}
	write("ip_forward", "0")
	// What was undone is not enforced.
	d.host.set(c, 2, nil)
	d.host.undone("1", "for a test")
	d.host.undone("1", "for a test")
	write("tcp_ecn", "0")
	if err := d.checkDrift(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_ecn"); string(b) != "0\n" {
		t.Errorf("enforced though it was undone: %q, %v", b, err)
	}
}
