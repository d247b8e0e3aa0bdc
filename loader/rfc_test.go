// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// What docs/rfc-compliance.md claims and no other test shows.

// TestMappingAndFiltering: while its port is free, a client's socket has the
// same one towards all servers (RFC 4787 REQ-1, as far as it goes), and only
// those that it has sent to can answer (REQ-8).
func TestMappingAndFiltering(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			client, outside := at(f.lanless, 5950), at(f.rwan, 5950)
			for _, server := range []netip.AddrPort{at(f.wanless, 80), at(f.wanless, 81), at(f.wan, 80)} {
				lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, server, nil)))
				p := wan.receive("datagram", func(p packet) bool { return p.dst == server })
				if p.src != outside {
					t.Errorf("%v sees %v, not %v", server, p.src, outside)
				}
			}
			for _, from := range []netip.AddrPort{at(f.wanless, 82), at(f.wan, 81), at(f.wanless, 81)} {
				wan.send(ipPacket(from.Addr(), outside.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, outside, nil)))
			}
			// The last one is allowed: all before it have been decided when it arrives.
			p := lan.receive("datagram", func(p packet) bool { return p.dst == client })
			if p.src != at(f.wanless, 81) {
				t.Errorf("from %v: reaches the client", p.src)
			}
		})
	})
}

// TestErrorsEndNothing: an ICMP error neither ends the flow that it is about
// nor lets it live longer (RFC 4787 REQ-12, RFC 5382 REQ-10, RFC 5508 REQ-6).
func TestErrorsEndNothing(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for i, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, icmpProto(f.lan)} {
				port := uint16(5960 + i)
				find := func() flow.Flow {
					t.Helper()
					list := flows(t, d, flow.Filter{Port: port, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())})
					if len(list) != 1 {
						t.Fatalf("protocol %d: %d flows, not 1", proto, len(list))
					}
					return list[0]
				}
				lan.send(ipPacket(f.lanless, f.wanless, proto, 64, transportOf(proto, at(f.lanless, port), at(f.wanless, 7))))
				arrived := wan.receive("packet", func(p packet) bool { return p.proto == proto && p.dst.Addr() == f.wanless })
				before := find()
				time.Sleep(1200 * time.Millisecond) // more than an expiry is written late by
				for _, typ := range pick(f, []uint8{3, 4, 11, 12}, []uint8{1, 2, 3, 4}) {
					// From a router on the way, whose address is another one.
					wan.send(ipPacket(f.wan, f.rwan, icmpProto(f.wan), 64, icmpMessage(f.wan, f.rwan, typ, 0, 1400, arrived.raw)))
					lan.receive("error", func(p packet) bool {
						return p.proto == icmpProto(f.lan) && p.l4[0] == typ && p.src.Addr() == f.wan && p.dst.Addr() == f.lanless
					})
				}
				after := find()
				if gone := before.Expires - after.Expires; gone < time.Second || after.State != before.State || after.Original != before.Original {
					t.Errorf("protocol %d: was %v, and is %v", proto, &before, &after)
				}
			}
		})
	})
}

