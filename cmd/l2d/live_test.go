// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// kernelRuleset drops what the host sends to port 7777 and to the sets.
const kernelRuleset = `table inet filter {
	set ports {
		type inet_service
		elements = { 7001 }
	}
	set ranges {
		type inet_service
		flags interval
		elements = { 7100-7199 }
	}
	set bans {
		type ipv4_addr . inet_service
		flags timeout
	}
	map verdicts {
		type inet_service : verdict
		elements = { 7301 : drop }
	}
	set seen {
		type inet_service
		flags dynamic, timeout
		timeout 1h
	}
	chain output {
		type filter hook output priority 0; policy accept;
		udp dport 7777 counter drop
		oifname "late*" drop
		udp dport @ports drop
		udp dport @ranges drop
		ip daddr . udp dport @bans drop
		udp dport vmap @verdicts
		udp dport 8000-8099 add @seen { udp dport }
	}
}
`

// newLiveHost is a host whose ruleset is the kernel's.
func newLiveHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.write("l2d.yaml", strings.Replace(h.config(), "ruleset: firewall.nft", "ruleset: kernel", 1))
	h.nftFile(kernelRuleset)
	return h
}

func (h *host) nft(args ...string) string {
	h.t.Helper()
	out, err := h.command("nft", args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

// nftFile runs commands as one transaction.
func (h *host) nftFile(commands string) {
	h.t.Helper()
	cmd := h.command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("nft -f: %v: %s\n%s", err, out, commands)
	}
}

// probe sends datagrams from the host and sees which of them arrive at far0,
// the other end of wan0.
type probe struct {
	do   chan func()
	send net.PacketConn
	raw  int
}

// newProbe works in the namespace of h, in a thread of its own.
func (h *host) newProbe() *probe {
	h.t.Helper()
	p := &probe{do: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends in the other namespace.
		runtime.LockOSThread()
		ready <- p.open(h.holder.Process.Pid)
		for f := range p.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		close(p.do)
		p.send.Close()
		unix.Close(p.raw)
	})
	return p
}

func (p *probe) open(pid int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	far, err := net.InterfaceByName("far0")
	if err != nil {
		return err
	}
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	if p.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto)); err != nil {
		return err
	}
	if err := unix.Bind(p.raw, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: far.Index}); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(p.raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		return err
	}
	p.send, err = net.ListenPacket("udp4", "192.0.2.1:0")
	return err
}

// arrives tells whether a datagram to a port arrives within 50 ms.
func (p *probe) arrives(port int) bool {
	done := make(chan bool)
	p.do <- func() {
		token := fmt.Appendf(nil, "probe %d", time.Now().UnixNano())
		// nftables has the kernel tell who sends what it drops.
		_, _ = p.send.WriteTo(token, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: port})
		buf := make([]byte, 2048)
		for {
			n, _, err := unix.Recvfrom(p.raw, buf, 0)
			if err != nil {
				done <- false
				return
			}
			if bytes.Contains(buf[:n], token) {
				done <- true
				return
			}
		}
	}
	return <-done
}

// becomes waits until datagrams to a port arrive, or do not any more, and logs
// how long that took.
func (h *host) becomes(p *probe, port int, arrives bool) {
	h.t.Helper()
	begin := time.Now()
	// One that is lost, or late, is not yet one that is dropped.
	for p.arrives(port) != arrives || !arrives && p.arrives(port) {
		time.Sleep(5 * time.Millisecond)
		if time.Since(begin) > time.Minute {
			h.t.Fatalf("port %d: datagrams arrive: %t; status %+v", port, !arrives, h.status().Sync)
		}
	}
	h.t.Logf("port %d: arrives is %t after %v", port, arrives, time.Since(begin).Round(time.Millisecond))
}

