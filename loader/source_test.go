// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// TestSourceLimit: one client that begins as many flows as it can has those that
// it may, and others have theirs; what the limit is can change while flows go on,
// and the client has room again when its flows have ended.
func TestSourceLimit(t *testing.T) {
	const first, attempts = 50, 4000
	withNAT(t, func(cfg *Config) {
		cfg.MaxFlowsPerSource, cfg.MaxHalfOpen = first, 4096
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = 3*time.Second, 3*time.Second
	}, func(t *testing.T, n natFixture, f family) {
		limit := uint32(first)
		if f.lan.Is6() {
			limit += 3 // below
		}
		kept := n.router.udp(t, "l", at(f.lan, 6200))
		n.router.echoUDP(t, "w", at(f.wan, 6200))
		goesOn := func() {
			t.Helper()
			if err := exchangeUDP(kept, at(f.wan, 6200), []byte("kept")); err != nil {
				t.Error(err)
			}
		}
		goesOn()
		limited, begun := stat(t, n.d, "drop_source_limit"), stat(t, n.d, "flow_new")
		for i := range uint16(attempts) {
			src, dst := at(f.lanless, 10000+i), at(f.wanless, 80)
			n.lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			if i%1000 == 0 {
				goesOn()
			}
		}
		eventually(t, patience, "all packets", func() bool {
			return stat(t, n.d, "drop_source_limit")-limited+stat(t, n.d, "flow_new")-begun >= attempts
		})
		if got := stat(t, n.d, "flow_new") - begun; got != uint64(limit) {
			t.Errorf("%d flows of one client, not %d", got, limit)
		}
		n.wan.drain()
		// Others.
		for i := range uint16(limit - 1) {
			n.out(at(f.lan2, 6200+i), at(f.wanless, 80))
		}
		goesOn()
		if f.lan.Is6() {
			return // the collector knows no families
		}
		// The limit is another one, at once; the flows go on.
		cfg := n.config(testPolicy{nat: n.rules})
		cfg.MaxFlowsPerSource, cfg.MaxHalfOpen, cfg.Timeouts = limit+3, 4096, flow.DefaultTimeouts()
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = 3*time.Second, 3*time.Second
		n.in("r", func() error { return n.d.Replace(cfg) })
		for i := range uint16(3) {
			n.out(at(f.lanless, 20000+i), at(f.wanless, 80))
		}
		goesOn()
		// When they have ended, the collector says so.
		for end := time.Now().Add(25 * time.Second); ; time.Sleep(time.Second) {
			goesOn()
			begun := stat(t, n.d, "flow_new")
			src, dst := at(f.lanless, 20100), at(f.wanless, 80)
			n.lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			time.Sleep(50 * time.Millisecond)
			if stat(t, n.d, "flow_new") > begun {
				break
			}
			if time.Now().After(end) {
				t.Fatal("flows that have ended still count")
			}
		}
		s, err := n.d.Status()
		if err != nil || s.Flows.Sources == 0 || s.Flows.MaxPerSource != limit+3 {
			t.Errorf("status %+v, %v", s.Flows, err)
		}
	})
}

// TestSourceOfNoFlow: what ends before it has left counts for nobody.
func TestSourceOfNoFlow(t *testing.T) {
	const limit = 4
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(compiled(t, `table ip t {
		chain nat {
			type nat hook postrouting priority srcnat
			oifname "wan0" masquerade
		}
		chain late {
			type filter hook postrouting priority srcnat + 10
			udp dport 9340 drop
		}
	}`))
	cfg.MaxFlowsPerSource = limit
	d := r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	send := func(from, to uint16) {
		src, dst := at(f.lanless, from), at(f.wanless, to)
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
	}
	source := func() uint32 {
		var key l2TCSourceKey
		copy(key.Addr[:], f.lanless.AsSlice())
		key.Nfproto = unix.NFPROTO_IPV4
		var s l2TCSource
		if err := r.stateMap(t, "l2_sources").Lookup(key, &s); err != nil {
			return 0
		}
		return s.Flows
	}
	dropped := stat(t, d, "drop_policy")
	for i := range uint16(2 * limit) {
		send(7000+i, 9340)
	}
	eventually(t, patience, "the packets are dropped", func() bool { return stat(t, d, "drop_policy")-dropped == 2*limit })
	if n := stat(t, d, "drop_source_limit"); n != 0 {
		t.Errorf("%d dropped by the limit", n)
	}
	if n := source(); n != 0 {
		t.Errorf("the source has %d flows, not 0", n)
	}
	send(7100, 9341)
	wan.receive("packet", func(p packet) bool { return p.dst == at(f.wanless, 9341) })
	if n := source(); n != 1 {
		t.Errorf("the source has %d flows, not 1", n)
	}
	// Less than none, as a collection leaves it that meets several packets that are refused.
	m := r.stateMap(t, "l2_sources")
	var key l2TCSourceKey
	copy(key.Addr[:], f.lanless.AsSlice())
	key.Nfproto = unix.NFPROTO_IPV4
	if err := m.Put(key, l2TCSource{Flows: 1<<32 - 2}); err != nil {
		t.Fatal(err)
	}
	send(7101, 9341)
	wan.receive("packet of a source that has less than none", func(p packet) bool {
		return p.dst == at(f.wanless, 9341) && bytes.HasPrefix(p.l4, []byte{7101 >> 8, 7101 & 0xff})
	})
}
