// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTraffic is what users of a router do, at each mode's full speed: with
// offloads where XDP does not forbid them.
func TestTraffic(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.offload(m.xdp == XDPOff)
		inFamilies(t, func(t *testing.T, f family) {
			t.Run("tcp", func(t *testing.T) {
				before := stat(t, d, "xdp_forwarded")
				l := r.listen(t, "w", at(f.wan, 8000))
				if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8000)), l, 16<<20); err != nil {
					t.Error(err)
				}
				// Bulk has to take the way that the mode is about.
				switch n := stat(t, d, "xdp_forwarded") - before; {
				case m.xdp == XDPOff && n != 0:
					t.Errorf("%d packets forwarded by XDP, which is off", n)
				case m.xdp != XDPOff && n < (16<<20)/1500:
					// The bulk of one way: the end of the other's is the TC
					// program's work, and what follows it.
					t.Errorf("%d packets forwarded by XDP: less than the bulk", n)
				}
			})
			t.Run("udp", func(t *testing.T) {
				r.echoUDP(t, "w", at(f.wan, 8001))
				c := r.udp(t, "l", at(f.lan, 0))
				// Whole, and in fragments both ways.
				for _, size := range []int{0, 1, 2, 63, 1400, 1472, 1473, 4000, 20001} {
					message := make([]byte, size)
					rand.Read(message)
					for range 2 { // the second on a confirmed flow
						if err := exchangeUDP(c, at(f.wan, 8001), message); err != nil {
							t.Errorf("%d bytes: %v", size, err)
						}
					}
				}
			})
			t.Run("ping", func(t *testing.T) {
				for _, size := range []string{"0", "56", "1400", "4000"} {
					if out, err := r.host("l", "ping", "-n", "-c", "3", "-i", "0.01", "-W", "1", "-s", size, f.wan.String()).CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				}
			})
			t.Run("of the router", func(t *testing.T) {
				for _, way := range []struct {
					client, server string
					from, to       netip.Addr
				}{
					{"r", "w", f.rwan, f.wan}, {"r", "l", f.rlan, f.lan}, {"l", "r", f.lan, f.rlan}, {"w", "r", f.wan, f.rwan},
				} {
					l := r.listen(t, way.server, at(way.to, 8002))
					if err := transfer(r.mustDial(t, way.client, at(way.from, 0), at(way.to, 8002)), l, 1<<20); err != nil {
						t.Errorf("%s to %s: %v", way.client, way.server, err)
					}
					r.echoUDP(t, way.server, at(way.to, 8003))
					if err := exchangeUDP(r.udp(t, way.client, at(way.from, 0)), at(way.to, 8003), make([]byte, 4000)); err != nil {
						t.Errorf("%s to %s: UDP in fragments: %v", way.client, way.server, err)
					}
				}
			})
		})
		for _, reason := range []string{"drop_malformed", "drop_fragment", "drop_internal", "drop_flow_clash", "drop_nat_exhausted", "drop_nat_no_address", "drop_policy"} {
			if n := stat(t, d, reason); n != 0 {
				t.Errorf("%s: %d packets", reason, n)
			}
		}
	})
}

