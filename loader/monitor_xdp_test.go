// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyUDP selects frames of UDP over both.
var onlyUDP = []bpf.RawInstruction{
	{Op: 0x28, K: 12}, {Op: 0x15, Jt: 0, Jf: 2, K: 0x86dd}, // IPv6
	{Op: 0x30, K: 14 + 6}, {Op: 0x05, K: 1},
	{Op: 0x30, K: 14 + 9},
	{Op: 0x15, Jt: 0, Jf: 1, K: 17}, {Op: 6, K: 1}, {Op: 6},
}

// TestMonitorXDP: what XDP drops is told, with the reason, the rule and the packet: for a
// rule of ntuple, of a chain that runs early, and of a chain that an established flow
// meets. What TC drops in between has its own reason. Where the kernel forbids it, it is
// said, and TC's drops are told.
func TestMonitorXDP(t *testing.T) {
	r := newRouter(t)
	p := r.compiledFor(`table inet t {
		chain c { type filter hook prerouting priority raw; policy accept;
			udp dport 7000 drop
		}
		chain f { type filter hook forward priority 0; policy accept;
			udp dport 7001 meta length 100 drop
			udp dport 7003 drop
		}
	}
`)
	cfg := r.config(p)
	cfg.Interfaces[0].Rules = rules(t, "udp dport 7002 drop")
	d := r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	var mon *Monitor
	filter := MonitorFilter{Ethernet: onlyUDP}
	r.in("r", func() (err error) {
		mon, err = d.Monitor(MonitorOptions{PerSecond: 100000, Drops: true, Filter: filter})
		return err
	})
	if forbidden := mon.XDPUnseen != nil; forbidden != errors.Is(mon.XDPUnseen, unix.EPERM) || forbidden && *mustTrace {
		t.Fatal(mon.XDPUnseen)
	}
	events := make(chan MonitorEvent, 1024)
	go func() {
		defer close(events)
		for {
			e, err := mon.Read()
			if err != nil {
				if !errors.Is(err, ringbuf.ErrClosed) {
					t.Error(err)
				}
				return
			}
			events <- e
		}
	}()
	inFamilies(t, func(t *testing.T, f family) {
		datagram := func(port uint16, size int, text string) []byte {
			payload := append([]byte(text), make([]byte, size)...)[:size]
			return ipPacket(f.lan, f.wan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), at(f.wan, port), payload))
		}
		headers := len(datagram(0, 0, ""))
		// The flow that XDP has is made first, by both directions.
		for i := range 4 {
			text := fmt.Sprint("begin", i)
			from, to, in, out := at(f.lan, 6001), at(f.wan, 7001), lan, wan
			if i == 1 {
				from, to, in, out = to, from, wan, lan
			}
			in.send(ipPacket(from.Addr(), to.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, to, []byte(text))))
			out.receive(text, func(p packet) bool { return p.proto == unix.IPPROTO_UDP && string(p.l4[8:]) == text })
		}
		if stat(t, d, "xdp_forwarded") == 0 {
			t.Error("XDP has forwarded nothing")
		}
		for i, c := range []struct {
			packet       []byte
			reason, rule string
			xdp          bool
		}{
			{datagram(7000, 60, "early"), "drop_policy", "udp dport 7000 drop", true},
			{datagram(7002, 60, "steered"), "drop_steer", "", true},
			{datagram(7003, 60, "begins nothing"), "drop_policy", "udp dport 7003 drop", false},
			{datagram(7001, 100-headers, "flow"), "drop_policy", "udp dport 7001 meta length 100 drop", true},
			{datagram(7000, 700, "long"), "drop_policy", "udp dport 7000 drop", true},
			{datagram(7003, 60, "begins nothing"), "drop_policy", "udp dport 7003 drop", false},
		} {
			before := stat(t, d, c.reason)
			lan.send(c.packet)
			eventually(t, patience, fmt.Sprintf("the drop of packet %d", i), func() bool { return stat(t, d, c.reason) == before+1 })
			if c.xdp && mon.XDPUnseen != nil {
				continue
			}
			var e MonitorEvent
			select {
			case e = <-events:
			case <-time.After(30 * time.Second):
				t.Fatalf("packet %d: nothing is told", i)
			}
			reason, ok := e.Reason()
			if !ok || reason != c.reason || e.Fate != FateDropped || e.Passed != nil || e.Index != uint32(r.index("lan0")) {
				t.Errorf("packet %d: %q, %v: %+v", i, reason, ok, e)
			}
			if rule := p.Rules[e.Rule].Text; c.rule != "" && rule != c.rule {
				t.Errorf("packet %d: rule %q, want %q", i, rule, c.rule)
			}
			want := c.packet[:min(len(c.packet), monitorData-14)]
			if int(e.Len) != 14+len(c.packet) || !bytes.Equal(e.Data[14:e.DataLen], want) {
				t.Errorf("packet %d: told as %d bytes, %x, want %x", i, e.Len, e.Data[14:e.DataLen], want)
			}
		}
	})
	// An interface that is gone, as far as XDP's redirect knows.
	if err := d.maps["l2_xdp_ports"].Delete(uint32(r.index("wan0"))); err != nil {
		t.Fatal(err)
	}
	f := families[0]
	internal, forwarded := stat(t, d, "drop_internal"), stat(t, d, "xdp_forwarded")
	lan.send(ipPacket(f.lan, f.wan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), at(f.wan, 7001), []byte("nowhere"))))
	eventually(t, patience, "a drop that is counted", func() bool { return stat(t, d, "drop_internal") == internal+1 })
	if n := stat(t, d, "xdp_forwarded") - forwarded; n != 0 {
		t.Errorf("%d packets that are dropped count as forwarded", n)
	}
	if mon.XDPUnseen == nil {
		select {
		case e := <-events:
			if reason, ok := e.Reason(); !ok || reason != "drop_internal" {
				t.Errorf("%q: %+v", reason, e)
			}
		case <-time.After(30 * time.Second):
			t.Error("nothing is told")
		}
	}
	if !mon.Current() {
		t.Error("other programs than those that are watched")
	}
	cfg.Interfaces[0].Rules = nil // a constant of the XDP program
	r.in("r", func() error { return d.Replace(cfg) })
	if mon.Current() {
		t.Error("the programs are not those that are watched")
	}
	if err := mon.Close(); err != nil {
		t.Error(err)
	}
	for e := range events {
		t.Errorf("told of twice, or of something else: %+v", e)
	}
}
