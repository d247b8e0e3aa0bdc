// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What others do to the router while it works for everybody else.

// attack is traffic that is meant to do harm.
type attack struct {
	name string
	// packet is the nth.
	packet func(f family, rnd *rand.Rand, n int) []byte
	// limit is what one source may have, 0: anything.
	limit uint32
	least int // packets; 0: ten times what the table of half-open flows has room for
}

// anyone is a random address that nobody has.
func anyone(f family, rnd *rand.Rand) netip.Addr {
	if f.lan.Is4() {
		return netip.AddrFrom4([4]byte{10, byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())})
	}
	a := netip.MustParseAddr("2001:db8:a::").As16()
	for i := 6; i < len(a); i++ {
		a[i] = byte(rnd.Uint32())
	}
	return netip.AddrFrom16(a)
}

func anyPort(a netip.Addr, rnd *rand.Rand) netip.AddrPort { return at(a, uint16(rnd.Uint32())) }

func synFlood(to func(f family) netip.Addr) func(f family, rnd *rand.Rand, n int) []byte {
	return func(f family, rnd *rand.Rand, _ int) []byte {
		src, dst := anyPort(anyone(f, rnd), rnd), at(to(f), 80)
		return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN))
	}
}

var attacks = []attack{
	{name: "SYNs from anywhere", packet: synFlood(func(f family) netip.Addr { return f.wanless })},
	{name: "SYNs from anywhere to the router", packet: synFlood(func(f family) netip.Addr { return f.rlan })},
	{name: "one client's flows", limit: 1000, least: 2 * 60000, packet: func(f family, _ *rand.Rand, n int) []byte {
		src, dst := at(f.lanless, uint16(n%60000+5000)), at(f.wanless, 4202)
		return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
	}},
	{name: "port scan", packet: func(f family, _ *rand.Rand, n int) []byte {
		src, dst := at(f.lanless, uint16(40000+n>>16)), at(f.wanless, uint16(n))
		return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
	}},
	{name: "echo requests", packet: func(f family, rnd *rand.Rand, n int) []byte {
		src, dst := anyone(f, rnd), f.wanless
		if n%2 == 0 {
			dst = f.rlan
		}
		return ipPacket(src, dst, icmpProto(src), 64, icmpMessage(src, dst, pick[uint8](f, 8, 128), 0, rnd.Uint32(), nil))
	}},
	{name: "fragments", packet: func(f family, rnd *rand.Rand, _ int) []byte {
		l4 := udpDatagram(at(f.lanless, 4200), at(f.wanless, 4201), make([]byte, 80))
		start := 8 * rnd.IntN(8)
		return fragmentOf(anyone(f, rnd), f.wanless, unix.IPPROTO_UDP, rnd.Uint32(), l4, piece{start, start + 16, true})
	}},
}

// launch sends an attack until it is told to stop, and at least so many packets.
func (w *wire) launch(a attack, least int) (stop func() (sent int, err error)) {
	var done atomic.Bool
	var wg sync.WaitGroup
	var sent int
	var failed error
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(5, 6))
		for n := 0; failed == nil && (n < least || !done.Load()); n++ {
			_, err := unix.Write(w.fd, frame(w.from, w.router, a.packet(families[n%2], rnd, n/2)))
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				failed = err
			}
			sent = n
		}
	})
	return func() (int, error) {
		done.Store(true)
		wg.Wait()
		return sent, failed
	}
}

