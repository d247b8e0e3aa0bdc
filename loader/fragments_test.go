// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Fragments that come in: held until their datagram is whole.

// piece is a fragment of a transport packet.
type piece struct {
	start, end int
	more       bool
}

// pieces cuts a packet of size bytes at the offsets.
func pieces(size int, at ...int) (list []piece) {
	start := 0
	for _, end := range append(at, size) {
		list = append(list, piece{start, end, end < size})
		start = end
	}
	return list
}

// evenly cuts a packet into pieces of n bytes.
func evenly(size, n int) []piece {
	var at []int
	for end := n; end < size; end += n {
		at = append(at, end)
	}
	return pieces(size, at...)
}

// fragmentOf is an IP packet with a piece of l4, which may be larger than that.
func fragmentOf(src, dst netip.Addr, proto uint8, id uint32, l4 []byte, p piece) []byte {
	data := make([]byte, p.end-p.start)
	if p.start < len(l4) {
		copy(data, l4[p.start:])
	}
	off := uint16(p.start)
	if src.Is6() {
		if p.more {
			off |= 1
		}
		h := binary.BigEndian.AppendUint16([]byte{proto, 0}, off)
		h = binary.BigEndian.AppendUint32(h, id)
		return ipPacket(src, dst, unix.IPPROTO_FRAGMENT, 64, append(h, data...))
	}
	off /= 8
	if p.more {
		off |= 0x2000
	}
	ip := ipPacket(src, dst, proto, 64, data)
	binary.BigEndian.PutUint16(ip[4:], uint16(id))
	binary.BigEndian.PutUint16(ip[6:], off)
	return withHeaderChecksum(ip)
}

func withHeaderChecksum(ip []byte) []byte {
	if ip[0]>>4 == 4 {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:int(ip[0]&15)*4]))
	}
	return ip
}

// offset is where a received fragment starts, and whether more follow.
func (p packet) offset() (start int, more bool) {
	if p.src.Addr().Is4() {
		f := binary.BigEndian.Uint16(p.raw[6:])
		return int(f&0x1fff) * 8, f&0x2000 != 0
	}
	f := binary.BigEndian.Uint16(p.raw[len(p.raw)-len(p.l4)-6:])
	return int(f &^ 7), f&1 != 0
}

// receiveWhole waits for the fragments of a datagram, in order, and returns what
// is in them, and them.
func (w *wire) receiveWhole(dst netip.Addr) (l4 []byte, list []packet) {
	w.t.Helper()
	for {
		p := w.receive(fmt.Sprintf("fragment at %d", len(l4)), func(p packet) bool { return p.dst.Addr() == dst })
		start, more := p.offset()
		if !p.fragment || start != len(l4) {
			w.t.Fatalf("fragment: %v, at %d, not %d", p.fragment, start, len(l4))
		}
		if bad := p.wrongChecksum(); bad != "" {
			w.t.Errorf("wrong checksum: %s", bad)
		}
		l4, list = append(l4, p.l4...), append(list, p)
		if !more {
			return l4, list
		}
	}
}

// noise is n bytes that are all different from their neighbours.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// permutations of n things.
func permutations(n int) (all [][]int) {
	var extend func(p []int)
	extend = func(p []int) {
		if len(p) == n {
			all = append(all, slices.Clone(p))
		}
		for i := range n {
			if !slices.Contains(p, i) {
				extend(append(p, i))
			}
		}
	}
	extend(nil)
	return all
}

