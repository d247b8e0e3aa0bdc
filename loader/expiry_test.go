// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// entries counts what is in a pinned flow table, dead or alive.
func (r *router) entries(t *testing.T, name string) int {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	n := 0
	var key l2TCTuple
	var value l2TCFlow
	it := m.Iterate()
	for it.Next(&key, &value) {
		n++
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestExpiry: each kind of flow dies at its time, and dead flows leave the
// tables without any process of l2d.
func TestExpiry(t *testing.T) {
	t.Parallel()
	// Longer than a slow machine needs to make all flows.
	const short = 10 * time.Second
	r := newRouter(t)
	cfg := r.config(testPolicy{countStates: true})
	cfg.Timeouts = flow.Timeouts{
		TCPSynSent: short, TCPSynRecv: short, TCPEstablished: time.Hour, TCPFinWait: short, TCPCloseWait: short,
		TCPLastAck: short, TCPTimeWait: short, TCPClose: short, TCPUnacknowledged: short,
		TCPRetransmitted: short,
		UDPUnreplied:     short, UDPStream: time.Hour, ICMP: short, Generic: short,
	}
	d := r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	there := func(proto uint8, port uint16, l4 func(src, dst netip.AddrPort) []byte) {
		src, dst := at(f.lanless, port), at(f.wanless, 80)
		lan.send(ipPacket(src.Addr(), dst.Addr(), proto, 64, l4(src, dst)))
		wan.receive("packet", func(p packet) bool { return p.proto == proto })
	}
	syn := func(src, dst netip.AddrPort) []byte { return tcpSegment(src, dst, flagSYN) }
	ack := func(src, dst netip.AddrPort) []byte { return tcpSegment(src, dst, flagACK) }
	udp := func(src, dst netip.AddrPort) []byte { return udpDatagram(src, dst, nil) }
	answer := func(port uint16) {
		src, dst := at(f.wanless, 80), at(f.lanless, port)
		wan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
		lan.receive("answer", func(p packet) bool { return p.dst == dst })
	}
	// One that lives on.
	r.batch("w", "route add default via 198.51.7.1")
	conns := r.streams(t, f, 9100, 1)
	there(unix.IPPROTO_TCP, 6001, syn)
	there(unix.IPPROTO_TCP, 6002, ack)
	there(unix.IPPROTO_UDP, 6003, udp)
	there(unix.IPPROTO_UDP, 6004, udp)
	answer(6004)
	there(unix.IPPROTO_ICMP, 6005, func(src, dst netip.AddrPort) []byte {
		return icmpMessage(src.Addr(), dst.Addr(), 8, 0, 6005<<16, nil)
	})
	there(47, 0, func(netip.AddrPort, netip.AddrPort) []byte { return make([]byte, 8) })
	if n := len(flows(t, d, flow.Filter{})); n != 7 {
		t.Fatalf("%d flows, not 7: %v", n, flows(t, d, flow.Filter{}))
	}
	// An answered UDP flow is a stream after two seconds: it outlives the
	// unreplied one by packets in between.
	for range 7 {
		time.Sleep(short / 5)
		there(unix.IPPROTO_UDP, 6004, udp)
	}
	living := func(port uint16) int { return len(flows(t, d, flow.Filter{Port: port})) }
	for port, want := range map[uint16]int{6001: 0, 6003: 0, 6004: 1, 6005: 0, 9100: 1} {
		if n := living(port); n != want {
			t.Errorf("port %d: %d flows living, not %d", port, n, want)
		}
	}
	for _, fl := range flows(t, d, flow.Filter{Port: 6004}) {
		if fl.Expires < time.Minute || !fl.Replied || !fl.Confirmed {
			t.Errorf("not a stream: %v", &fl)
		}
	}
	// Dead, still there, and a new one for the next packet.
	if got := counted(t, d, "forward", func() { there(unix.IPPROTO_UDP, 6003, udp) }); got != "new" {
		t.Errorf("a packet of a dead flow is %s", got)
	}
	// Nobody is there from now on.
	d.Close()
	eventually(t, 60*time.Second, "dead flows collected", func() bool {
		return r.entries(t, "l2_half_open") == 0 && r.entries(t, "l2_flows") == 4
	})
	talkAll(t, conns)

	d = r.mustApply(cfg)
	// The status has what the last run of the collector found: after the next
	// run at the latest.
	eventually(t, 40*time.Second, "collector's figures", func() bool {
		s, err := d.Status()
		if err != nil {
			t.Fatal(err)
		}
		// Five flows, and the one that came anew, if it did behind a collection.
		collected := s.Flows.Collected
		return s.Flows.Confirmed == 2 && s.Flows.HalfOpen == 0 && (collected == 10 || collected == 12)
	})
}

// TestShortTimeout: a flow whose packets come more often than its timeout
// lives, however short that is.
func TestShortTimeout(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{})
	cfg.Timeouts.UDPUnreplied = 4 * time.Second
	d := r.mustApply(cfg)
	lan := r.tap(t, "l")
	f := families[0]
	for range 8 {
		src, dst := at(f.lanless, 6010), at(f.wanless, 80)
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
		time.Sleep(time.Second)
	}
	if n := stat(t, d, "flow_new"); n != 1 {
		t.Errorf("%d flows begun, not 1", n)
	}
}

// TestNotBeforeTime: a flow lives for all of its timeout from its last packet on, however soon
// that has come behind one before.
func TestNotBeforeTime(t *testing.T) {
	const timeout = 100 * time.Second
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		cfg := r.config(testPolicy{masquerade: true})
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = timeout, timeout
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		r.in("r", func() error { return d.Replace(cfg) })
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			src, dst := at(f.lanless, 6020), at(f.wanless, 80)
			lives := func(what string, sent time.Time) {
				t.Helper()
				list := flows(t, d, flow.Filter{OrigSrcPort: 6020, Family: pick[uint8](f, 4, 6)})
				since := time.Since(sent)
				// What is left is in whole ticks.
				if len(list) != 1 || list[0].Expires+since < timeout-flow.FromTicks(1) {
					t.Errorf("%s: %v after it: %v", what, since, list)
				}
			}
			there := func(what string) (outside netip.AddrPort) {
				t.Helper()
				sent := time.Now()
				lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
				outside = wan.receive(what, func(p packet) bool { return p.dst == dst }).src
				lives(what, sent)
				return outside
			}
			soon := func() { time.Sleep(800 * time.Millisecond) }
			there("first packet")
			soon()
			outside := there("second packet")
			sent := time.Now()
			wan.send(ipPacket(dst.Addr(), outside.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, outside, nil)))
			lan.receive("answer", func(p packet) bool { return p.dst == src })
			lives("answer", sent)
			for range 3 {
				soon()
				there("packet of a confirmed flow")
			}
			// RFC 4787, REQ-6: what comes from outside counts as well.
			for range 3 {
				soon()
				sent := time.Now()
				wan.send(ipPacket(dst.Addr(), outside.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, outside, nil)))
				lan.receive("answer", func(p packet) bool { return p.dst == src })
				lives("answer of a confirmed flow", sent)
			}
		})
	})
}

