// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// prohibited is what a socket learns from rejectedICMP.
func prohibited(f family, from netip.Addr) icmpReport {
	return icmpReport{typ: pick[uint8](f, 3, 1), code: pick[uint8](f, 13, 1), errno: pick(f, syscall.EHOSTUNREACH, syscall.EACCES), from: from}
}

// TestReject: sockets are refused at once, at every hook, also where their
// interfaces leave checksums to others.
func TestReject(t *testing.T) {
	for _, c := range []struct {
		hook string
		to   func(f family) netip.Addr
		from func(f family) netip.Addr // of the ICMP error
	}{
		{hook: "prerouting_raw", to: func(f family) netip.Addr { return f.wan }, from: func(f family) netip.Addr { return f.rlan }},
		// IPv4 has no route of the packet there: the way back decides.
		{hook: "prerouting", to: func(f family) netip.Addr { return f.rwan }, from: func(f family) netip.Addr { return pick(f, f.rlan, f.rwan) }},
		{hook: "input", to: func(f family) netip.Addr { return f.rwan }, from: func(f family) netip.Addr { return f.rwan }},
		{hook: "forward", to: func(f family) netip.Addr { return f.wan }, from: func(f family) netip.Addr { return f.rlan }},
	} {
		t.Run(c.hook, func(t *testing.T) {
			inModes(t, testPolicy{rejectAt: c.hook, masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				for _, offload := range []bool{false, true} {
					r.offload(offload)
					inFamilies(t, func(t *testing.T, f family) {
						if c, err := r.dial("l", at(f.lan, 0), at(c.to(f), 7000)); !errors.Is(err, unix.ECONNREFUSED) {
							t.Errorf("offload %v: connection: %v, %v", offload, c, err)
						}
						for _, size := range []int{0, 1, 500, 1300} {
							want := prohibited(f, c.from(f))
							if got := r.provoke(t, probe{ns: "l", from: at(f.lan, 4600), to: at(c.to(f), 7001), size: size}); got != want {
								t.Errorf("offload %v, %d bytes: %+v, not %+v", offload, size, got, want)
							}
						}
					})
				}
			})
		})
	}
}

// TestRejectSource: an ICMPv6 error has an address of the interface that the packet came by, unless
// the route to the sender prefers one: icmp6_send().
func TestRejectSource(t *testing.T) {
	t.Parallel()
	f := families[1]
	r := newRouter(t)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	r.mustApply(r.config(compiled(t, "table inet t { chain forward { type filter hook forward priority 0; reject with icmpx admin-prohibited; }\n}\n")))
	preferred := netip.MustParseAddr("2001:db8:9::1")
	for _, c := range []struct {
		name  string
		from  *wire
		batch []string
		want  netip.Addr
	}{
		{"by the interface of the answer", lan, nil, f.rlan},
		{"by another one", wan, nil, f.rwan},
		{"a route with a source", wan, []string{"addr add 2001:db8:9::1/64 dev lan0 nodad", "route add " + f.lanless.String() + " dev lan0 src 2001:db8:9::1"}, preferred},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.batch != nil {
				r.batch("r", c.batch...)
			}
			src, dst := at(f.lanless, 6120), at(f.wanless, 6121)
			lan.drain()
			c.from.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			p := lan.receive("error", func(p packet) bool { return errorsTo([]packet{p}, f.lanless) == 1 })
			if p.src.Addr() != c.want {
				t.Errorf("from %v, want %v", p.src.Addr(), c.want)
			}
		})
	}
}

// TestRejectOutput: the router's own sockets are refused, past its input chains.
func TestRejectOutput(t *testing.T) {
	for _, hook := range []string{"output", "output_raw"} {
		t.Run(hook, func(t *testing.T) {
			inModes(t, testPolicy{rejectAt: hook, dropInput: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				// Not every route leads back by lo, or at all.
				r.in("r", func() error { return sysctls("ipv4/conf/all/rp_filter=1", "ipv4/conf/wan0/rp_filter=1") })
				inFamilies(t, func(t *testing.T, f family) {
					r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev wan0", f.wan, r.mac["w/eth0"]))
					before := r.synRetransmissions(t)
					if c, err := r.dial("r", at(f.rwan, 0), at(f.wan, 7000)); !errors.Is(err, unix.ECONNREFUSED) {
						t.Errorf("connection: %v, %v", c, err)
					}
					if n := r.synRetransmissions(t) - before; n != 0 {
						t.Errorf("refused after %d retransmissions", n)
					}
					want := prohibited(f, f.wan)
					if got := r.provoke(t, probe{ns: "r", from: at(f.rwan, 4601), to: at(f.wan, 7001), size: 1300}); got != want {
						t.Errorf("%+v, not %+v", got, want)
					}
				})
			})
		})
	}
}

