// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// bothFamilies makes rules of each family's addresses.
func bothFamilies(rules func(f family) []natRule) []natRule {
	var all []natRule
	for _, f := range families {
		all = append(all, rules(f)...)
	}
	return all
}

// expect sends a packet and has it arrive as another one.
func expect(t *testing.T, what string, from, to *wire, sent, want []byte) {
	t.Helper()
	dst, _ := parsePacket(want)
	from.send(sent)
	got := to.receive(what, func(p packet) bool { return p.proto == dst.proto && p.dst == dst.dst && len(p.raw) == len(want) })
	if string(got.raw) != string(want) {
		t.Fatalf("%s: received\n% x, not\n% x", what, got.raw, want)
	}
}

// TestPortForward: packets to a port of the router reach a host of the LAN,
// whose answers come from where they were sent (RFC 4787 REQ-8 through REQ-12
// are those of masquerade): first packets, confirmed flows, ICMP errors both
// ways, fragments, and an expiring TTL.
func TestPortForward(t *testing.T) {
	inModes(t, testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{natRule{hook: "prerouting", dst: f.rwan, port: 80, ports: [2]uint16{8080, 8080}}.to(f.lanless)}
	})}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, public, server := at(f.wanless, 6100), at(f.rwan, 80), at(f.lanless, 8080)
			udp := func(src, dst netip.AddrPort, ttl uint8) []byte {
				return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, ttl, udpDatagram(src, dst, []byte("message")))
			}
			for i := range 4 { // the later ones on a confirmed flow
				expect(t, fmt.Sprint("request ", i), wan, lan, udp(client, public, 64), udp(client, server, 63))
				expect(t, fmt.Sprint("answer ", i), lan, wan, udp(server, client, 64), udp(public, client, 63))
			}
			if m.xdp != XDPOff && stat(t, d, "xdp_forwarded") == 0 {
				t.Error("nothing forwarded by XDP")
			}
			list := flows(t, d, flow.Filter{Prefix: netip.PrefixFrom(f.wanless, f.wanless.BitLen())})
			if len(list) != 1 || list[0].Original.Src != client || list[0].Original.Dst != public || list[0].Reply.Src != server || list[0].Reply.Dst != client {
				t.Errorf("flows: %+v", list)
			}
			unreachable := pick[uint8](f, 3, 1)
			message := func(src, dst netip.Addr, ttl uint8, quote []byte) []byte {
				return ipPacket(src, dst, icmpProto(src), ttl, icmpMessage(src, dst, unreachable, pick[uint8](f, 3, 4), 0, quote))
			}
			expect(t, "error of the server", lan, wan,
				message(server.Addr(), client.Addr(), 64, udp(client, server, 63)), message(public.Addr(), client.Addr(), 63, udp(client, public, 63)))
			expect(t, "error of the client", wan, lan,
				message(client.Addr(), public.Addr(), 64, udp(public, client, 63)), message(client.Addr(), server.Addr(), 63, udp(server, client, 63)))

			wan.send(udp(client, public, 1))
			p := wan.receive("time exceeded", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.l4[0] == pick[uint8](f, 11, 3) })
			if quoted, ok := parsePacket(p.l4[8:]); !ok || quoted.dst != public || quoted.src != client || p.src.Addr() != public.Addr() || p.wrongChecksum() != "" {
				t.Errorf("time exceeded from %v quotes %v to %v, wrong checksum: %q", p.src, quoted.src, quoted.dst, p.wrongChecksum())
			}
		})
	})
}

// hairpinned is a policy with which hosts of the LAN reach one of them by the
// router's address.
var hairpinned = testPolicy{masquerade: true, nat: bothFamilies(func(f family) []natRule {
	return []natRule{natRule{hook: "prerouting", dst: f.rwan}.to(f.lanless)}
})}