// TestICMPErrors checks that errors reach the socket that they are about,
// translated.
func TestICMPErrors(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			unreachable := icmpReport{typ: pick[uint8](f, 3, 1), code: pick[uint8](f, 3, 4), errno: syscall.ECONNREFUSED}
			expired := icmpReport{typ: pick[uint8](f, 11, 3), errno: syscall.EHOSTUNREACH}
			for _, c := range []struct {
				name string
				p    probe
				want icmpReport
				from netip.Addr
			}{
				{"closed port of the server", probe{ns: "l", from: at(f.lan, 4001), to: at(f.wan, 9)}, unreachable, f.wan},
				{"closed port of the router", probe{ns: "l", from: at(f.lan, 4002), to: at(f.rlan, 9)}, unreachable, f.rlan},
				{"the router to a closed port", probe{ns: "r", from: at(f.rwan, 4003), to: at(f.wan, 9)}, unreachable, f.wan},
				{"TTL of 1", probe{ns: "l", from: at(f.lan, 4004), to: at(f.wan, 9), ttl: 1}, expired, f.rlan},
				{"TTL of 2 arrives", probe{ns: "l", from: at(f.lan, 4005), to: at(f.wan, 9), ttl: 2}, unreachable, f.wan},
			} {
				t.Run(c.name, func(t *testing.T) {
					for _, size := range []int{0, 100} {
						c.p.size = size
						c.want.from = c.from
						if got := r.provoke(t, c.p); got != c.want {
							t.Errorf("%d bytes: %+v, not %+v", size, got, c.want)
						}
					}
				})
			}
		})
	})
}

// TestErrorOnTheWire checks each checksum of a translated error: the one of
// the error, and those in the packet that it quotes, which have to be what the
// client sent.
func TestErrorOnTheWire(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			unreachable := pick[uint8](f, 3, 1)
			for i, proto := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP, icmpProto(f.lan), 47} {
				for _, cut := range []int{1000, 8} { // bytes of the transport packet that are quoted
					t.Run(fmt.Sprintf("protocol %d, %d bytes", proto, cut), func(t *testing.T) {
						// The LAN host has taken the port that this client wants,
						// so that ports, too, are translated.
						port := uint16(5100 + 10*i + cut%7)
						for _, src := range []netip.Addr{f.lan, f.lanless} {
							sent := transportOf(proto, at(src, port), at(f.wanless, 7))
							if proto == 47 && src == f.lan {
								continue // one client for each server
							}
							lan.send(ipPacket(src, f.wanless, proto, 64, sent))
							arrived := wan.receive("packet at the server", func(p packet) bool {
								return p.dst.Addr() == f.wanless && p.proto == proto
							})
							if src == f.lan {
								continue
							}
							if bad := arrived.wrongChecksum(); bad != "" || arrived.src.Addr() != f.rwan || arrived.ttl != 63 {
								t.Fatalf("from %v, TTL %d, wrong checksum: %q", arrived.src, arrived.ttl, bad)
							}
							quote := arrived.raw[:min(len(arrived.raw), len(arrived.raw)-len(arrived.l4)+cut)]
							wan.send(ipPacket(f.wanless, f.rwan, icmpProto(f.wan), 64, icmpMessage(f.wanless, f.rwan, unreachable, 1, 0, quote)))
							got := lan.receive("error", func(p packet) bool {
								return p.proto == icmpProto(f.lan) && p.l4[0] == unreachable && p.dst.Addr() == f.lanless
							})
							if bad := got.wrongChecksum(); bad != "" {
								t.Errorf("error: wrong checksum: %s", bad)
							}
							inner, ok := parsePacket(got.l4[8:])
							if !ok {
								t.Fatal("no packet in the error")
							}
							if inner.src.Addr() != src || inner.dst.Addr() != f.wanless {
								t.Errorf("quotes %v to %v, not %v to %v", inner.src, inner.dst, src, f.wanless)
							}
							if want := sent[:min(cut, len(sent))]; string(inner.l4) != string(want) {
								t.Errorf("quotes % x, not % x", inner.l4, want)
							}
							if f.lan.Is4() && sum16(inner.raw[:20]) != 0xffff {
								t.Error("wrong checksum of the quoted IPv4 header")
							}
							if n := len(got.l4) - 8; n != len(quote) {
								t.Errorf("quotes %d bytes, not %d", n, len(quote))
							}
						}
					})
				}
			}
		})
	})
}