// TestFullTable: connections over the limit work on as half-open ones, and are
// counted.
func TestFullTable(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.MaxFlows = 10
	d := r.mustApply(cfg)
	conns := r.streams(t, families[0], 9103, 30)
	for range 3 {
		talkAll(t, conns)
	}
	if n := stat(t, d, "flow_table_full"); n == 0 {
		t.Error("flow_table_full is not counted")
	}
	confirmed := 0
	list := flows(t, d, flow.Filter{Protocol: "tcp"})
	for _, f := range list {
		if f.Confirmed {
			confirmed++
		}
		if f.State != "ESTABLISHED" || !f.Replied {
			t.Errorf("%v", &f)
		}
	}
	if len(list) != len(conns) || confirmed < 5 || confirmed > 10 {
		t.Errorf("%d flows, %d of them confirmed", len(list), confirmed)
	}
	if n := stat(t, d, "flow_new"); n != uint64(len(conns)) {
		t.Errorf("%d flows begun, not %d", n, len(conns))
	}
	// Room again: the next packets confirm the others.
	cfg.MaxFlows = 100
	d = r.mustApply(cfg)
	talkAll(t, conns)
	for _, f := range flows(t, d, flow.Filter{Protocol: "tcp"}) {
		if !f.Confirmed {
			t.Errorf("not confirmed: %v", &f)
		}
	}
	if n := len(flows(t, d, flow.Filter{Protocol: "tcp"})); n != len(conns) {
		t.Errorf("%d flows, not %d", n, len(conns))
	}
}

// TestExhaustedPorts: all ports of a class taken, towards one server. Nobody gets
// one that is another's; connections go on, and others are possible.
func TestExhaustedPorts(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.MaxHalfOpen = 8192
	d := r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	conns := r.streams(t, f, 9104, 3)
	seen := map[uint16]bool{}
	send := func(n int) {
		src := at(netip.AddrFrom4([4]byte{192, 168, byte(100 + n>>8), byte(n)}), 700)
		dst := at(f.wanless, 80)
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
	}
	const ports = 1024 - 600 // of the class of port 700
	for n := range 4 * ports {
		send(n)
	}
	for _, p := range wan.drain() {
		if p.proto != unix.IPPROTO_UDP {
			continue
		}
		if port := p.src.Port(); seen[port] || port < 600 || port > 1023 {
			t.Fatalf("port %d twice, or of another class", port)
		}
		seen[p.src.Port()] = true
	}
	exhausted := stat(t, d, "drop_nat_exhausted")
	if len(seen) < ports*9/10 || uint64(len(seen))+exhausted != 4*ports {
		t.Errorf("%d ports used, %d packets dropped", len(seen), exhausted)
	}
	talkAll(t, conns)
	if err := exchangeThrough(t, r, 9105); err != nil {
		t.Error(err)
	}
	// Of the same class, towards another server.
	r.echoUDP(t, "w", at(f.wan, 80))
	if err := r.datagram(t, at(f.lan, 700), at(f.wan, 80), 100); err != nil {
		t.Error(err)
	}
}
