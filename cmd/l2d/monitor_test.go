// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/explain"
	"github.com/randomizedcoder/l2d/pkg/flow"
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
var onlyTCP = loader.MonitorFilter{Ethernet: []bpf.RawInstruction{{Op: 0x30, K: 14 + 9}, {Op: 0x15, Jt: 0, Jf: 1, K: 6}, {Op: 6, K: 1}, {Op: 6}}}

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