// transportOf is a first packet of a protocol.
func transportOf(proto uint8, src, dst netip.AddrPort) []byte {
	payload := []byte("a payload of odd length")
	switch proto {
	case unix.IPPROTO_TCP:
		return tcpSegment(src, dst, flagSYN)
	case unix.IPPROTO_UDP:
		return udpDatagram(src, dst, payload)
	case unix.IPPROTO_ICMP:
		return icmpMessage(src.Addr(), dst.Addr(), 8, 0, uint32(src.Port())<<16|1, payload)
	case unix.IPPROTO_ICMPV6:
		return icmpMessage(src.Addr(), dst.Addr(), 128, 0, uint32(src.Port())<<16|1, payload)
	}
	return payload
}

// TestPathMTU has a link behind the router that is smaller than the packets.
func TestPathMTU(t *testing.T) {
	const mtu = 1400
	tooBig := func(f family, from netip.Addr) icmpReport {
		return icmpReport{typ: pick[uint8](f, 3, 2), code: pick[uint8](f, 4, 0), errno: syscall.EMSGSIZE, info: mtu, from: from}
	}
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.offload(m.xdp == XDPOff)
		setMTU := func(lan, wan int) {
			r.batch("l", fmt.Sprintf("link set eth0 mtu %d", lan))
			r.batch("r", fmt.Sprintf("link set lan0 mtu %d", lan), fmt.Sprintf("link set wan0 mtu %d", wan))
			r.batch("w", fmt.Sprintf("link set eth0 mtu %d", wan))
		}
		setMTU(1500, mtu)
		// Segments of the client that do not fit the server's link.
		r.batch("w", "route add 198.51.7.1/32 dev eth0 advmss 1460", "route add 2001:db8:7::1/128 dev eth0 advmss 1440")
		inFamilies(t, func(t *testing.T, f family) {
			t.Run("fragmented", func(t *testing.T) {
				if f.lan.Is6() {
					t.Skip("routers do not fragment IPv6")
				}
				// The router fragments what fits the LAN, and fragments of it.
				for _, size := range []string{"1400", "4000"} {
					out, err := r.host("l", "ping", "-n", "-M", "dont", "-c", "2", "-i", "0.01", "-W", "1", "-s", size, f.wan.String()).CombinedOutput()
					if err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				}
			})
			t.Run("tcp", func(t *testing.T) {
				before := stat(t, d, "to_kernel")
				l := r.listen(t, "w", at(f.wan, 8102))
				if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8102)), l, 1<<20); err != nil {
					t.Error(err)
				}
				if stat(t, d, "to_kernel") == before {
					t.Error("no segment was too long")
				}
			})
			t.Run("client told", func(t *testing.T) {
				want := tooBig(f, f.rlan)
				if got := r.provoke(t, probe{ns: "l", from: at(f.lan, 4101), to: at(f.wan, 9), size: 1420, df: true}); got != want {
					t.Errorf("%+v, not %+v", got, want)
				}
			})
		})
		setMTU(mtu, 1500)
		inFamilies(t, func(t *testing.T, f family) {
			t.Run("server told", func(t *testing.T) {
				// An exchange first, so that the flow is one for XDP.
				server, client := r.udp(t, "w", at(f.wan, 8101)), r.udp(t, "l", at(f.lan, 4102))
				if _, err := client.WriteToUDPAddrPort([]byte("request"), at(f.wan, 8101)); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 100)
				server.SetReadDeadline(time.Now().Add(patience))
				_, peer, err := server.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatal(err)
				}
				if peer != at(f.rwan, 4102) {
					t.Errorf("request from %v, not %v", peer, at(f.rwan, 4102))
				}
				for range 2 {
					if _, err := server.WriteToUDPAddrPort([]byte("answer"), peer); err != nil {
						t.Fatal(err)
					}
				}
				server.Close()
				want := tooBig(f, f.rwan)
				if got := r.provoke(t, probe{ns: "w", from: at(f.wan, 8101), to: peer, size: 1420, df: true}); got != want {
					t.Errorf("%+v, not %+v", got, want)
				}
			})
		})
	})
}