// TestFragmentsInAnyOrder: in whatever order they come, they leave in order and
// translated, and the ruleset has seen them once.
func TestFragmentsInAnyOrder(t *testing.T) {
	inModes(t, testPolicy{masquerade: true, countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			rnd := rand.New(rand.NewPCG(1, 2))
			orders := permutations(3)
			for range 20 {
				orders = append(orders, rnd.Perm(2+rnd.IntN(30)))
			}
			backwards := rnd.Perm(60)
			slices.Sort(backwards)
			slices.Reverse(backwards)
			orders = append(orders, backwards)
			for i, order := range orders {
				src, dst := at(f.lan, uint16(5000+i)), at(f.wanless, 4201)
				each := 8 * (1 + rnd.IntN(150))
				l4 := udpDatagram(src, dst, noise(len(order)*each-8-rnd.IntN(8)))
				list := evenly(len(l4), each)
				before := stateCounters(t, d)
				for _, n := range order {
					lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, uint32(i+1), l4, list[n]))
				}
				got, fragments := wan.receiveWhole(f.wanless)
				if !bytes.Equal(got[8:], l4[8:]) {
					t.Fatalf("order %v: other data", order)
				}
				if sum := transportSum(f.rwan, f.wanless, unix.IPPROTO_UDP, got); sum != 0xffff {
					t.Errorf("order %v: wrong checksum of the whole", order)
				}
				for _, p := range fragments {
					if p.src.Addr() != f.rwan || p.ttl != 63 {
						t.Errorf("order %v: from %v, TTL %d", order, p.src, p.ttl)
					}
				}
				if n := stateCounters(t, d)["forward new"] - before["forward new"]; n != 1 {
					t.Errorf("order %v: counted %d times", order, n)
				}
			}
		})
		if n := stat(t, d, "fragment_held"); n == 0 || stat(t, d, "datagram_whole") != 2*27 {
			t.Errorf("%d held, %d whole", n, stat(t, d, "datagram_whole"))
		}
	})
}

// TestFragmentsRefused: what the kernel's reassembly does not take never gets
// out, and is counted by its reason.
func TestFragmentsRefused(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		id := uint32(100)
		inFamilies(t, func(t *testing.T, f family) {
			src, dst := at(f.lan, 4200), at(f.wanless, 4201)
			l4 := udpDatagram(src, dst, noise(1000))
			first, middle, last := piece{0, 400, true}, piece{400, 800, true}, piece{800, 1008, false}
			// Of IPv6, a fragment that contradicts others is dropped alone.
			alone := func(n uint64) uint64 { return pick(f, n, 1) }
			for _, c := range []struct {
				name   string
				proto  uint8
				send   []piece
				reason string
				count  uint64
				whole  bool // all the same
			}{
				{"a duplicate", 17, []piece{first, middle, middle, last}, "duplicate", 1, true},
				{"a part of one again", 17, []piece{first, middle, {408, 416, true}, last}, "duplicate", 1, true},
				{"the last one again", 17, []piece{last, middle, last, first}, "duplicate", 1, true},
				{"an overlap", 17, []piece{first, {392, 800, true}, last}, "overlap", 2, false},
				{"an overlap with what follows", 17, []piece{last, {400, 808, true}, first}, "overlap", 2, false},
				{"a first one again, longer", 17, []piece{first, {0, 408, true}, middle, last}, "overlap", 2, false},
				{"bytes of two that came backwards, again", 17, []piece{middle, first, {8, 800, true}, last}, "overlap", 3, false},
				{"two ends", 17, []piece{first, last, {800, 1000, false}, middle}, "malformed", alone(3), f.lan.Is6()},
				{"behind the end", 17, []piece{first, last, {1008, 1016, true}, middle}, "malformed", alone(3), f.lan.Is6()},
				{"an end before what is there", 17, []piece{first, middle, {408, 416, false}, last}, "malformed", alone(3), f.lan.Is6()},
				{"nothing in it", 17, []piece{first, {400, 400, true}, last}, "malformed", alone(2), false},
				{"longer than a packet can be", 17, []piece{first, {65528, 65544, false}}, "limit", 1, false},
				{"ports in two", 17, []piece{{8, 1008, false}, {0, 0, true}}, "malformed", 2, false},
				{"a TCP header in two", 6, []piece{{0, 16, true}, {16, 1008, false}}, "tiny", 1, false},
				{"a TCP header's options in two", 6, []piece{{0, 24, true}, {24, 1008, false}}, "tiny", 1, false},
				{"behind a TCP header's first 8 bytes", 6, []piece{{0, 400, true}, {8, 400, true}, {400, 1008, false}}, "tiny", 1, true},
				{"a missing one", 17, []piece{first, last}, "limit", 0, false},
			} {
				if c.name == "ports in two" {
					c.reason, c.count = "tiny", 1
				}
				t.Run(c.name, func(t *testing.T) {
					id++
					reason := "drop_fragment_" + c.reason
					before, held := stat(t, d, reason), stat(t, d, "fragment_held")
					data := l4
					if c.proto == unix.IPPROTO_TCP {
						data = append(tcpSegment(src, dst, flagSYN), noise(988)...)
						if c.name == "a TCP header's options in two" {
							data[12] = 0x80
						}
						withChecksum(f.lan, f.wanless, c.proto, data)
					}
					wan.drain()
					for _, p := range c.send {
						lan.send(fragmentOf(f.lan, f.wanless, c.proto, id, data, p))
					}
					taken := func() bool {
						return stat(t, d, "fragment_held")-held+stat(t, d, reason)-before >= uint64(len(c.send))
					}
					if c.whole {
						got, _ := wan.receiveWhole(f.wanless)
						if !bytes.Equal(got[8:16], data[8:16]) || sum16(got) == 0 || transportSum(f.rwan, f.wanless, c.proto, got) != 0xffff {
							t.Error("the datagram is not what it was")
						}
					} else {
						eventually(t, patience, "all of them", taken)
						for _, p := range wan.drain() {
							if p.dst.Addr() == f.wanless {
								t.Errorf("came out: %x", p.raw)
							}
						}
					}
					if n := stat(t, d, reason) - before; n != c.count {
						t.Errorf("%s: %d, not %d", reason, n, c.count)
					}
				})
			}
		})
		// ip_frag_queue() cuts off what is no multiple of 8; nf_ct_frag6_queue()
		// does not.
		for _, f := range families {
			id++
			src, dst := at(f.lan, 4200), at(f.wanless, 4201)
			l4 := udpDatagram(src, dst, noise(1000))
			wan.drain()
			before := stat(t, d, "drop_fragment_malformed")
			for _, p := range []piece{{400, 1008, false}, {0, 404, true}} {
				lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, id, l4, p))
			}
			if f.lan.Is6() {
				eventually(t, patience, "dropped", func() bool { return stat(t, d, "drop_fragment_malformed") == before+1 })
				continue
			}
			if got, _ := wan.receiveWhole(f.wanless); !bytes.Equal(got[8:], l4[8:]) {
				t.Error("other data")
			}
		}
	})
}

