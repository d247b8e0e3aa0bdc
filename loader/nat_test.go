// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// TestPorts: the server sees the router's address and the client's port; a
// port that is taken is replaced by one of the same class.
func TestPorts(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		cfg := r.config(testPolicy{masquerade: true})
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		cfg.NAT.Mapping = flow.EndpointDependent // ports chosen for other servers do not count
		d = r.mustApply(cfg)
		inFamilies(t, func(t *testing.T, f family) {
			// A conversation is a client's socket that can still exchange.
			type conversation func(message string) error
			begin := map[string]func(ns string, from, server netip.AddrPort) (conversation, error){
				"tcp": func(ns string, from, server netip.AddrPort) (conversation, error) {
					c, err := r.dial(ns, from, server)
					if err != nil {
						return nil, err
					}
					t.Cleanup(func() { c.SetLinger(0); c.Close() })
					return func(message string) error { return exchange(c, message) }, nil
				},
				"udp": func(ns string, from, server netip.AddrPort) (conversation, error) {
					c := r.udp(t, ns, from)
					talk := func(message string) error { return exchangeUDP(c, server, []byte(message)) }
					return talk, talk("first")
				},
			}
			type client struct {
				ns   string
				addr netip.Addr
			}
			lan, lan2, own := client{"l", f.lan}, client{"l", f.lan2}, client{"r", f.rwan}
			port := uint16(0)
			for _, proto := range []string{"tcp", "udp"} {
				for _, c := range []struct {
					name          string
					first, second client
				}{
					{"two clients", lan, lan2}, {"client, then router", lan, own}, {"router, then client", own, lan},
				} {
					for _, class := range []struct{ base, low, high uint16 }{{5200, 1024, 65535}, {700, 600, 1023}, {300, 1, 511}} {
						t.Run(fmt.Sprintf("%s/%s/%d", proto, c.name, class.base), func(t *testing.T) {
							port++
							// A server of its own: the others' ports are random.
							server := at(f.wan, 8200+port)
							serve := map[string]func(*testing.T, string, netip.AddrPort) chan netip.AddrPort{"tcp": r.echoTCP, "udp": r.echoUDP}[proto]
							peers := serve(t, "w", server)
							collisions := stat(t, d, "nat_collision")
							var talks []conversation
							var seen []netip.AddrPort
							for i, cl := range []client{c.first, c.second} {
								talk, err := begin[proto](cl.ns, at(cl.addr, class.base+port), server)
								if err != nil {
									t.Fatalf("conversation %d: %v", i, err)
								}
								talks, seen = append(talks, talk), append(seen, nextPeer(t, peers))
							}
							if seen[0] != at(f.rwan, class.base+port) {
								t.Errorf("the first comes from %v, not %v", seen[0], at(f.rwan, class.base+port))
							}
							second := seen[1]
							if second.Addr() != f.rwan || second == seen[0] || second.Port() < class.low || second.Port() > class.high {
								t.Errorf("the second comes from %v: not another port of %d to %d", second, class.low, class.high)
							}
							if n := stat(t, d, "nat_collision") - collisions; n != 1 {
								t.Errorf("%d collisions counted, not 1", n)
							}
							for range 3 {
								for i, talk := range talks {
									if err := talk(fmt.Sprintf("conversation %d", i)); err != nil {
										t.Errorf("conversation %d: %v", i, err)
									}
								}
							}
						})
					}
				}
			}
		})
	})
}