// TestOwnPathMTU: "too big" about a datagram of the router's own, that quotes 8
// bytes behind its network header, reaches the socket that sent it, also where
// its port was translated: the route learns the path's MTU.
func TestOwnPathMTU(t *testing.T) {
	const mtu, port = 1300, 5300
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, server := at(f.lan, port), at(f.wanless, 7)
			lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(client, server, nil)))
			wan.receive("datagram of a client with that port", func(p packet) bool { return p.src == at(f.rwan, port) && p.dst == server })
			if _, err := r.udp(t, "r", at(f.rwan, port)).WriteToUDPAddrPort(make([]byte, 1400), server); err != nil {
				t.Fatal(err)
			}
			sent := wan.receive("datagram of the router", func(p packet) bool { return p.dst == server && len(p.l4) > 1400 })
			if sent.src.Addr() != f.rwan || sent.src.Port() == port {
				t.Fatalf("from %v", sent.src)
			}
			quote := sent.raw[:len(sent.raw)-len(sent.l4)+8]
			wan.send(ipPacket(f.wan, f.rwan, icmpProto(f.wan), 64,
				icmpMessage(f.wan, f.rwan, pick[uint8](f, 3, 2), pick[uint8](f, 4, 0), mtu, quote)))
			eventually(t, patience, "the route to have the MTU", func() bool {
				out, err := r.host("r", "ip", "route", "get", f.wanless.String()).CombinedOutput()
				return err == nil && strings.Contains(string(out), fmt.Sprint("mtu ", mtu))
			})
		})
	})
}

// TestFragmentedOnce: a packet that the kernel fragments meets the ruleset
// once, whole.
func TestFragmentedOnce(t *testing.T) {
	inModes(t, testPolicy{masquerade: true, countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.batch("r", "link set wan0 mtu 1000")
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[0]
		src, dst := at(f.lan, 4300), at(f.wanless, 4301)
		for i, want := range []string{"forward new", "forward new"} {
			before := stateCounters(t, d)
			lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(src, dst, make([]byte, 1200))))
			var payload []byte
			for range 2 {
				p := wan.receive("fragment", func(p packet) bool { return p.dst.Addr() == f.wanless })
				if bad := p.wrongChecksum(); bad != "" || p.src.Addr() != f.rwan || !p.fragment || p.ttl != 63 {
					t.Errorf("from %v, fragment: %v, TTL %d, wrong checksum: %q", p.src, p.fragment, p.ttl, bad)
				}
				payload = append(payload, p.l4...)
			}
			if sum := transportSum(f.rwan, f.wanless, unix.IPPROTO_UDP, payload); sum != 0xffff {
				t.Error("the whole datagram has a wrong checksum")
			}
			for name, n := range stateCounters(t, d) {
				if got := n - before[name]; got != 0 && name != want && name != "input untracked" && name != "output untracked" || name == want && got != 1 {
					t.Errorf("packet %d: %d times %q", i, got, name)
				}
			}
		}
	})
}

// TestOneInterface: with a program at the WAN alone, what the kernel itself
// forwards from another interface is filtered and translated on its way out.
func TestOneInterface(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true, countStates: true})
	cfg.Interfaces = cfg.Interfaces[1:]
	d := r.mustApply(cfg)
	inFamilies(t, func(t *testing.T, f family) {
		l := r.listen(t, "w", at(f.wan, 8400))
		if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8400)), l, 4<<20); err != nil {
			t.Error(err)
		}
		peers := r.echoUDP(t, "w", at(f.wan, 8401))
		c := r.udp(t, "l", at(f.lan, 4400))
		for _, size := range []int{10, 4000} {
			if err := exchangeUDP(c, at(f.wan, 8401), make([]byte, size)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			if peer := nextPeer(t, peers); peer != at(f.rwan, 4400) {
				t.Errorf("from %v", peer)
			}
		}
	})
	counters := stateCounters(t, d)
	if counters["forward new"] != 4 || counters["forward established"] == 0 || counters["output new"] != 0 {
		t.Errorf("counters: %v", counters)
	}
}