// TestFragmentsToAGroup: a datagram in fragments reaches who has joined its group on the router.
func TestFragmentsToAGroup(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, _ *Dataplane, _ mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			group, mac := netip.MustParseAddr("239.7.7.7"), net.HardwareAddr{1, 0, 0x5e, 7, 7, 7}
			if f.lan.Is6() {
				group, mac = netip.MustParseAddr("ff02::7:707"), net.HardwareAddr{0x33, 0x33, 0, 7, 7, 7}
			}
			member := r.udp(t, "r", at(pick(f, netip.IPv4Unspecified(), netip.IPv6Unspecified()), 7400))
			raw, err := member.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			index := r.index("lan0")
			var joined error
			err = raw.Control(func(fd uintptr) {
				if f.lan.Is6() {
					joined = unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
				} else {
					joined = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
				}
			})
			if err := errors.Join(err, joined); err != nil {
				t.Fatal(err)
			}
			want := noise(3000)
			l4 := udpDatagram(at(f.lan, 7401), at(group, 7400), want)
			for _, p := range evenly(len(l4), 1280) {
				if _, err := unix.Write(lan.fd, frame(lan.from, mac, fragmentOf(f.lan, group, unix.IPPROTO_UDP, 0x77, l4, p))); err != nil {
					t.Fatal(err)
				}
			}
			member.SetReadDeadline(time.Now().Add(patience))
			got := make([]byte, 4000)
			n, from, err := member.ReadFromUDPAddrPort(got)
			if err != nil || !bytes.Equal(got[:n], want) || from.Port() != 7401 {
				t.Errorf("%d bytes from %v: %v", n, from, err)
			}
		})
	})
}

// TestFragmentsToTheRouter: the stack gets them in order.
func TestFragmentsToTheRouter(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			server := r.udp(t, "r", at(f.rlan, 4700))
			src, dst := at(f.lan, 4701), at(f.rlan, 4700)
			l4 := udpDatagram(src, dst, noise(5000))
			list := evenly(len(l4), 1200)
			before := stateCounters(t, d)
			for _, n := range []int{4, 2, 0, 3, 1} {
				lan.send(fragmentOf(f.lan, f.rlan, unix.IPPROTO_UDP, 7, l4, list[n]))
			}
			buf := make([]byte, 1<<16)
			server.SetReadDeadline(time.Now().Add(patience))
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil || from != src || !bytes.Equal(buf[:n], l4[8:]) {
				t.Errorf("%d bytes from %v: %v", n, from, err)
			}
			if n := stateCounters(t, d)["input new"] - before["input new"]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	})
}