// TestHairpin: a host of the LAN reaches another one by the router's outside
// address, and each sees the other as an address of the router's (RFC 4787
// REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7): queries, datagrams, and errors about
// them.
func TestHairpin(t *testing.T) {
	inModes(t, hairpinned, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			client, public, seen, server := at(f.lan, 6200), at(f.rwan, 80), at(f.rlan, 6200), at(f.lanless, 80)
			udp := func(src, dst netip.AddrPort, ttl uint8) []byte {
				return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, ttl, udpDatagram(src, dst, []byte("message")))
			}
			echo := func(src, dst netip.Addr, typ, ttl uint8) []byte {
				return ipPacket(src, dst, icmpProto(src), ttl, icmpMessage(src, dst, typ, 0, 6200<<16|1, []byte("message")))
			}
			unreachable := pick[uint8](f, 3, 1)
			message := func(src, dst netip.Addr, ttl uint8, quote []byte) []byte {
				return ipPacket(src, dst, icmpProto(src), ttl, icmpMessage(src, dst, unreachable, pick[uint8](f, 3, 4), 0, quote))
			}
			request, reply := pick[uint8](f, 8, 128), pick[uint8](f, 0, 129)
			for i := range 3 {
				expect(t, fmt.Sprint("datagram ", i), lan, lan, udp(client, public, 64), udp(seen, server, 63))
				expect(t, fmt.Sprint("answer ", i), lan, lan, udp(server, seen, 64), udp(public, client, 63))
				expect(t, fmt.Sprint("query ", i), lan, lan, echo(f.lan, f.rwan, request, 64), echo(f.rlan, f.lanless, request, 63))
				expect(t, fmt.Sprint("reply ", i), lan, lan, echo(f.lanless, f.rlan, reply, 64), echo(f.rwan, f.lan, reply, 63))
			}
			expect(t, "error about a datagram", lan, lan,
				message(f.lanless, f.rlan, 64, udp(seen, server, 63)), message(f.rwan, f.lan, 63, udp(client, public, 63)))
			expect(t, "error about an answer", lan, lan,
				message(f.lan, f.rwan, 64, udp(public, client, 63)), message(f.rlan, f.lanless, 63, udp(server, seen, 63)))
			expect(t, "error about a query", lan, lan,
				message(f.lanless, f.rlan, 64, echo(f.rlan, f.lanless, request, 63)), message(f.rwan, f.lan, 63, echo(f.lan, f.rwan, request, 63)))
		})
	})
}

// TestHalfWay: a packet whose both addresses are translated, and that the kernel
// has to fragment, leaves with both.
func TestHalfWay(t *testing.T) {
	inModes(t, hairpinned, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		f := families[0]
		r.batch("r", fmt.Sprintf("route add %s/32 dev lan0 mtu lock 600", f.lanless))
		for i := range 3 {
			client := at(f.lan, uint16(6300+i%2))
			ip := ipPacket(client.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(client, at(f.rwan, 80), make([]byte, 1000)))
			lan.send(ip)
			var payload []byte
			for len(payload) < 1008 {
				p := lan.receive("fragment", func(p packet) bool { return p.dst.Addr() == f.lanless })
				if p.src.Addr() != f.rlan || !p.fragment || p.ttl != 63 || p.wrongChecksum() != "" {
					t.Fatalf("from %v, fragment: %v, TTL %d", p.src, p.fragment, p.ttl)
				}
				payload = append(payload, p.l4...)
			}
			if sum := transportSum(f.rlan, f.lanless, unix.IPPROTO_UDP, payload); sum != 0xffff || binary.BigEndian.Uint16(payload) != client.Port() {
				t.Errorf("datagram %d: from port %d, sum %#x", i, binary.BigEndian.Uint16(payload), sum)
			}
		}
		// The answer of the kernel to one that must not be fragmented goes to
		// the client. As under nftables it quotes what the kernel had.
		client := at(f.lan, 6305)
		ip := ipPacket(client.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(client, at(f.rwan, 80), make([]byte, 1000)))
		ip[6] = 0x40
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:20]))
		lan.send(ip)
		p := lan.receive("too big", func(p packet) bool { return p.proto == unix.IPPROTO_ICMP && p.l4[0] == 3 && p.l4[1] == 4 })
		if quoted, ok := parsePacket(p.l4[8:]); !ok || quoted.src != client || p.dst.Addr() != f.lan {
			t.Errorf("to %v about %v to %v", p.dst, quoted.src, quoted.dst)
		}
	})
}