// synRetransmissions are those of the router's own sockets.
func (r *router) synRetransmissions(t *testing.T) int {
	t.Helper()
	var text []byte
	r.in("r", func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/netstat")
		return err
	})
	lines := strings.Split(string(text), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	n, err := strconv.Atoi(values[slices.Index(names, "TCPSynRetrans")])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRejectBytes: what answers look like, and what gets none.
func TestRejectBytes(t *testing.T) {
	inModes(t, testPolicy{rejectAt: "forward"}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			src, dst := at(f.lan, 4700), at(f.wanless, 4701)
			answer := func(ip []byte) packet {
				t.Helper()
				lan.drain()
				lan.send(ip)
				p := lan.receive("answer", func(p packet) bool { return p.dst.Addr() == f.lan })
				if bad := p.wrongChecksum(); bad != "" || p.ttl != 64 {
					t.Errorf("TTL %d, wrong checksum: %q", p.ttl, bad)
				}
				return p
			}
			t.Run("quote", func(t *testing.T) {
				for _, size := range []int{0, 1, 2, 7, 300, 511, 1200, 1400} {
					ip := ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(src, dst, make([]byte, size)))
					p := answer(ip)
					ip[pick(f, 8, 7)]-- // the hop limit
					if f.lan.Is4() {
						ip[10], ip[11] = 0, 0
						sum := ^sum16(ip[:20])
						ip[10], ip[11] = byte(sum>>8), byte(sum)
					}
					want := ip[:min(len(ip), pick(f, 548, 1232))]
					if p.proto != icmpProto(f.lan) || string(p.l4[8:]) != string(want) {
						t.Errorf("%d bytes: protocol %d, quotes % x, not % x", size, p.proto, p.l4[8:], want)
					}
					if f.lan.Is4() && (p.raw[1] != 0xc0 || p.raw[6] != 0) {
						t.Errorf("TOS %#x, flags %#x", p.raw[1], p.raw[6])
					}
				}
			})
			t.Run("reset", func(t *testing.T) {
				syn := answer(ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN)))
				if syn.src != dst || syn.dst != src || string(syn.l4[4:16]) != "\x00\x00\x00\x00\x00\x00\x00\x02\x50\x14\x00\x00" {
					t.Errorf("from %v to %v: % x", syn.src, syn.dst, syn.l4)
				}
				ack := answer(ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagACK)))
				if string(ack.l4[4:16]) != "\x00\x00\x00\x01\x00\x00\x00\x00\x50\x04\x00\x00" {
					t.Errorf("% x", ack.l4)
				}
				if f.lan.Is4() && (ack.raw[1] != 0 || ack.raw[6] != 0x40) {
					t.Errorf("TOS %#x, flags %#x", ack.raw[1], ack.raw[6])
				}
			})
			t.Run("none", func(t *testing.T) {
				broken := tcpSegment(src, dst, flagSYN)
				broken[16] ^= 1
				brokenUDP := udpDatagram(src, dst, []byte("payload"))
				brokenUDP[6] ^= 1
				later := ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN))
				lan.drain()
				lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagRST)))
				lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, broken))
				lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, brokenUDP))
				lan.send(later[:len(later)-14]) // cut off
				for _, p := range lan.drain() {
					if p.dst.Addr() == f.lan && (p.proto == unix.IPPROTO_TCP || p.proto == icmpProto(f.lan) && p.l4[0] < 4) {
						t.Errorf("answered: % x", p.raw)
					}
				}
			})
		})
	})
}

// TestRejectUnfinished: a quoted checksum that is left to an interface makes the
// error's own right when it is finished.
func TestRejectUnfinished(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{rejectAt: "forward"})
	for i := range cfg.Interfaces {
		cfg.Interfaces[i].XDP = XDPOff
	}
	r.mustApply(cfg)
	r.offload(true)
	lan := r.tap(t, "l")
	inFamilies(t, func(t *testing.T, f family) {
		c := r.udp(t, "l", at(f.lan, 4900))
		for _, size := range []int{1, 20, 1300} {
			if _, err := c.WriteToUDPAddrPort(make([]byte, size), at(f.wanless, 4901)); err != nil && !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.EACCES) {
				t.Fatal(err)
			}
			p := lan.receive("error", func(p packet) bool {
				return p.dst.Addr() == f.lan && p.proto == icmpProto(f.lan) && p.l4[0] == pick[byte](f, 3, 1)
			})
			quoted := p.l4[8+pick(f, 20, 40):]
			seed := []byte{quoted[6], quoted[7]}
			if want := sum16(pseudo(f.lan, f.wanless, unix.IPPROTO_UDP, 8+size)); uint16(seed[0])<<8|uint16(seed[1]) != want {
				t.Fatalf("%d bytes: the quoted checksum is %x, finished already; the pseudo header's is %#x", size, seed, want)
			}
			sum := ^sum16(quoted)
			quoted[6], quoted[7] = byte(sum>>8), byte(sum)
			if bad := p.wrongChecksum(); bad != "" {
				t.Errorf("%d bytes: wrong checksum: %s", size, bad)
			}
		}
	})
}

// TestRejectLimit: ICMP errors follow the kernel's limit, resets have none.
func TestRejectLimit(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.in("r", func() error {
		return sysctls("ipv4/icmp_ratelimit=100000", "ipv6/icmp/ratelimit=100000", "ipv4/ip_default_ttl=37", "ipv6/conf/all/hop_limit=38")
	})
	r.mustApply(r.config(testPolicy{rejectAt: "forward"}))
	lan := r.tap(t, "l")
	inFamilies(t, func(t *testing.T, f family) {
		// No answer waits for its neighbour.
		r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev lan0", f.lan, r.mac["l/eth0"]))
		src, dst := at(f.lan, 4800), at(f.wanless, 4801)
		answered := func(want int, proto uint8, ip []byte) {
			t.Helper()
			lan.drain()
			for range 10 {
				lan.send(ip)
			}
			isAnswer := func(p packet) bool {
				return p.dst.Addr() == f.lan && p.proto == proto && (p.proto != unix.IPPROTO_ICMPV6 || p.l4[0] < 128)
			}
			for n := range want {
				if p := lan.receive(fmt.Sprint("answer ", n), isAnswer); p.ttl != pick[uint8](f, 37, 38) {
					t.Errorf("TTL %d", p.ttl)
				}
			}
			if more := slices.DeleteFunc(lan.drain(), func(p packet) bool { return !isAnswer(p) }); len(more) > 0 {
				t.Errorf("%d answers more than %d", len(more), want)
			}
		}
		answered(6, icmpProto(f.lan), ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
		answered(10, unix.IPPROTO_TCP, ipPacket(f.lan, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN)))
	})
}