// TestEchoIDs: two clients that ping a host with the same identifier each get
// their own answers.
func TestEchoIDs(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			request, reply := pick[uint8](f, 8, 128), pick[uint8](f, 0, 129)
			wan := r.tap(t, "w")
			const id = 77
			var clients []*net.IPConn
			for _, from := range []struct {
				ns   string
				addr netip.Addr
			}{{"l", f.lan}, {"l", f.lan2}, {"r", f.rwan}} {
				clients = append(clients, r.rawSocket(t, from.ns, icmpProto(f.lan), from.addr))
			}
			ids := map[uint16]int{}
			for seq := range uint32(3) {
				for i, c := range clients {
					payload := fmt.Sprintf("client %d", i)
					if _, err := c.WriteTo(icmpMessage(f.lan, f.wan, request, 0, id<<16|seq, []byte(payload)), &net.IPAddr{IP: f.wan.AsSlice()}); err != nil {
						t.Fatal(err)
					}
					p := wan.receive("request", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.l4[0] == request })
					if bad := p.wrongChecksum(); bad != "" || p.src.Addr() != f.rwan {
						t.Errorf("request from %v, wrong checksum: %q", p.src, bad)
					}
					seenID := binary.BigEndian.Uint16(p.l4[4:])
					if before, ok := ids[seenID]; ok && before != i {
						t.Errorf("client %d has the identifier %d of client %d", i, seenID, before)
					}
					ids[seenID] = i
					c.SetReadDeadline(time.Now().Add(patience))
					for buf := make([]byte, 1500); ; {
						n, _, err := c.ReadFrom(buf)
						if err != nil {
							t.Fatalf("client %d: no reply: %v", i, err)
						}
						if buf[0] != reply {
							continue
						}
						if got, want := binary.BigEndian.Uint32(buf[4:]), id<<16|seq; got != want || string(buf[8:n]) != payload {
							t.Errorf("client %d: reply %#x %q, not %#x %q", i, got, buf[8:n], want, payload)
						}
						break
					}
				}
			}
			if len(ids) != len(clients) || ids[id] != 0 {
				t.Errorf("identifiers on the wire: %v", ids)
			}
		})
	})
}

// TestOtherProtocols are told apart by addresses, and ports that stay as they are.
func TestOtherProtocols(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for _, proto := range []uint8{33, 47, 50, 59, 253} {
				t.Run(fmt.Sprint(proto), func(t *testing.T) {
					message := []byte("\x13\x88\x13\x88anything") // to DCCP the same port at both ends
					for range 3 {                                 // the later ones on a confirmed flow
						lan.send(ipPacket(f.lan, f.wanless, proto, 64, message))
						p := wan.receive("packet", func(p packet) bool { return p.proto == proto })
						if p.src.Addr() != f.rwan || p.dst.Addr() != f.wanless || string(p.l4) != string(message) || p.wrongChecksum() != "" {
							t.Errorf("received %+v", p)
						}
						wan.send(ipPacket(f.wanless, f.rwan, proto, 64, message))
						p = lan.receive("reply", func(p packet) bool { return p.proto == proto })
						if p.src.Addr() != f.wanless || p.dst.Addr() != f.lan || string(p.l4) != string(message) || p.wrongChecksum() != "" {
							t.Errorf("received %+v", p)
						}
					}
					// Another client of the same server cannot be told apart.
					clashes := stat(t, d, "drop_flow_clash")
					lan.send(ipPacket(f.lan2, f.wanless, proto, 64, message))
					eventually(t, patience, "drop_flow_clash", func() bool { return stat(t, d, "drop_flow_clash") == clashes+1 })
				})
			}
		})
	})
}

// TestZeroChecksum: UDP without a checksum stays so; a checksum that comes out
// as zero is sent as its other form.
func TestZeroChecksum(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for _, c := range []struct {
				name string
				port uint16
				make func(src, dst, becomes netip.AddrPort) []byte
				want uint16
			}{{
				"none", 5300, func(src, dst, _ netip.AddrPort) []byte {
					d := udpDatagram(src, dst, []byte("no checksum"))
					d[6], d[7] = 0, 0
					return d
				}, 0,
			}, {
				"comes out as zero", 5301, func(src, dst, becomes netip.AddrPort) []byte {
					// The payload that completes the translated sum.
					l4 := udpDatagram(becomes, dst, []byte{0, 0})
					payload := binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(l4[6:]))
					return udpDatagram(src, dst, payload)
				}, 0xffff,
			}} {
				if c.want == 0 && f.lan.Is6() {
					continue // not allowed
				}
				t.Run(c.name, func(t *testing.T) {
					src, dst := at(f.lan, c.port), at(f.wanless, 5302)
					becomes := at(f.rwan, c.port)
					for i := range 3 { // the later ones on a confirmed flow
						lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, c.make(src, dst, becomes)))
						p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
						if p.src != becomes || p.checksum() != c.want || p.wrongChecksum() != "" {
							t.Errorf("datagram %d: from %v with checksum %#04x, not from %v with %#04x", i, p.src, p.checksum(), becomes, c.want)
						}
						// And back.
						wan.send(ipPacket(dst.Addr(), becomes.Addr(), unix.IPPROTO_UDP, 64, c.make(dst, becomes, dst)))
						p = lan.receive("datagram", func(p packet) bool { return p.dst == src })
						if p.src != dst || (p.checksum() == 0) != (c.want == 0) || p.wrongChecksum() != "" {
							t.Errorf("answer %d: from %v with checksum %#04x", i, p.src, p.checksum())
						}
					}
				})
			}
			if m.xdp != XDPOff && stat(t, d, "xdp_forwarded") == 0 {
				t.Error("nothing forwarded by XDP")
			}
		})
	})
}