// TestRedirect: what is sent to anyone reaches the router's own socket, by the
// first address of the interface, and the answers come from there.
func TestRedirect(t *testing.T) {
	inModes(t, testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{{hook: "prerouting", dst: f.wanless, port: 53, flags: natRedirect, ports: [2]uint16{5353, 5353}}}
	})}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		// Not the one that the route to the client has.
		r.batch("r", "addr add 192.168.8.1/24 dev lan0", "addr del 192.168.7.1/24 dev lan0", "addr add 192.168.7.1/24 dev lan0")
		for _, f := range families {
			r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev lan0", f.lanless, r.mac["l/eth0"]))
		}
		inFamilies(t, func(t *testing.T, f family) {
			want := pick(f, netip.MustParseAddr("192.168.8.1"), f.rlan)
			peers := r.echoUDP(t, "r", at(want, 5353))
			c := r.udp(t, "l", at(f.lan, 6400))
			for range 3 {
				if err := exchangeUDP(c, at(f.wanless, 53), []byte("query")); err != nil {
					t.Fatal(err)
				}
			}
			if peer := nextPeer(t, peers); peer != at(f.lan, 6400) {
				t.Errorf("the socket sees %v", peer)
			}
		})
	})
}

// TestOutputDestination: what the router itself sends to one address goes to
// another, by the interface that it is behind, and the answers come back.
func TestOutputDestination(t *testing.T) {
	inModes(t, testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{
			natRule{hook: "output", dst: f.wan, port: 80, ports: [2]uint16{8080, 8080}}.to(f.lan),
			natRule{hook: "output", dst: f.wan, port: 81}.to(f.wan),
		}
	})}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			r.batch("l", pick(f, "route replace 198.51.7.1/32 via 192.168.7.1", "route replace 2001:db8:7::1/128 via fd07::1"))
			for port, host := range map[uint16]struct {
				ns string
				at netip.AddrPort
			}{80: {"l", at(f.lan, 8080)}, 81: {"w", at(f.wan, 81)}} {
				peers := r.echoTCP(t, host.ns, host.at)
				c := r.mustDial(t, "r", at(f.rwan, 6500+port), at(f.wan, port))
				for range 3 {
					if err := exchange(c, "message"); err != nil {
						t.Fatal(err)
					}
				}
				if peer := nextPeer(t, peers); peer != at(f.rwan, 6500+port) {
					t.Errorf("port %d: the server sees %v", port, peer)
				}
				c.SetLinger(0)
				c.Close()
			}
		})
	})
}