// TestAttacks: while the router is flooded with ten times what its table of
// half-open flows has room for, connections go on, others begin, datagrams in fragments
// get through, and the router answers.
func TestAttacks(t *testing.T) {
	const halfOpen = 4096
	t.Parallel()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, _ *Dataplane, m mode) {
				cfg := r.config(testPolicy{masquerade: true})
				for i := range cfg.Interfaces {
					cfg.Interfaces[i].XDP = m.xdp
				}
				cfg.MaxHalfOpen, cfg.MaxFlowsPerSource = halfOpen, a.limit
				d := r.mustApply(cfg)
				var conns []stream
				for _, f := range families {
					conns = append(conns, r.streams(t, f, 9401, 3)...)
					r.echoUDP(t, "w", at(f.wan, 9402))
					r.echoTCP(t, "r", at(f.rlan, 9403))
				}
				lan := r.tap(t, "l")
				stop := lan.launch(a, max(a.least, 10*halfOpen))
				for round := range uint16(3) {
					talkAll(t, conns)
					if err := exchangeThrough(t, r, 9410+round); err != nil {
						t.Errorf("a new connection: %v", err)
					}
					for _, f := range families {
						if err := r.datagram(t, at(f.lan, 4500+round), at(f.wan, 9402), 4000); err != nil {
							t.Errorf("%s: a datagram in fragments: %v", f.name, err)
						}
						c := r.mustDial(t, "l", at(f.lan2, 0), at(f.rlan, 9403))
						if err := exchange(c, "are you there?"); err != nil {
							t.Errorf("%s: the router: %v", f.name, err)
						}
					}
				}
				sent, err := stop()
				if err != nil {
					t.Fatal(err)
				}
				talkAll(t, conns)
				if n := r.entries(t, "l2_half_open"); n > 2*halfOpen {
					t.Errorf("%d half-open entries", n)
				}
				if n := r.entries(t, "l2_flows"); n < 2*len(conns) || n > 2*100 {
					t.Errorf("%d confirmed entries", n)
				}
				if n := stat(t, d, "drop_source_limit"); (n > 0) != (a.limit > 0) {
					t.Errorf("%d of %d packets over the limit", n, sent)
				}
				if n := r.entriesOf(t, "l2_half_open", families[0].lanless); a.limit > 0 && n > 2*int(a.limit) {
					t.Errorf("%d entries of a client that may have %d", n, 2*a.limit)
				}
				for _, name := range []string{"flow_table_full", "drop_internal", "drop_malformed"} {
					if n := stat(t, d, name); n != 0 {
						t.Errorf("%s: %d, of %d packets", name, n, sent)
					}
				}
			})
		})
	}
}

// entriesOf counts the entries of flows that an address has begun.
func (r *router) entriesOf(t *testing.T, name string, client netip.Addr) (n int) {
	t.Helper()
	r.eachFlow(t, name, func(key *l2TCTuple, value *l2TCFlow) bool {
		if string(key.Saddr[:]) == string(padded(client)) || string(value.Out.Daddr[:]) == string(padded(client)) {
			n++
		}
		return true
	})
	return n
}

// TestSeeds: nobody can compute which keys share a bucket: each router's tables
// have seeds of their own.
func TestSeeds(t *testing.T) {
	t.Parallel()
	const zeroSeed = 1 << 6 // BPF_F_ZERO_SEED
	seeds := map[uint64]bool{}
	for range 2 {
		r := newRouter(t)
		d := r.mustApply(r.config(testPolicy{masquerade: true}))
		pinned, err := openMaps(filepath.Join(r.pin, dirState))
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range pinned {
			if m.Flags()&zeroSeed != 0 {
				t.Errorf("%s has no seed", name)
			}
			m.Close()
		}
		f := families[0]
		r.tap(t, "l").send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 1, make([]byte, 100), piece{0, 80, true}))
		var reasm l2TCReasm
		eventually(t, patience, "a seed", func() bool {
			err := d.Map("l2_reasm", func(m *ebpf.Map) error { return m.Lookup(uint32(0), &reasm) })
			return err == nil && reasm.Seed != 0
		})
		seeds[reasm.Seed] = true
	}
	if len(seeds) != 2 {
		t.Errorf("the same seed twice: %v", seeds)
	}
}

