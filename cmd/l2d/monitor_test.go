// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/explain"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// comeIn has packets come in by wan0, until ctx ends.
func (h *host) comeIn(ctx context.Context, packets ...string) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		errs <- sendFrames(ctx, h.holder.Process.Pid, packets)
	}()
	return <-errs
}

func sendFrames(ctx context.Context, pid int, packets []string) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return err
	}
	wan, err := netlink.LinkByName("wan0")
	if err != nil {
		return err
	}
	far, err := netlink.LinkByName("far0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for ctx.Err() == nil {
		for _, text := range packets {
			p, err := explain.ParsePacket(text)
			if err != nil {
				return err
			}
			frame := p.Frame(wan.Attrs().HardwareAddr, net.HardwareAddr{2, 0, 0, 0, 0, 2})
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: far.Attrs().Index}); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// watching runs a daemon, to which packets come that it drops and that it accepts. The
// function that is returned watches until something is as it has to be.
func watching(t *testing.T) (*host, func(what string, o api.WatchOptions, ready func(), is func(api.Watched) bool)) {
	t.Helper()
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	sending, stop := context.WithTimeout(t.Context(), time.Minute)
	sent := make(chan error, 1)
	go func() {
		sent <- h.comeIn(sending, "udp 192.0.2.2:1 > 192.0.2.1:7 payload 0102", "tcp 192.0.2.2:1000 > 192.0.2.1:22 syn")
	}()
	t.Cleanup(func() {
		stop()
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
	return h, func(what string, o api.WatchOptions, ready func(), is func(api.Watched) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		found := false
		var last api.Watched
		err := h.client().Watch(ctx, o, ready, func(w api.Watched) error {
			if w.Kind == api.WatchDrops && w.Packet == nil {
				if !strings.Contains(w.Text, "what XDP drops is not shown: this kernel forbids") {
					t.Errorf("%s: %+v", what, w)
				}
				return nil
			}
			if w.Kind == api.WatchDrops && len(w.Packet.Data) > 38 && w.Packet.Data[14+9] == 6 {
				t.Errorf("%s: told of a packet that is accepted: %+v", what, w)
			}
			if last = w; is(w) {
				found = true
				cancel()
			}
			return nil
		})
		if !found {
			t.Errorf("%s: none such; the last one: %+v, %v", what, last, err)
		}
	}
}

// TestMonitor: dropped packets are told with the rule, also of a ruleset that comes
// later, and what is too much is counted; flows and changes of sets are told, too.
func TestMonitor(t *testing.T) {
	h, await := watching(t)
	frame, err := explain.ParsePacket("udp 192.0.2.2:1 > 192.0.2.1:7 payload 0102")
	if err != nil {
		t.Fatal(err)
	}
	ip := frame.Frame(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))[14:]
	drops := api.WatchOptions{Kinds: []string{api.WatchDrops}, Rate: 1000}
	await("a drop", drops, nil, func(w api.Watched) bool {
		p := w.Packet
		return p.Reason == "drop_policy" && p.Rule != nil && p.Rule.Chain == "input" && p.Rule.Text == "policy drop" &&
			p.Interface == "wan0" && !p.Egress && p.Ethernet && len(p.Data) > 14 && bytes.Equal(p.Data[14:], ip) && p.Length == len(p.Data)
	})
	await("too many", api.WatchOptions{Kinds: drops.Kinds, Rate: 10}, nil, func(w api.Watched) bool { return w.Lost > 0 })

	reloaded := false
	all := api.WatchOptions{Kinds: slices.DeleteFunc(slices.Clone(api.WatchKinds), func(k string) bool { return k == api.WatchPassed }), Rate: 1000, Filter: onlyTCP}
	await("a flow", all, nil, func(w api.Watched) bool {
		return w.Kind == api.WatchFlows && w.Flow != nil && w.Flow.Kind == flow.KindNew
	})
	name := api.SetName{Family: "inet", Table: "filter", Set: "s"}
	await("a set", all, func() {
		if err := h.client().SetAdd(t.Context(), name, "192.0.2.9", 0); err != nil {
			t.Error(err)
		}
	}, func(w api.Watched) bool {
		return w.Kind == api.WatchSets && w.Text == "add element inet filter s { 192.0.2.9 }"
	})

	await("another ruleset", drops, nil, func(w api.Watched) bool {
		if !reloaded {
			reloaded = true
			h.write("firewall.nft", strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport 22 accept\n\t\tudp dport 7 drop", 1))
			if _, err := h.client().Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return w.Packet.Rule != nil && w.Packet.Rule.Text == "udp dport 7 drop"
	})
}

// onlyTCP selects frames of TCP over IPv4.
var onlyTCP = loader.MonitorFilter{Ethernet: protocolTCP(14 + 9), IP: protocolTCP(9)}

// protocolTCP selects frames whose protocol, at an offset, is TCP.
func protocolTCP(at uint32) []bpf.RawInstruction {
	return []bpf.RawInstruction{{Op: 0x30, K: at}, {Op: 0x15, Jt: 0, Jf: 1, K: 6}, {Op: 6, K: 1}, {Op: 6}}
}

// TestMonitorPassed: packets are told that are let through, if the filter selects them.
func TestMonitorPassed(t *testing.T) {
	h, await := watching(t)
	o := api.WatchOptions{Kinds: []string{api.WatchPassed}, Rate: 1000, Filter: onlyTCP}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := h.client().Watch(ctx, o, cancel, func(api.Watched) error { return nil })
	if err != nil && strings.Contains(err.Error(), "this kernel forbids") {
		t.Skip(err) // TestMonitorPassed of the loader runs in a virtual machine
	}
	await("what passes", o, nil, func(w api.Watched) bool {
		if w.Packet != nil && w.Packet.Data[14+9] != 6 {
			t.Errorf("not selected: %+v", w)
		}
		p := w.Packet
		return w.Kind == api.WatchPassed && p.Fate == api.PacketAccepted && p.Interface == "wan0" && !p.Egress && p.Rewritten == nil &&
			len(p.Data) >= 54 && p.Length == len(p.Data)
	})
}

// TestExplain: the daemon explains with its ruleset, and with another file's.
func TestExplain(t *testing.T) {
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	const packet = "iif wan0 tcp 192.0.2.2:1000 > 192.0.2.1:80 syn"
	e, err := h.client().Explain(t.Context(), explain.Request{Packet: packet})
	if err != nil || e.Verdict != explain.Dropped || e.Decided == nil || e.Decided.Text != "policy drop" {
		t.Fatalf("%+v, %v", e, err)
	}
	h.write("next.nft", strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport { 22, 80 } accept", 1))
	e, err = h.client().Explain(t.Context(), explain.Request{Packet: packet, Ruleset: h.path("next.nft")})
	if err != nil || e.Verdict != explain.Delivered {
		t.Fatalf("%+v, %v", e, err)
	}
	// An element that was added is known.
	if err := h.client().SetAdd(t.Context(), api.SetName{Family: "inet", Table: "filter", Set: "s"}, "192.0.2.2", 0); err != nil {
		t.Fatal(err)
	}
	for _, ruleset := range []string{"", h.path("next.nft")} {
		e, err = h.client().Explain(t.Context(), explain.Request{Packet: "iif wan0 tcp 192.0.2.2:1000 > 192.0.2.1:22 syn", Ruleset: ruleset})
		if err != nil || e.Verdict != explain.Dropped || e.Decided == nil || e.Decided.Text != "ip saddr @s drop" {
			t.Errorf("ruleset %q: %+v, %v", ruleset, e, err)
		}
	}
	for _, r := range []explain.Request{{Packet: "iif nosuch0 icmp 192.0.2.2 > 192.0.2.1"}, {Packet: "http"}, {Packet: packet, Ruleset: h.path("none.nft")}} {
		if _, err := h.client().Explain(t.Context(), r); !api.IsBadInput(err) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// kindOf watches events of a kind, of which the daemon's host makes one every now and
// then, until one is as it has to be.
func (h *host) kindOf(t *testing.T, kind string, cause func(), is func(api.Watched) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	watched := make(chan struct{})
	var causing sync.WaitGroup
	causing.Go(func() {
		select {
		case <-watched:
		case <-ctx.Done():
		}
		for ctx.Err() == nil {
			cause()
			time.Sleep(100 * time.Millisecond)
		}
	})
	found := false
	var last api.Watched
	err := h.client().Watch(ctx, api.WatchOptions{Kinds: []string{kind}, Rate: 1000}, func() { close(watched) }, func(w api.Watched) error {
		if w.Kind != kind {
			t.Errorf("asked for %s, told of %+v", kind, w)
		}
		if last = w; !found && is(w) {
			found = true
			cancel()
		}
		return nil
	})
	cancel()
	causing.Wait()
	if !found {
		t.Errorf("%s: none such; the last one: %+v, %v", kind, last, err)
	}
}

// TestMonitorLog: what a rule logs is told as the daemon logs it, with the prefix.
func TestMonitorLog(t *testing.T) {
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	h.kindOf(t, api.WatchLog, func() { h.sendTo(t, "9") }, func(w api.Watched) bool {
		return w.Packet == nil && strings.HasPrefix(w.Text, "discarded: IN= OUT=wan0 SRC=192.0.2.1 DST=192.0.2.2 LEN=29 ") && strings.HasSuffix(w.Text, " DPT=9 LEN=9")
	})
}

// TestMonitorNAT: flows that find no port are told with their packet, and those that find
// no room for a mapping are counted.
func TestMonitorNAT(t *testing.T) {
	h := newHost(t)
	h.write("firewall.nft", strings.Replace(natted, "7000-7099", "7000", 1)+ruleset)
	h.start()
	h.expect("READY=1")
	h.kindOf(t, api.WatchNAT, func() { h.sendTo(t, "9") }, func(w api.Watched) bool {
		p := w.Packet
		return p != nil && p.Reason == "drop_nat_exhausted" && p.Fate == api.PacketDropped && p.Egress && p.Interface == "wan0" &&
			len(p.Data) >= 42 && p.Data[14+9] == 17 && bytes.Equal(p.Data[14+16:14+20], []byte{192, 0, 2, 2}) && bytes.Equal(p.Data[36:38], []byte{0, 9})
	})
}

// TestMonitorNTuple: what a rule of ntuple drops is told with the rule, or it is said that
// it is not, where the kernel forbids it.
func TestMonitorNTuple(t *testing.T) {
	h := newHost(t)
	const rules = "\n  ntuple: [{match: {proto: tcp, dport: 22}, action: drop, interfaces: [wan0]}]\ncontrol"
	h.write("l2d.yaml", strings.Replace(h.config(), "\ncontrol", rules, 1))
	h.start()
	h.expect("READY=1")
	h.kindOf(t, api.WatchDrops, func() { h.knock(1000, 1) }, func(w api.Watched) bool {
		if p := w.Packet; p != nil {
			return p.Reason == "drop_steer" && p.NTuple == "tcp4 dport 22 drop" && p.Interface == "wan0" && p.Rule == nil
		}
		return strings.HasPrefix(w.Text, "what XDP drops is not shown: this kernel forbids")
	})
}

// TestMonitorServices: a service that ends and is started again is told of.
func TestMonitorServices(t *testing.T) {
	h := newRadvdHost(t)
	h.write("firewall.nft", solicited)
	h.write("l2d.yaml", h.config()+fmt.Sprintf("network: {lan: {interface: wan0, addresses: [\"192.0.2.1/24\", \"fd07::1/64\"]}}\nservices: {radvd: {mode: child, binary: %q}}\n", servicetest.Program(t, "radvd")))
	h.start()
	h.expect("READY=1")
	defer h.endServices(t)
	statusOf := func() *service.Status {
		list, err := h.client().Services(t.Context())
		if err != nil {
			t.Error(err)
		}
		for i := range list {
			if list[i].Name == "radvd" && list[i].Running && list[i].PID != 0 {
				return &list[i]
			}
		}
		return nil
	}
	servicetest.Eventually(t, func() error {
		if statusOf() == nil {
			return errors.New("radvd does not run")
		}
		return nil
	})
	first := statusOf()
	killed := false
	h.kindOf(t, api.WatchServices, func() {
		time.Sleep(2 * watchInterval) // what it was has been looked at
		if !killed {
			killed = true
			if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}, func(w api.Watched) bool {
		pid, restarts := 0, uint64(0)
		_, err := fmt.Sscanf(w.Text, "radvd: up, process %d, started again %d times", &pid, &restarts)
		return err == nil && pid != first.PID && restarts > first.Restarts
	})
}