// TestFragmentsDropped: what the ruleset drops, it drops whole.
func TestFragmentsDropped(t *testing.T) {
	inModes(t, testPolicy{dropForward: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			before := stat(t, d, "drop_policy")
			l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(3000))
			list := evenly(len(l4), 600)
			for _, p := range list {
				lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 9, l4, p))
			}
			eventually(t, patience, "dropped", func() bool { return stat(t, d, "drop_policy") == before+1 })
			for _, p := range wan.drain() {
				if p.dst.Addr() == f.wanless {
					t.Errorf("came out: %x", p.raw)
				}
			}
		})
		// The slots are free again.
		eachBucket(t, d, func(b *l2TCReasmBucket) {
			for _, w := range b.Way {
				if w.State != 0 {
					t.Errorf("a datagram in state %d", w.State)
				}
			}
		})
	})
}

// eachBucket shows and changes the table of datagrams.
func eachBucket(t *testing.T, d *Dataplane, f func(b *l2TCReasmBucket)) {
	t.Helper()
	if err := d.Map("l2_datagrams", func(m *ebpf.Map) error { return changeBuckets(m, f) }); err != nil {
		t.Fatal(err)
	}
}

func changeBuckets(m *ebpf.Map, f func(b *l2TCReasmBucket)) error {
	for key := range m.MaxEntries() {
		var b l2TCReasmBucket
		if err := m.Lookup(&key, &b); err != nil {
			return err
		}
		f(&b)
		if err := m.Update(&key, &b, ebpf.UpdateLock); err != nil {
			return err
		}
	}
	return nil
}

// TestFragmentsAreAHeaderApart: what a fragment header stands behind stays before
// it, and the fragments keep what they have of their own.
func TestFragmentsAreAHeaderApart(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[1]
		l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(2000))
		list := evenly(len(l4), 800)
		options := []byte{unix.IPPROTO_FRAGMENT, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		for _, n := range []int{1, 2, 0} {
			ip := fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 11, l4, list[n])
			ip = slices.Insert(ip, 40, options...)
			ip[6] = unix.IPPROTO_DSTOPTS
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
			lan.send(ip)
		}
		var got []byte
		for range list {
			p := wan.receive("fragment", func(p packet) bool { return p.dst.Addr() == f.wanless })
			if p.raw[6] != unix.IPPROTO_DSTOPTS || !bytes.Equal(p.raw[40:56], options) || p.src.Addr() != f.rwan {
				t.Fatalf("%x", p.raw)
			}
			if start := binary.BigEndian.Uint16(p.raw[58:]) &^ 7; int(start) != len(got) {
				t.Fatalf("at %d", start)
			}
			got = append(got, p.raw[64:]...)
		}
		if sum := transportSum(f.rwan, f.wanless, unix.IPPROTO_UDP, got); sum != 0xffff || !bytes.Equal(got[8:], l4[8:]) {
			t.Error("the whole is another one")
		}
	})
}

// TestFragmentsCongestion: RFC 3168, 5.3: what one of them has met, the datagram
// has met; what does not go together is dropped.
func TestFragmentsCongestion(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for i, c := range []struct {
				ecn  [2]byte
				want int // less than 0: dropped
			}{{[2]byte{2, 2}, 2}, {[2]byte{2, 3}, 3}, {[2]byte{3, 1}, 3}, {[2]byte{0, 3}, -1}, {[2]byte{0, 2}, -1}} {
				wan.drain()
				before := stat(t, d, "drop_fragment_malformed")
				l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(1000))
				for n, p := range evenly(len(l4), 800) {
					ip := fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, uint32(20+i), l4, p)
					if f.lan.Is4() {
						ip[1] |= c.ecn[n]
					} else {
						ip[1] |= c.ecn[n] << 4
					}
					lan.send(withHeaderChecksum(ip))
				}
				if c.want < 0 {
					eventually(t, patience, "dropped", func() bool { return stat(t, d, "drop_fragment_malformed") == before+2 })
					continue
				}
				_, list := wan.receiveWhole(f.wanless)
				for _, p := range list {
					if got := int(pick(f, p.raw[1], p.raw[1]>>4) & 3); got != c.want {
						t.Errorf("%v: %d, not %d", c.ecn, got, c.want)
					}
				}
			}
		})
	})
}

