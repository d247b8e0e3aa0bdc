// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/explain"
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

// TestMonitor: dropped packets are told with the rule, also of a ruleset that comes
// later, and what is too much is counted.
func TestMonitor(t *testing.T) {
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	sending, stop := context.WithTimeout(t.Context(), time.Minute)
	sent := make(chan error, 1)
	go func() {
		sent <- h.comeIn(sending, "udp 192.0.2.2:1 > 192.0.2.1:7 payload 0102", "tcp 192.0.2.2:1000 > 192.0.2.1:22 syn")
	}()
	defer func() {
		stop()
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}()
	// await watches until a packet is as it has to be.
	await := func(what string, rate uint32, is func(api.Watched) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		found := false
		var last api.Watched
		err := h.client().Watch(ctx, rate, nil, func(w api.Watched) error {
			if len(w.Data) > 38 && w.Data[14+9] == 6 {
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
	frame, err := explain.ParsePacket("udp 192.0.2.2:1 > 192.0.2.1:7 payload 0102")
	if err != nil {
		t.Fatal(err)
	}
	ip := frame.Frame(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))[14:]
	await("a drop", 1000, func(w api.Watched) bool {
		return w.Reason == "drop_policy" && w.Rule != nil && w.Rule.Chain == "input" && w.Rule.Text == "policy drop" &&
			w.Interface == "wan0" && !w.Egress && w.Ethernet && len(w.Data) > 14 && bytes.Equal(w.Data[14:], ip) && w.Length == len(w.Data)
	})
	await("too many", 10, func(w api.Watched) bool { return w.Lost > 0 })

	reloaded := false
	await("another ruleset", 1000, func(w api.Watched) bool {
		if !reloaded {
			reloaded = true
			h.write("firewall.nft", strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport 22 accept\n\t\tudp dport 7 drop", 1))
			if _, err := h.client().Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return w.Rule != nil && w.Rule.Text == "udp dport 7 drop"
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