// flood sends to the port that is always to be dropped all the time, and returns
// how many datagrams arrived when the test asks.
func (h *host) flood() (arrived func() int64) {
	h.t.Helper()
	p := h.newProbe()
	var count atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		token := []byte("never to arrive")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = p.send.WriteTo(token, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 7777})
			for {
				n, _, err := unix.Recvfrom(p.raw, buf, unix.MSG_DONTWAIT)
				if err != nil {
					break
				}
				if bytes.Contains(buf[:n], token) {
					count.Add(1)
				}
			}
			time.Sleep(500 * time.Microsecond)
		}
	}()
	h.t.Cleanup(func() {
		close(stop)
		<-done
	})
	return count.Load
}

func (h *host) dormant(table string) bool {
	h.t.Helper()
	return strings.Contains(h.nft("list", "table", "inet", table), "flags dormant")
}

// settles waits for a condition of the daemon.
func (h *host) settles(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("not %s: status %+v, sync %+v\n%s", what, h.status(), h.status().Sync, h.nft("list", "ruleset"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLiveRuleset(t *testing.T) {
	h := newLiveHost(t)
	ctx := t.Context()
	h.nftFile("table inet asleep { flags dormant; chain output { type filter hook output priority 0; udp dport 7900 drop; }\n}\ntable bridge b { chain c { type filter hook forward priority 0; }\n}\n")
	p := h.newProbe()
	arrived := h.flood()
	if p.arrives(7777) || !p.arrives(7900) {
		t.Fatal("the kernel does not filter as it should")
	}
	daemon := h.start()
	h.expect("READY=1")
	if !h.dormant("filter") {
		t.Fatal("the table is awake")
	}
	s := h.status()
	if s.Ruleset != "kernel" || s.Sync == nil || !slices.Equal(s.Sync.Tables, []string{"inet filter"}) || s.Sync.Error != "" {
		t.Errorf("status %+v, %+v", s, s.Sync)
	}
	for port, want := range map[int]bool{7000: true, 7001: false, 7100: false, 7199: false, 7200: true, 7301: false, 7302: true, 7777: false, 7900: true} {
		if p.arrives(port) != want {
			t.Errorf("port %d: arrives: %t", port, !want)
		}
	}
	generation := h.status().Dataplane.Generation

	t.Run("elements", func(t *testing.T) {
		h.nft("add element inet filter ports { 7002, 7003 }")
		h.becomes(p, 7002, false)
		h.nft("delete element inet filter ports { 7002 }")
		h.becomes(p, 7002, true)
		h.nft("add element inet filter ranges { 7250-7260, 7261-7270, 65530-65535 }")
		h.becomes(p, 7265, false)
		h.becomes(p, 65535, false)
		h.nft("delete element inet filter ranges { 7250-7260 }")
		h.becomes(p, 7255, true)
		if p.arrives(7261) || p.arrives(7270) || p.arrives(7150) || !p.arrives(7271) || !p.arrives(7249) {
			t.Error("ranges that did not change are others now")
		}
		h.nft("add element inet filter bans { 192.0.2.2 . 7400 timeout 1s }")
		h.becomes(p, 7400, false)
		h.becomes(p, 7400, true)
		h.nft("add element inet filter bans { 192.0.2.2 . 7400 timeout 1h }")
		h.becomes(p, 7400, false)
		h.nft("add element inet filter verdicts { 7302 : drop }")
		h.becomes(p, 7302, false)
		h.nft("delete element inet filter verdicts { 7302 }")
		h.becomes(p, 7302, true)
		h.nft("flush set inet filter ports")
		h.becomes(p, 7003, true)
		if s := h.status(); s.Dataplane.Generation != generation || s.Sync.ElementChanges == 0 || s.Sync.RulesetChanges != 0 {
			t.Errorf("not in place: %+v, %+v", s.Dataplane, s.Sync)
		}
	})

	t.Run("a burst", func(t *testing.T) {
		for i := range 10 {
			var all []string
			for j := range 100 {
				all = append(all, fmt.Sprint(20000+100*i+j))
			}
			h.nft("add element inet filter ports { " + strings.Join(all, ", ") + " }")
		}
		for _, port := range []int{20000, 20999, 20500} {
			h.becomes(p, port, false)
		}
		list, err := h.client().SetList(ctx, api.SetName{Family: "inet", Table: "filter", Set: "ports"})
		if err != nil || len(list) != 1000 {
			t.Errorf("%d elements, %v", len(list), err)
		}
	})

	seen := func() string {
		t.Helper()
		list, err := h.client().SetList(ctx, api.SetName{Family: "inet", Table: "filter", Set: "seen"})
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, e := range list {
			values = append(values, e.Value)
		}
		return strings.Join(values, ", ")
	}
	t.Run("elements that rules add", func(t *testing.T) {
		h.nft("add element inet filter seen { 8001, 8002 }")
		for _, port := range []int{8002, 8003, 8004} {
			p.arrives(port)
		}
		h.settles("there", func() bool { return seen() == "8001, 8002, 8003, 8004" })
		if list := h.nft("list", "set", "inet", "filter", "seen"); strings.Contains(list, "8003") {
			t.Errorf("nftables has %s", list)
		}
		h.nft("delete element inet filter seen { 8002 }")
		h.settles("gone", func() bool { return seen() == "8001, 8003, 8004" })
		if err := h.client().SetDelete(ctx, api.SetName{Family: "inet", Table: "filter", Set: "seen"}, "8004"); err != nil {
			t.Error(err)
		}
	})

	t.Run("rules", func(t *testing.T) {
		before := h.counted("udp dport 7777")
		h.nftFile("delete element inet filter seen { 8001 }\nadd rule inet filter output udp dport 7501 drop\n")
		h.becomes(p, 7501, false)
		if got := seen(); got != "8003" {
			t.Errorf("the dynamic set has %s", got)
		}
		if now := h.counted("udp dport 7777"); now < before || before == 0 {
			t.Errorf("the counter was %d and is %d", before, now)
		}
		h.nft("add rule inet filter output udp dport 7500 drop")
		h.becomes(p, 7500, false)
		h.settles("listed", func() bool {
			rules, err := h.client().Rules(ctx)
			return err == nil && strings.Contains(rules.Text, "udp dport 7500 drop # packets")
		})
		p.arrives(7500)
		rules, err := h.client().Rules(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(rules.Rules, func(r api.Rule) bool { return r.Text == "udp dport 7500 drop" && r.Handle != 0 && r.Packets > 0 }) {
			t.Errorf("rules %+v", rules.Rules)
		}
		if p.arrives(7400) {
			t.Error("an element with a timeout is lost")
		}
	})

	t.Run("an interface that is not listed", func(t *testing.T) {
		if got := h.attached(); !slices.Equal(got, []string{"br0", "far0", "wan0"}) {
			t.Errorf("attached to %v", got)
		}
		h.ip("link", "add", "new0", "type", "veth", "peer", "name", "new1")
		h.ip("link", "set", "new1", "master", "br0")
		h.settles("attached", func() bool { return slices.Equal(h.attached(), []string{"br0", "far0", "new0", "wan0"}) })
		h.ip("link", "set", "new0", "master", "br0")
		h.settles("with the bridge", func() bool { return slices.Equal(h.attached(), []string{"br0", "far0", "wan0"}) })
		h.ip("link", "del", "new0")
	})

	t.Run("a table that appears, is replaced, and goes", func(t *testing.T) {
		h.nftFile("table inet more { chain output { type filter hook output priority 5; udp dport 7600 drop; }\n}\n")
		h.settles("adopted", func() bool { return h.dormant("more") })
		if p.arrives(7600) {
			t.Error("a new table is not enforced")
		}
		h.nftFile("table inet more\ndelete table inet more\ntable inet more { chain output { type filter hook output priority 5; udp dport 7601 drop; }\n}\n")
		h.becomes(p, 7600, true)
		h.becomes(p, 7601, false)
		h.settles("adopted", func() bool { return h.dormant("more") })
		h.nft("delete table inet more")
		h.becomes(p, 7601, true)
	})

	t.Run("a ruleset that is refused", func(t *testing.T) {
		h.nftFile("table inet odd { chain output { type filter hook output priority 5; socket transparent 1 drop; udp dport 7700 drop; }\n}\n")
		h.settles("refused", func() bool { return strings.Contains(h.status().Sync.Error, "not supported") })
		if p.arrives(7700) || h.dormant("odd") {
			t.Error("what the dataplane refuses the kernel does not enforce")
		}
		h.nft("add element inet filter ports { 7004 }")
		h.becomes(p, 7004, false)
		h.ip("link", "add", "late0", "type", "bridge")
		h.settles("attached", func() bool { return slices.Contains(h.attached(), "late0") })
		if p.arrives(7004) || p.arrives(7400) || h.status().Sync.Error == "" {
			t.Error("not as before")
		}
		h.nft("delete element inet filter ports { 7004 }")
		h.becomes(p, 7004, true)
		h.nft("add element inet filter ports { 7004 }")
		h.nft("delete table inet odd")
		h.settles("in force", func() bool { return h.status().Sync.Error == "" })
		h.becomes(p, 7700, true)
	})

	t.Run("killed", func(t *testing.T) {
		before := h.counted("udp dport 7777")
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		if p.arrives(7777) || p.arrives(7004) {
			t.Error("nothing filters")
		}
		h.nft("delete element inet filter ports { 7004 }")
		h.nft("add element inet filter ports { 7005 }")
		daemon = h.start()
		h.expect("READY=1")
		if !p.arrives(7004) || p.arrives(7005) || p.arrives(7400) {
			t.Error("what changed without the daemon is not in force")
		}
		if got := seen(); got != "8003" {
			t.Errorf("the dynamic set has %s", got)
		}
		if now := h.counted("udp dport 7777"); now < before || before == 0 {
			t.Errorf("the counter was %d and is %d", before, now)
		}
	})

	t.Run("detached", func(t *testing.T) {
		if _, err := h.client().Detach(ctx, true); err != nil {
			t.Fatal(err)
		}
		if h.dormant("filter") || len(h.attached()) != 0 {
			t.Error("the table sleeps, or programs are attached")
		}
		if !h.dormant("asleep") || p.arrives(7005) || !p.arrives(7004) {
			t.Error("the kernel does not filter as it should")
		}
		if list := h.nft("list", "set", "inet", "filter", "seen"); !strings.Contains(list, "8003 timeout") {
			t.Errorf("nftables has %s", list)
		}
		if _, err := h.client().Reload(ctx); err != nil || !h.dormant("filter") {
			t.Errorf("attached again: %v", err)
		}
	})

	t.Run("detached without a daemon", func(t *testing.T) {
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		l2ctl := h.l2ctl()
		if out, err := h.command(l2ctl, "--socket", h.path("run/l2d.sock"), "detach", "--config", h.path("l2d.yaml")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if h.dormant("filter") || len(h.attached()) != 0 || p.arrives(7777) {
			t.Error("the kernel does not filter as it should")
		}
	})
	if n := arrived(); n != 0 {
		t.Errorf("%d datagrams passed that everything drops", n)
	}
}

// counted returns what the rule that begins with a text has counted.
func (h *host) counted(text string) uint64 {
	h.t.Helper()
	rules, err := h.client().Rules(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range rules.Rules {
		if strings.HasPrefix(r.Text, text) {
			return r.Packets
		}
	}
	h.t.Fatalf("no rule %q", text)
	return 0
}

// The daemon is killed wherever it may be; nothing that is to be dropped passes,
// and what it leaves the next one, or l2ctl detach, makes good.
func TestLiveKilled(t *testing.T) {
	h := newLiveHost(t)
	arrived := h.flood()
	p := h.newProbe()
	for i := range 24 {
		daemon := h.start()
		// A start takes some 300 ms.
		time.Sleep(time.Duration(i) * 25 * time.Millisecond)
		if i%3 == 0 {
			h.nftFile("flush ruleset\n" + kernelRuleset)
		}
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		if p.arrives(7001) || !p.arrives(7000) {
			t.Fatalf("killed after %d tries: wrong packets arrive\n%s", i, h.nft("list", "ruleset"))
		}
	}
	// And while it detaches.
	for i := range 6 {
		daemon := h.start()
		h.expect("READY=1")
		answered := make(chan struct{})
		go func() {
			_, _ = h.client().Detach(t.Context(), true)
			close(answered)
		}()
		time.Sleep(time.Duration(i) * 8 * time.Millisecond)
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		<-answered
		if p.arrives(7001) || !p.arrives(7000) {
			t.Fatalf("killed in detach %d: wrong packets arrive\n%s", i, h.nft("list", "ruleset"))
		}
	}
	h.start()
	h.expect("READY=1")
	if !h.dormant("filter") || p.arrives(7001) || !p.arrives(7000) {
		t.Error("not in force")
	}
	if _, err := h.client().Detach(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if h.dormant("filter") || p.arrives(7001) || !p.arrives(7000) {
		t.Error("not with the kernel")
	}
	if n := arrived(); n != 0 {
		t.Errorf("%d datagrams passed that everything drops", n)
	}
}

// What the socket's buffer has no room for is found by reading the ruleset.
func TestLiveOverrun(t *testing.T) {
	h := newLiveHost(t)
	p := h.newProbe()
	daemon := h.start()
	h.expect("READY=1")
	h.settles("listening", func() bool { return shrinkBuffer(t, daemon.Process.Pid) })
	if err := daemon.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range 2000 {
		all = append(all, fmt.Sprintf("10.0.%d.%d . 7800", i>>8, i&255))
	}
	h.nft("add element inet filter bans { " + strings.Join(all, ", ") + " }")
	h.nft("add element inet filter bans { 192.0.2.2 . 7801 }")
	if err := daemon.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	h.becomes(p, 7801, false)
	h.settles("read again", func() bool { return h.status().Sync.Errors > 0 })
	list, err := h.client().SetList(t.Context(), api.SetName{Family: "inet", Table: "filter", Set: "bans"})
	if err != nil || len(list) != len(all)+1 {
		t.Errorf("%d elements, %v", len(list), err)
	}
	h.nft("flush ruleset")
	h.becomes(p, 7801, true)
	h.becomes(p, 7777, true)
}

// shrinkBuffer leaves a daemon almost no room for what nftables reports, once it
// listens.
func shrinkBuffer(t *testing.T, pid int) bool {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	found := false
	for target := range 64 {
		fd, err := unix.PidfdGetfd(pidfd, target, 0)
		if err != nil {
			continue
		}
		const nftables = 1 << (unix.NFNLGRP_NFTABLES - 1)
		p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		groups, err2 := unix.GetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS)
		if err == nil && err2 == nil && p == unix.NETLINK_NETFILTER && groups&nftables != 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4096); err != nil {
				t.Error(err)
			}
			found = true
		}
		unix.Close(fd)
	}
	return found
}

// A table that a process owns cannot be changed by others.
func TestLiveOwnedTable(t *testing.T) {
	h := newLiveHost(t)
	owner := h.command("nft", "-i")
	stdin, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = owner.Wait()
	})
	fmt.Fprintln(stdin, "add table inet theirs { flags owner; }; add chain inet theirs output { type filter hook output priority 0; }")
	h.settles("made", func() bool { return strings.Contains(h.nft("list", "tables"), "theirs") })
	daemon := h.start()
	if code := daemon.wait(t); code != exitInput || !strings.Contains(daemon.stderr.String(), "table inet theirs belongs to the process that made it (flags owner)") {
		t.Errorf("exit code %d: %s", code, daemon.stderr.String())
	}
}