// datagram sends one from a socket of the LAN host, a few times if need be, and
// wants it back.
func (r *router) datagram(t *testing.T, from, to netip.AddrPort, size int) (err error) {
	c := r.udp(t, "l", from)
	defer c.Close()
	for range 3 {
		if err = exchangeUDP(c, to, make([]byte, size)); err == nil {
			return nil
		}
	}
	return err
}

// aged makes all flows and fragments older, as if so many ticks had passed.
func (r *router) aged(t *testing.T, ticks uint32) {
	t.Helper()
	for _, name := range []string{"l2_flows", "l2_half_open"} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		all := map[l2TCTuple]l2TCFlow{} // an update would disturb the iteration
		var key l2TCTuple
		var value l2TCFlow
		it := m.Iterate()
		for it.Next(&key, &value) {
			all[key] = value
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		for key, value := range all {
			value.Expires -= ticks
			value.Created -= ticks
			if err := m.Update(&key, &value, ebpf.UpdateExist); err != nil {
				t.Fatal(err)
			}
		}
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, "l2_datagrams"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	err = changeBuckets(m, func(b *l2TCReasmBucket) {
		for i := range b.Way {
			b.Way[i].Expires -= ticks
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHourAlone: an hour passes without a process of l2d, in steps of twelve
// minutes, each with nearly as many flows of each kind as there is room for. They expire,
// the tables do not fill up, new ones are let in, and what was there goes on.
func TestHourAlone(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.MaxFlows, cfg.MaxHalfOpen = 128, 1024
	d := r.mustApply(cfg)
	conns := append(r.streams(t, families[0], 9501, 2), r.streams(t, families[1], 9501, 2)...)
	for _, f := range families {
		r.echoUDP(t, "w", at(f.wan, 9502))
	}
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	begun := stat(t, d, "flow_new")
	d.Close()
	const step, steps, each = 12 * time.Minute, int(time.Hour / (12 * time.Minute)), 50
	for range steps {
		for n := range uint16(each) {
			f := families[n%2]
			if err := r.datagram(t, at(f.lan, 20000+n), at(f.wan, 9502), 100); err != nil {
				t.Fatalf("an answered flow: %v", err)
			}
			src, dst := at(f.lanless, 21000+n), at(f.wanless, 9503)
			for _, ip := range [][]byte{
				ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN)),
				ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)),
				ipPacket(src.Addr(), dst.Addr(), icmpProto(src.Addr()), 64, icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 8, 128), 0, uint32(n)<<16, nil)),
				ipPacket(src.Addr(), dst.Addr(), 47, 64, make([]byte, 8)),
			} {
				lan.send(ip)
				wan.receive("a new flow", func(p packet) bool { return p.dst.Addr() == dst.Addr() })
			}
			lan.send(fragmentOf(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, uint32(n), make([]byte, 100), piece{0, 80, true}))
		}
		if n := r.entries(t, "l2_flows"); n != 2*(each+len(conns)) {
			t.Fatalf("%d confirmed entries, not %d", n, 2*(each+len(conns)))
		}
		r.aged(t, uint32(step/time.Second)*8)
		eventually(t, 25*time.Second, "dead flows collected", func() bool {
			return r.entries(t, "l2_half_open") == 0 && r.entries(t, "l2_flows") == 2*len(conns)
		})
		talkAll(t, conns)
	}
	d = r.mustApply(cfg)
	// Of ICMP and GRE of one host, those of a step are few.
	if n := stat(t, d, "flow_new") - begun; n < uint64(3*steps*each) {
		t.Errorf("%d flows begun", n)
	}
	if n := stat(t, d, "drop_fragment_timeout"); n != uint64(steps*each) {
		t.Errorf("%d fragments ended, not %d", n, steps*each)
	}
	for _, name := range []string{"flow_table_full", "drop_nat_exhausted", "drop_internal", "drop_malformed", "drop_fragment_limit"} {
		if n := stat(t, d, name); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
}