// TestOutputUnresolved: what rules send another way than the kernel has chosen gets there also if nobody knows
// the neighbour yet, once, and with its priority.
func TestOutputUnresolved(t *testing.T) {
	const mark = 7
	for name, p := range map[string]testPolicy{
		"nat": {nat: bothFamilies(func(f family) []natRule {
			return []natRule{natRule{hook: "output", dst: f.wan}.to(f.lan)}
		})},
		"route": {routeMark: mark},
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
				r.must("ip", "netns", "exec", r.name+"r", "tc", "qdisc", "add", "dev", "lan0", "root", "handle", "1:", "htb", "default", "2")
				for _, class := range []string{"1:1", "1:2"} {
					r.must("ip", "netns", "exec", r.name+"r", "tc", "class", "add", "dev", "lan0", "classid", class, "htb", "rate", "1gbit")
				}
				lan := r.tap(t, "l")
				inFamilies(t, func(t *testing.T, f family) {
					to := f.lan
					if name == "route" {
						to = f.wan
						for _, args := range []string{fmt.Sprintf("rule add fwmark %d lookup %d", mark, mark), fmt.Sprintf("route add default via %v dev lan0 table %d", f.lan, mark)} {
							r.must(append([]string{"ip", "-n", r.name + "r", pick(f, "-4", "-6")}, strings.Fields(args)...)...)
						}
					}
					r.batch("r", "neigh flush dev lan0")
					c := r.udp(t, "r", at(f.rwan, 6500))
					raw, err := c.SyscallConn()
					if err != nil {
						t.Fatal(err)
					}
					raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 1<<16|1) })
					if err != nil {
						t.Fatal(err)
					}
					before := classPackets(t, r, 1<<16|1)
					if _, err := c.WriteToUDPAddrPort([]byte("message"), at(f.wan, 80)); err != nil {
						t.Fatal(err)
					}
					got := lan.receive("datagram", func(p packet) bool { return p.proto == unix.IPPROTO_UDP })
					if got.dst != at(to, 80) || got.src != at(f.rwan, 6500) {
						t.Errorf("from %v to %v", got.src, got.dst)
					}
					for _, p := range lan.drain() {
						if p.proto == unix.IPPROTO_UDP {
							t.Errorf("a second one, from %v to %v", p.src, p.dst)
						}
					}
					if n := classPackets(t, r, 1<<16|1) - before; n != 1 {
						t.Errorf("%d packets of the priority", n)
					}
				})
			})
		})
	}
}

// classPackets is how many packets a class of lan0's htb has sent.
func classPackets(t *testing.T, r *router, handle uint32) uint32 {
	t.Helper()
	var classes []netlink.Class
	r.in("r", func() error {
		link, err := netlink.LinkByName("lan0")
		if err == nil {
			classes, err = netlink.ClassList(link, 0)
		}
		return err
	})
	for _, c := range classes {
		if c.Attrs().Handle == handle {
			return c.Attrs().Statistics.Basic.Packets
		}
	}
	t.Fatalf("no class %x: %v", handle, classes)
	return 0
}

// TestInputSource: a socket of the router's sees the translated source.
func TestInputSource(t *testing.T) {
	inModes(t, testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{
			natRule{hook: "input", dst: f.rlan, port: 90, ports: [2]uint16{7000, 7000}}.to(f.lan2),
			natRule{hook: "input", dst: f.rlan, port: 91}.to(f.rwan),
		}
	})}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			peers := r.echoUDP(t, "r", at(f.rlan, 90))
			c := r.udp(t, "l", at(f.lan, 6600))
			for range 3 {
				if err := exchangeUDP(c, at(f.rlan, 90), []byte("query")); err != nil {
					t.Fatal(err)
				}
			}
			if peer := nextPeer(t, peers); peer != at(f.lan2, 7000) {
				t.Errorf("the socket sees %v", peer)
			}
			before := stat(t, d, "drop_nat_local")
			if err := exchangeUDP(c, at(f.rlan, 91), []byte("query")); err == nil {
				t.Error("answered by way of lo")
			}
			if stat(t, d, "drop_nat_local") == before {
				t.Error("not counted as drop_nat_local")
			}
		})
	})
}