// TestNotForwarded: what a router keeps to itself (RFC 1812 4.2.2.9, 5.3.4,
// 5.3.5.2; RFC 4291 2.5.6).
func TestNotForwarded(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		everyone := net.HardwareAddr{255, 255, 255, 255, 255, 255}
		v4, v6 := families[0], families[1]
		linkLocal := netip.MustParseAddr("fe80::50")
		for _, c := range []struct {
			name     string
			from, to *wire
			mac      net.HardwareAddr
			src, dst netip.Addr
		}{
			{"frame for everyone", lan, wan, everyone, v4.lan, v4.wanless},
			{"frame for everyone, IPv6", lan, wan, everyone, v6.lan, v6.wanless},
			{"the LAN's broadcast address, from the WAN", wan, lan, nil, v4.wan, netip.MustParseAddr("192.168.7.255")},
			{"limited broadcast", lan, wan, nil, v4.lan, netip.MustParseAddr("255.255.255.255")},
			{"link-local source", lan, wan, nil, linkLocal, v6.wanless},
			{"loopback source", lan, wan, nil, netip.MustParseAddr("127.0.0.2"), v4.wanless},
			{"loopback source, IPv6", lan, wan, nil, netip.IPv6Loopback(), v6.wanless},
			{"unspecified source", lan, wan, nil, netip.IPv4Unspecified(), v4.wanless},
			{"unspecified source, IPv6", lan, wan, nil, netip.IPv6Unspecified(), v6.wanless},
			{"multicast source", lan, wan, nil, netip.MustParseAddr("224.0.0.5"), v4.wanless},
			{"loopback destination", lan, wan, nil, v4.lan, netip.MustParseAddr("127.0.0.2")},
			{"loopback destination, IPv6", lan, wan, nil, v6.lan, netip.IPv6Loopback()},
		} {
			t.Run(c.name, func(t *testing.T) {
				src, dst := at(c.src, 5970), at(c.dst, 5971)
				mac := c.mac
				if mac == nil {
					mac = c.from.router
				}
				before := stat(t, d, "tc_forwarded") + stat(t, d, "xdp_forwarded")
				ip := ipPacket(c.src, c.dst, unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
				if _, err := unix.Write(c.from.fd, frame(c.from.from, mac, ip)); err != nil {
					t.Fatal(err)
				}
				for _, p := range c.to.drain() {
					if p.dst.Port() == 5971 {
						t.Errorf("forwarded: %v to %v", p.src, p.dst)
					}
				}
				if n := stat(t, d, "tc_forwarded") + stat(t, d, "xdp_forwarded") - before; n != 0 {
					t.Errorf("%d packets counted as forwarded", n)
				}
			})
		}
		// The same way, an ordinary packet is forwarded, and one from what was
		// "this network" once: to Linux only 0.0.0.0 is not an address.
		for _, from := range []netip.Addr{v4.lan, netip.MustParseAddr("0.1.2.3")} {
			src, dst := at(from, 5970), at(v4.wanless, 5971)
			lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			wan.receive("ordinary packet", func(p packet) bool { return p.dst == dst && p.src == src })
		}
	})
}

// TestLastHop: a packet for the router itself may come with a TTL of 1
// (RFC 1812 5.3.1), and one that is forwarded keeps its traffic class and flow
// label.
func TestLastHop(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			lan.send(ipPacket(f.lan, f.rlan, icmpProto(f.lan), 1, icmpMessage(f.lan, f.rlan, pick[uint8](f, 8, 128), 0, 5980<<16, nil)))
			lan.receive("echo reply", func(p packet) bool {
				return p.proto == icmpProto(f.lan) && p.l4[0] == pick[uint8](f, 0, 129) && p.src.Addr() == f.rlan
			})
			src, dst := at(f.lan, 5981), at(f.wanless, 5982)
			p := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
			first := pick(f, []byte{0x45, 0xb9}, []byte{0x6b, 0x9a, 0xbc, 0xde})
			copy(p, first)
			if f.lan.Is4() {
				p[10], p[11] = 0, 0
				sum := ^sum16(p[:20])
				p[10], p[11] = byte(sum>>8), byte(sum)
			}
			for range 3 {
				lan.send(p)
				got := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
				if !bytes.HasPrefix(got.raw, first) || got.ttl != 63 || got.wrongChecksum() != "" {
					t.Errorf("received % x", got.raw)
				}
			}
		})
	})
}

// TestRoutedByService: a route for a type of service is that of packets which have it (RFC 1812
// 5.3.2).
func TestRoutedByService(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		const service = 0x10
		f, to := families[0], netip.MustParseAddr("203.0.113.5")
		r.batch("r", "route add 203.0.113.5/32 via "+f.wanless.String()+" dev wan0",
			"route add 203.0.113.5/32 tos 0x10 via "+f.lanless.String()+" dev lan0")
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		for port, by := range map[uint16]*wire{6031: lan, 6032: wan} {
			src, dst := at(f.lan, port), at(to, 6030)
			p := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
			if by == lan {
				p[1], p[10], p[11] = service, 0, 0
				sum := ^sum16(p[:20])
				p[10], p[11] = byte(sum>>8), byte(sum)
			}
			lan.send(p)
			by.receive("datagram", func(p packet) bool { return p.dst == dst && p.src == src && p.ttl == 63 })
		}
	})
}