// TestFragmentsOfGiants: of links whose packets are larger than the pieces that
// memory is given out in, and datagrams as large as can be.
func TestFragmentsOfGiants(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		if m.xdp != XDPOff {
			t.Skip("XDP takes packets of a page")
		}
		for ns, devs := range map[string][]string{"r": {"lan0", "wan0"}, "l": {"eth0"}, "w": {"eth0"}} {
			for _, dev := range devs {
				r.batch(ns, "link set "+dev+" mtu 9000")
			}
		}
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for i, each := range []int{8944, 4096, 2040, 1480, 576} {
				l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(65535-20-8))
				list := evenly(len(l4), each)
				for j := range list {
					lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, uint32(40+i), l4, list[len(list)-1-j]))
				}
				if each == 576 { // too many, backwards
					eventually(t, patience, "dropped", func() bool { return stat(t, d, "drop_fragment_limit") > 0 })
					continue
				}
				if got, _ := wan.receiveWhole(f.wanless); !bytes.Equal(got[8:], l4[8:]) {
					t.Errorf("pieces of %d: other data", each)
				}
			}
			for _, way := range []string{f.wan.String(), f.rlan.String()} {
				if out, err := r.host("l", "ping", "-n", "-c", "2", "-i", "0.01", "-W", "2", "-s", "60000", way).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
	})
}

// TestFragmentFlood: what never becomes whole displaces what is incomplete, but
// neither datagrams that come at once nor whole packets.
func TestFragmentFlood(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		rnd := rand.New(rand.NewPCG(3, 4))
		inFamilies(t, func(t *testing.T, f family) {
			l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(2000))
			list := evenly(len(l4), 800)
			for round := range 4 {
				for range 2000 {
					start := 8 * rnd.IntN(200)
					lan.send(fragmentOf(f.lan2, f.wanless, unix.IPPROTO_UDP, rnd.Uint32(), l4, piece{start, start + 800, true}))
				}
				for _, n := range []int{2, 0, 1} {
					lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, uint32(60+round), l4, list[n]))
				}
				if got, _ := wan.receiveWhole(f.wanless); !bytes.Equal(got[8:], l4[8:]) {
					t.Error("other data")
				}
			}
		})
		if n := stat(t, d, "drop_fragment_limit"); n < 10000 {
			t.Errorf("%d displaced", n)
		}
		if err := exchangeThrough(t, r, 9300); err != nil {
			t.Error(err)
		}
	})
}

// TestFragmentsExpire: the rest of a datagram that comes too late begins another
// one.
func TestFragmentsExpire(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			l4 := udpDatagram(at(f.lan, 4200), at(f.wanless, 4201), noise(2000))
			list := evenly(len(l4), 800)
			held := stat(t, d, "fragment_held")
			lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 80, l4, list[0]))
			lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 80, l4, list[1]))
			eventually(t, patience, "held", func() bool { return stat(t, d, "fragment_held") == held+2 })
			// Before they expire: the collector may come at once.
			before := stat(t, d, "drop_fragment_timeout")
			n, want := 0, pick[uint32](f, 8*30, 8*60)
			eachBucket(t, d, func(b *l2TCReasmBucket) {
				for i := range b.Way {
					w := &b.Way[i]
					if w.State != 1 {
						continue
					}
					n++
					if left := w.Expires - ticksNow(t); left > want || left < want-8 {
						t.Errorf("expires in %d ticks, not %d", left, want)
					}
					w.Expires = ticksNow(t) - 8 // a packet's time is a jiffy old, perhaps
				}
			})
			if n != 1 {
				t.Fatalf("%d datagrams", n)
			}
			lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 80, l4, list[2]))
			eventually(t, patience, "collected", func() bool { return stat(t, d, "drop_fragment_timeout") == before+2 })
			lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 80, l4, list[1]))
			lan.send(fragmentOf(f.lan, f.wanless, unix.IPPROTO_UDP, 80, l4, list[0]))
			if got, _ := wan.receiveWhole(f.wanless); !bytes.Equal(got[8:], l4[8:]) {
				t.Error("other data")
			}
		})
	})
}

// ticksNow is the time as the programs have it.
func ticksNow(t *testing.T) uint32 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return uint32(uint64(now.Nano()) >> 27)
}