// TestChecksums verifies each packet of ordinary traffic at the hosts, below
// their stacks.
func TestChecksums(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.noAggregates(t)
		// At TC the hosts leave checksums and segmentation to the last interface
		// before the other host, which the kernel does them for: it goes on
		// from the sums that are in the packet.
		r.offload(m.xdp == XDPOff)
		for _, dev := range []string{"lan0", "wan0"} {
			r.must("ip", "netns", "exec", r.name+"r", "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off")
		}
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			l := r.listen(t, "w", at(f.wan, 8300))
			if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8300)), l, 2<<20); err != nil {
				t.Error(err)
			}
			// The router's own, too.
			l = r.listen(t, "w", at(f.wan, 8301))
			if err := transfer(r.mustDial(t, "r", at(f.rwan, 0), at(f.wan, 8301)), l, 1<<20); err != nil {
				t.Error(err)
			}
			r.echoUDP(t, "w", at(f.wan, 8302))
			c := r.udp(t, "l", at(f.lan, 5400))
			for n := range 20 {
				if err := exchangeUDP(c, at(f.wan, 8302), make([]byte, 50*n+n%2)); err != nil {
					t.Error(err)
				}
			}
			if out, err := r.host("l", "ping", "-n", "-c", "5", "-i", "0.01", "-s", "777", f.wan.String()).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for host, w := range map[string]*wire{"LAN": lan, "WAN": wan} {
				seen := map[uint8]int{}
				for _, p := range w.drain() {
					seen[p.proto]++
					if bad := p.wrongChecksum(); bad != "" {
						t.Fatalf("%s: %v to %v, protocol %d, %d bytes: wrong checksum: %s", host, p.src, p.dst, p.proto, len(p.raw), bad)
					}
				}
				if seen[unix.IPPROTO_TCP] < 100 || seen[unix.IPPROTO_UDP] < 20 || seen[icmpProto(f.lan)] < 5 {
					t.Errorf("%s: not enough packets seen: %v", host, seen)
				}
			}
		})
	})
}

// TestNeutralAddress: a client whose address sums up to the router's, so that
// its translation changes no checksum, is translated all the same.
func TestNeutralAddress(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		f := families[1]
		client := netip.MustParseAddr("fd07::db9:2300:0")
		c, w := client.As16(), f.rwan.As16()
		if sum16(c[:]) != sum16(w[:]) {
			t.Fatal("another sum")
		}
		r.batch("r", fmt.Sprintf("neigh add %s lladdr %s dev lan0", client, r.mac["l/eth0"]))
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		src, dst := at(client, 5700), at(f.wanless, 5701)
		for range 4 { // the later ones on a confirmed flow
			lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, []byte("there"))))
			p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
			if p.src != at(f.rwan, 5700) || p.wrongChecksum() != "" {
				t.Fatalf("from %v, wrong checksum: %q", p.src, p.wrongChecksum())
			}
			wan.send(ipPacket(dst.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(dst, at(f.rwan, 5700), []byte("back"))))
			p = lan.receive("answer", func(p packet) bool { return p.src == dst && p.proto == unix.IPPROTO_UDP })
			if p.dst != src || p.wrongChecksum() != "" {
				t.Fatalf("to %v, not %v; wrong checksum: %q", p.dst, src, p.wrongChecksum())
			}
		}
	})
}