// TestRange: addresses of a range are spread over sockets, and with persistent
// the same for whatever a client sends to.
func TestRange(t *testing.T) {
	last := func(a netip.Addr, n byte) netip.Addr {
		b := a.AsSlice()
		b[len(b)-1] = n
		a, _ = netip.AddrFromSlice(b)
		return a
	}
	rules := func(flags uint32) []natRule {
		return bothFamilies(func(f family) []natRule {
			var all []natRule
			for n := range byte(8) {
				all = append(all, natRule{hook: "postrouting", dst: last(f.wan, 100+n), flags: flags, min: last(f.rwan, 201), max: last(f.rwan, 211)})
			}
			return all
		})
	}
	for _, persistent := range []bool{false, true} {
		flags := uint32(0)
		if persistent {
			flags = natPersistent
		}
		t.Run(fmt.Sprintf("persistent=%v", persistent), func(t *testing.T) {
			inModes(t, testPolicy{nat: rules(flags)}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				lan, wan := r.tap(t, "l"), r.tap(t, "w")
				inFamilies(t, func(t *testing.T, f family) {
					used := map[netip.Addr]int{}
					several := 0
					for client := range byte(20) {
						own := map[netip.Addr]bool{}
						for n := range byte(8) {
							src, dst := at(last(f.lan, 100+client), 6700+8*uint16(client)+uint16(n)), at(last(f.wan, 100+n), 80)
							if client == 0 {
								r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev wan0", dst.Addr(), r.mac["w/eth0"]))
							}
							lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
							p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
							if a := p.src.Addr(); a.Less(last(f.rwan, 201)) || last(f.rwan, 211).Less(a) || p.src.Port() != src.Port() || p.wrongChecksum() != "" {
								t.Fatalf("from %v", p.src)
							}
							used[p.src.Addr()]++
							own[p.src.Addr()] = true
						}
						if len(own) > 1 {
							several++
						}
					}
					if len(used) < 7 {
						t.Errorf("not spread: %v", used)
					}
					if persistent != (several == 0) {
						t.Errorf("%d of 20 clients have several addresses", several)
					}
				})
			})
		})
	}
}

// TestRangeTaken: who has an address of the range, and whose own tuple is taken, gets another address before it gets
// another port.
func TestRangeTaken(t *testing.T) {
	p := testPolicy{nat: bothFamilies(func(f family) []natRule {
		last := f.wanless.AsSlice()
		last[len(last)-1] += 15
		max, _ := netip.AddrFromSlice(last)
		return []natRule{
			natRule{hook: "postrouting", dst: f.lan, flags: natPersistent, min: f.wanless, max: max},
			natRule{hook: "postrouting", dst: f.wanless}.to(f.rwan),
		}
	})}
	inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, server := at(f.lan, 5000), at(f.wanless, 5353)
			r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev lan0", f.lan, r.mac["l/eth0"]))
			lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(client, server, flagSYN)))
			if p := wan.receive("segment", func(p packet) bool { return p.dst == server }); p.src.Addr() != f.rwan {
				t.Fatalf("from %v", p.src)
			}
			wan.send(ipPacket(server.Addr(), client.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(server, client, flagSYN)))
			p := lan.receive("segment", func(p packet) bool { return p.dst == client })
			if p.src.Port() != server.Port() || p.src.Addr() == server.Addr() {
				t.Errorf("from %v", p.src)
			}
		})
	})
}

// TestDestinationRange: a socket that sends to more ports than a search tries in a
// row gets another destination port for each, the first of the range that is free
// and later one from elsewhere in it, and keeps its own.
func TestDestinationRange(t *testing.T) {
	const (
		low, high = 2000, 61999
		row       = 128 // NAT_TRIES of bpf/lib/nat.h
	)
	p := testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{natRule{hook: "prerouting", dst: f.rwan, ports: [2]uint16{low, high}}.to(f.lanless)}
	})}
	inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, taken := at(f.wanless, 6800), map[uint16]int{}
			for n := range row + 12 {
				public := at(f.rwan, uint16(1000+n))
				wan.send(ipPacket(client.Addr(), public.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, public, nil)))
				got := lan.receive("datagram", func(p packet) bool { return p.proto == unix.IPPROTO_UDP && p.dst.Addr() == f.lanless })
				port := got.dst.Port()
				if got.src != client || port < low || port > high {
					t.Fatalf("flow %d: from %v to %v", n, got.src, got.dst)
				}
				if before, ok := taken[port]; ok {
					t.Fatalf("flow %d has the port of flow %d", n, before)
				}
				if taken[port] = n; n < row && port != uint16(low+n) {
					t.Errorf("flow %d: to port %d, not the first that is free", n, port)
				}
			}
		})
	})
}