// TestQuotes: an error may quote a header with options, and have extensions
// behind the quote (RFC 5508 REQ-3; RFC 4884).
func TestQuotes(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[0]
		client, server := at(f.lan, 5990), at(f.wanless, 5991)
		lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, server, make([]byte, 60))))
		arrived := wan.receive("datagram", func(p packet) bool { return p.dst == server })
		// quote is the datagram as either side knows it, with options.
		quote := func(src netip.AddrPort, ttl uint8, options []byte) []byte {
			p := ipPacket(src.Addr(), server.Addr(), unix.IPPROTO_UDP, ttl, udpDatagram(src, server, make([]byte, 60)))
			p = append(append(append([]byte{}, p[:20]...), options...), p[20:]...)
			p[0] += byte(len(options) / 4)
			p[10], p[11] = 0, 0
			sum := ^sum16(p[:20+len(options)])
			p[10], p[11] = byte(sum>>8), byte(sum)
			return p
		}
		// An MPLS label stack, behind a quote of 128 bytes; RFC 4950.
		extension := []byte{0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0xf1, 0x01}
		sum := ^sum16(extension)
		extension[2], extension[3] = byte(sum>>8), byte(sum)
		for name, c := range map[string]struct {
			options, extension []byte
		}{
			"plain":     {},
			"options":   {options: bytes.Repeat([]byte{1}, 40)},
			"extension": {extension: extension},
			"both":      {options: bytes.Repeat([]byte{1}, 4), extension: extension},
		} {
			t.Run(name, func(t *testing.T) {
				payload := func(q []byte) (rest uint32, _ []byte) {
					if c.extension == nil {
						return 0, q
					}
					return 128 / 4 << 16, append(append(q, make([]byte, 128-len(q))...), c.extension...)
				}
				rest, sent := payload(quote(arrived.src, 63, c.options))
				wan.send(ipPacket(f.wan, f.rwan, unix.IPPROTO_ICMP, 64, icmpMessage(f.wan, f.rwan, 11, 0, rest, sent)))
				got := lan.receive("error", func(p packet) bool { return p.proto == unix.IPPROTO_ICMP && p.l4[0] == 11 && p.dst.Addr() == f.lan })
				if bad := got.wrongChecksum(); bad != "" {
					t.Errorf("wrong checksum: %s", bad)
				}
				if _, want := payload(quote(client, 63, c.options)); !bytes.Equal(got.l4[8:], want) {
					t.Errorf("quotes\n% x, not\n% x", got.l4[8:], want)
				}
			})
		}
	})
}

// TestQueries: all queries of ICMP pass, not echo alone (RFC 5508 REQ-1).
func TestQueries(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[0]
		for _, query := range []uint8{8, 13, 15, 17} {
			answer := query + 1
			if query == 8 {
				answer = 0
			}
			isType := func(typ uint8) func(packet) bool {
				return func(p packet) bool { return p.proto == unix.IPPROTO_ICMP && p.l4[0] == typ }
			}
			for i, client := range []netip.Addr{f.lan, f.lanless} { // with the same identifier
				for range 2 {
					lan.send(ipPacket(client, f.wanless, unix.IPPROTO_ICMP, 64, icmpMessage(client, f.wanless, query, 0, 5995<<16|1, make([]byte, 12))))
					p := wan.receive("query", isType(query))
					if same := p.l4[4] == 5995>>8 && p.l4[5] == 5995&0xff; p.src.Addr() != f.rwan || p.wrongChecksum() != "" || same != (i == 0) {
						t.Errorf("type %d of %v: from %v, % x", query, client, p.src, p.l4)
					}
					p.l4[0] = answer
					wan.send(ipPacket(f.wanless, f.rwan, unix.IPPROTO_ICMP, 64, withChecksum(f.wanless, f.rwan, unix.IPPROTO_ICMP, p.l4)))
					p = lan.receive("answer", isType(answer))
					if p.dst.Addr() != client || p.wrongChecksum() != "" || p.l4[4] != 5995>>8 || p.l4[5] != 5995&0xff {
						t.Errorf("type %d: to %v, not %v: % x", answer, p.dst, client, p.l4)
					}
				}
			}
		}
	})
}