// TestIDLikeType: a query with the identifier that is its own type's
// number is not an answer. (It is not a new flow either, as it is in the
// kernel: the two would share their keys.)
func TestIDLikeType(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			typ := pick[uint8](f, 8, 128)
			request := func(src, dst netip.Addr) []byte {
				return ipPacket(src, dst, icmpProto(src), 64, icmpMessage(src, dst, typ, 0, uint32(typ)<<16|1, nil))
			}
			if got := counted(t, d, "forward", func() { lan.send(request(f.lanless, f.wanless)) }); got != "new" {
				t.Errorf("request: %s", got)
			}
			if got := counted(t, d, "forward", func() { wan.send(request(f.wanless, f.lanless)) }); got != "invalid" {
				t.Errorf("request of the other side: %s, not invalid", got)
			}
		})
	})
}

// TestHeadersBetween: IPv4 options and IPv6 extension headers stand before the
// transport header, and stay as they are.
func TestHeadersBetween(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		// between puts headers before a transport packet.
		between := func(f family, p []byte, headers []byte) []byte {
			at := pick(f, 20, 40)
			p = append(append(append([]byte{}, p[:at]...), headers...), p[at:]...)
			if f.lan.Is4() {
				p[0] += byte(len(headers) / 4)
				binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
				p[10], p[11] = 0, 0
				binary.BigEndian.PutUint16(p[10:], ^sum16(p[:20+len(headers)]))
				return p
			}

			binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
			return p
		}
		pad := func(next byte, n int) []byte { // an options header of n bytes
			return append([]byte{next, byte(n/8 - 1), 1, byte(n - 4)}, make([]byte, n-4)...)
		}
		inFamilies(t, func(t *testing.T, f family) {
			v4 := map[string][]byte{"no-operation": {1, 1, 1, 1}, "full": append(make([]byte, 0, 40), []byte("\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00")...)}
			v6 := map[string][]byte{
				"hop by hop": append([]byte{0}, pad(17, 8)...), "destination": append([]byte{60}, pad(17, 24)...),
				"both": append(append([]byte{0}, pad(60, 16)...), pad(17, 8)...), "atomic fragment": {44, 17, 0, 0, 0, 0, 0, 0, 1},
				"routing": {43, 17, 0, 253, 1, 0, 0, 0, 0}, // of another type than is refused, with a hop to go
			}
			port := uint16(5800)
			for name, headers := range pick(f, v4, v6) {
				t.Run(name, func(t *testing.T) {
					first := byte(17)
					if f.lan.Is6() {
						first, headers = headers[0], headers[1:]
					}
					port++
					src, dst := at(f.lan, port), at(f.wanless, 5801)
					make := func(src, dst netip.AddrPort) []byte {
						p := between(f, ipPacket(src.Addr(), dst.Addr(), 17, 64, udpDatagram(src, dst, []byte("message"))), headers)
						if f.lan.Is6() {
							p[6] = first
						}
						return p
					}
					want := make
					if name == "atomic fragment" { // put together, as the kernel does
						want = func(src, dst netip.AddrPort) []byte {
							return ipPacket(src.Addr(), dst.Addr(), 17, 64, udpDatagram(src, dst, []byte("message")))
						}
					}
					for range 3 { // the later ones on a confirmed flow
						for _, way := range []struct {
							from, to   *wire
							sent, want []byte
						}{
							{lan, wan, make(src, dst), want(at(f.rwan, port), dst)},
							{wan, lan, make(dst, at(f.rwan, port)), want(dst, src)},
						} {
							// One hop less.
							if f.lan.Is4() {
								way.want[8]--
								way.want[10], way.want[11] = 0, 0
								binary.BigEndian.PutUint16(way.want[10:], ^sum16(way.want[:20+len(headers)]))
							} else {
								way.want[7]--
							}
							way.from.send(way.sent)
							got := way.to.receive("datagram", func(p packet) bool { return len(p.raw) == len(way.want) && (p.proto == first || p.proto == 17) })
							if string(got.raw) != string(way.want) {
								t.Fatalf("received\n% x, not\n% x", got.raw, way.want)
							}
						}
					}
				})
			}
		})
	})
}