// TestAllocator fills a range of ports: each flow has one of its own, to the
// last, and then none; ports that are freed are found again.
func TestAllocator(t *testing.T) {
	const size = 100
	for _, random := range []bool{false, true} {
		flags := uint32(0)
		if random {
			flags = natRandom
		}
		t.Run(fmt.Sprintf("random=%v", random), func(t *testing.T) {
			inModes(t, testPolicy{nat: bothFamilies(func(f family) []natRule {
				return []natRule{natRule{hook: "postrouting", dst: f.wanless, flags: flags, ports: [2]uint16{3000, 3000 + size - 1}}.to(f.rwan)}
			})}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				lan, wan := r.tap(t, "l"), r.tap(t, "w")
				inFamilies(t, func(t *testing.T, f family) {
					dst := at(f.wanless, 80)
					owner := map[netip.AddrPort]netip.AddrPort{}
					send := func(n int) (src netip.AddrPort) {
						src = at(f.lanless, uint16(20000+n))
						lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
						return src
					}
					for n := range size {
						src := send(n)
						p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
						if p.src.Addr() != f.rwan || p.src.Port() < 3000 || p.src.Port() >= 3000+size {
							t.Fatalf("flow %d: from %v", n, p.src)
						}
						if before, ok := owner[p.src]; ok {
							t.Fatalf("flow %d: %v has the port of %v", n, src, before)
						}
						owner[p.src] = src
					}
					before := stat(t, d, "drop_nat_exhausted")
					for n := range 5 {
						send(size + n)
					}
					if n := stat(t, d, "drop_nat_exhausted") - before; n != 5 {
						t.Errorf("%d drops of 5 counted", n)
					}
					for _, p := range wan.drain() {
						if p.dst == dst { // and no neighbour discovery of the hosts'
							t.Errorf("%v got a port", p.src)
						}
					}
					if n := deleteFlows(t, d, flow.Filter{Port: 20042, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())}); n != 1 {
						t.Fatalf("%d flows deleted", n)
					}
					send(size + 9)
					p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
					if owner[p.src] != at(f.lanless, 20042) {
						t.Errorf("from %v, of %v", p.src, owner[p.src])
					}
				})
			})
		})
	}
}