// TestTCPThroughNAT: a simultaneous open, and a RST, are translated (RFC 5382
// REQ-2a, RFC 7857 2.2).
func TestTCPThroughNAT(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, outside, server := at(f.lanless, 5996), at(f.rwan, 5996), at(f.wanless, 80)
			for i, s := range []struct {
				out   bool
				flags byte
				state string
			}{
				{true, flagSYN, "SYN_SENT"}, {false, flagSYN, "SYN_SENT2"},
				{true, flagSYN | flagACK, "SYN_RECV"}, {false, flagSYN | flagACK, "SYN_RECV"},
				{true, flagACK, "ESTABLISHED"}, {false, flagACK, "ESTABLISHED"},
				{false, flagRST, "CLOSE"}, {true, flagRST, "CLOSE"},
			} {
				from, to, src, dst, wantSrc, wantDst := wan, lan, server, outside, server, client
				if s.out {
					from, to, src, dst, wantSrc, wantDst = lan, wan, client, server, outside, server
				}
				from.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(src, dst, s.flags)))
				p := to.receive("segment", func(p packet) bool { return p.src == wantSrc && p.dst == wantDst })
				if p.l4[13] != s.flags || p.wrongChecksum() != "" {
					t.Errorf("step %d: flags %06b, wrong checksum: %q", i, p.l4[13], p.wrongChecksum())
				}
				list := flows(t, d, flow.Filter{Port: 5996, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())})
				if len(list) != 1 || list[0].State != s.state {
					t.Fatalf("step %d: %v, not one in %s", i, list, s.state)
				}
			}
		})
	})
}

// TestErrorsFromInside: an error about an answer, by the client or by a router between
// it and this one, leaves with the external address, its type and code as they were, and
// quotes what the server has sent (RFC 5508 REQ-5). Without a flow it is invalid.
func TestErrorsFromInside(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, server := at(f.lanless, 6010), at(f.wanless, 6011)
			// The LAN host has the port, so that the client's is another one outside.
			var seen netip.AddrPort
			for _, src := range []netip.AddrPort{at(f.lan, 6010), client} {
				lan.send(ipPacket(src.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, server, nil)))
				seen = wan.receive("datagram", func(p packet) bool { return p.dst == server }).src
			}
			if seen.Port() == client.Port() {
				t.Fatalf("the client is %v outside", seen)
			}
			answer := func(dst netip.AddrPort, hops uint8) []byte {
				return ipPacket(server.Addr(), dst.Addr(), unix.IPPROTO_UDP, hops, udpDatagram(server, dst, []byte("answer")))
			}
			expect(t, "answer", wan, lan, answer(seen, 64), answer(client, 63))
			for _, from := range []netip.Addr{f.lanless, f.lan2} {
				for _, c := range pick(f, [][2]uint8{{3, 3}, {3, 13}, {11, 0}, {12, 1}}, [][2]uint8{{1, 4}, {1, 1}, {3, 0}, {4, 2}}) {
					message := func(src netip.Addr, hops uint8, quote []byte) []byte {
						return ipPacket(src, server.Addr(), icmpProto(src), hops, icmpMessage(src, server.Addr(), c[0], c[1], 0, quote))
					}
					expect(t, "error", lan, wan, message(from, 64, answer(client, 63)), message(seen.Addr(), 63, answer(seen, 63)))
				}
			}
		})
	})
}