// TestAllocatorFill searches ranges of ports that are taken by some part: flows
// get what is free, each another one, or nothing, after a bounded number of
// tries; and ports of dead flows.
func TestAllocatorFill(t *testing.T) {
	const (
		size     = 500
		low      = 3000
		searches = 20
		maxTries = 128 + 64 + 32 + 16 + 8 // NAT_TRIES of bpf/lib/nat.h
	)
	p := testPolicy{nat: bothFamilies(func(f family) []natRule {
		return []natRule{natRule{hook: "postrouting", dst: f.wanless, ports: [2]uint16{low, low + size - 1}}.to(f.rwan)}
	})}
	inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
		cfg := r.config(p)
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		cfg.MaxHalfOpen, cfg.Timeouts.UDPUnreplied = 1<<16, time.Hour // none is evicted, and none dies
		cfg.NAT.Mapping = flow.EndpointDependent                      // see TestMappingFill
		d = r.mustApply(cfg)
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for i, percent := range []int{10, 50, 90, 100} {
				t.Run(fmt.Sprint(percent), func(t *testing.T) {
					dst := at(f.wanless, uint16(81+i))
					owner := map[uint16]netip.AddrPort{}
					send := func(src netip.AddrPort) {
						lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
					}
					// taken notes the port of the flow that was begun last.
					taken := func(src netip.AddrPort) uint16 {
						t.Helper()
						p := wan.receive("datagram", func(p packet) bool { return p.dst == dst })
						port := p.src.Port()
						if p.src.Addr() != f.rwan || port < low || port >= low+size {
							t.Fatalf("%v: from %v", src, p.src)
						}
						if before, ok := owner[port]; ok {
							t.Fatalf("%v has the port of %v", src, before)
						}
						owner[port] = src
						return port
					}
					fill := rand.New(rand.NewPCG(uint64(percent), 0)).Perm(size)[:size*percent/100]
					for _, n := range fill {
						src := at(f.lanless, uint16(low+n))
						send(src)
						if port := taken(src); port != src.Port() {
							t.Fatalf("%v: a free port became %d", src, port)
						}
					}
					before := stats(t, d)
					for n := range searches {
						src := at(f.lanless, uint16(20000+n))
						send(src)
						if percent < 100 {
							taken(src)
						}
					}
					exhausted := uint64(0)
					if percent == 100 {
						exhausted = searches
					}
					eventually(t, patience, "the drops", func() bool {
						return stat(t, d, "drop_nat_exhausted")-before["drop_nat_exhausted"] >= exhausted
					})
					after := stats(t, d)
					grown := func(names ...string) (n uint64) {
						for _, name := range names {
							n += after[name] - before[name]
						}
						return n
					}
					if n := grown("drop_nat_exhausted"); n != exhausted {
						t.Errorf("%d drops counted, not %d", n, exhausted)
					}
					if n := grown("nat_tries_8", "nat_tries_64", "nat_tries_248"); n != searches-exhausted {
						t.Errorf("%d searches that found a port counted, not %d", n, searches-exhausted)
					}
					tries := grown("nat_tries")
					if least := searches - exhausted + maxTries*exhausted; tries < least || tries > maxTries*searches {
						t.Errorf("%d tries for %d searches", tries, searches)
					}
					t.Logf("%d tries: %d searches up to 8, %d up to 64, %d more", tries, grown("nat_tries_8"), grown("nat_tries_64"), grown("nat_tries_248"))

					// Two of the flows are dead, and not collected yet: one port is
					// asked for, the other found.
					for i, asked := range []bool{true, false} {
						port := uint16(low + fill[i])
						expire(t, d, owner[port], dst)
						delete(owner, port)
						src := at(f.lan2, port)
						for n := range 200 {
							if !asked {
								src = at(f.lan2, uint16(30000+n))
							}
							before := stats(t, d)
							send(src)
							var begun bool
							eventually(t, patience, "decision", func() bool {
								now := stats(t, d)
								begun = now["flow_new"] > before["flow_new"]
								return begun || now["drop_nat_exhausted"] > before["drop_nat_exhausted"]
							})
							if begun {
								break
							}
						}
						if got := taken(src); (asked || percent == 100) && got != port {
							t.Errorf("%v has %d, not %d", src, got, port)
						}
					}
					// Nothing was sent on that was not expected.
					for _, p := range wan.drain() {
						if p.dst == dst {
							t.Errorf("from %v", p.src)
						}
					}
				})
			}
		})
	})
}

// stats are all statistics.
func stats(t *testing.T, d *Dataplane) map[string]uint64 {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Stats
}

// expire has a half-open flow die.
func expire(t *testing.T, d *Dataplane, src, dst netip.AddrPort) {
	t.Helper()
	ended := 0
	err := d.Map("l2_half_open", func(m *ebpf.Map) error {
		var key l2TCTuple
		var f l2TCFlow
		dead := map[l2TCTuple]l2TCFlow{}
		it := m.Iterate()
		for it.Next(&key, &f) {
			is := func(addr [16]uint8, port uint16, want netip.AddrPort) bool {
				return string(addr[:]) == string(padded(want.Addr())) && port == swap16(want.Port())
			}
			if is(key.Saddr, key.Sport, src) && is(key.Daddr, key.Dport, dst) || is(f.Out.Daddr, f.Out.Dport, src) && is(f.Out.Saddr, f.Out.Sport, dst) {
				f.Expires = f.Created - 1
				dead[key] = f
			}
		}
		for key, f := range dead {
			if err := m.Update(&key, &f, ebpf.UpdateExist); err != nil {
				return err
			}
			ended++
		}
		return it.Err()
	})
	if err != nil || ended != 2 {
		t.Fatalf("%v: %d entries, %v", src, ended, err)
	}
}
