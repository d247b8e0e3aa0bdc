// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// errorsTo counts the ICMP errors to an address.
func errorsTo(list []packet, dst netip.Addr) (n int) {
	for _, p := range list {
		query := pick(family{lan: dst}, p.l4[0] == 0 || p.l4[0] == 8, p.l4[0] >= 128)
		if p.proto == icmpProto(dst) && p.dst.Addr() == dst && !query {
			n++
		}
	}
	return n
}

// TestNoErrors: what may provoke no error provokes none, with a TTL that runs out
// (RFC 1812 4.3.2.7, RFC 4443 2.4e).
func TestNoErrors(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			src, dst := at(f.lanless, 6100), at(f.wanless, 6101)
			datagram := udpDatagram(src, dst, noise(40))
			unreachable := pick[uint8](f, 3, 1)
			quote := ipPacket(f.wanless, f.lanless, unix.IPPROTO_UDP, 64, udpDatagram(dst, src, nil))
			everyone := net.HardwareAddr{255, 255, 255, 255, 255, 255}
			group := pick(f, netip.MustParseAddr("224.1.2.3"), netip.MustParseAddr("ff0e::123"))
			for name, c := range map[string]struct {
				to   net.HardwareAddr
				ip   []byte
				want int
			}{
				"error":          {lan.router, ipPacket(f.lanless, f.wanless, icmpProto(f.lan), 1, icmpMessage(f.lanless, f.wanless, unreachable, 1, 0, quote)), 0},
				"for everyone":   {everyone, ipPacket(f.lanless, f.wanless, unix.IPPROTO_UDP, 1, datagram), 0},
				"group":          {lan.router, ipPacket(f.lanless, group, unix.IPPROTO_UDP, 1, udpDatagram(src, at(group, 6101), nil)), 0},
				"later fragment": {lan.router, withTTL(fragmentOf(f.lanless, f.wanless, unix.IPPROTO_UDP, 77, datagram, piece{24, 48, false}), 1), 0},
				"datagram":       {lan.router, ipPacket(f.lanless, f.wanless, unix.IPPROTO_UDP, 1, datagram), 1},
			} {
				t.Run(name, func(t *testing.T) {
					lan.drain()
					if _, err := unix.Write(lan.fd, frame(lan.from, c.to, c.ip)); err != nil {
						t.Fatal(err)
					}
					if c.want > 0 {
						lan.receive("error", func(p packet) bool { return errorsTo([]packet{p}, f.lanless) == 1 })
						return
					}
					time.Sleep(100 * time.Millisecond)
					if n := errorsTo(lan.drain(), f.lanless); n != 0 {
						t.Errorf("%d errors", n)
					}
				})
			}
		})
	})
}

// withTTL is a packet with another TTL.
func withTTL(ip []byte, ttl uint8) []byte {
	if ip[0]>>4 == 6 {
		ip[7] = ttl
		return ip
	}
	ip[8] = ttl
	return withHeaderChecksum(ip)
}

// TestErrorRate: the kernel's limit of errors is in force (RFC 1812 4.3.2.8,
// RFC 4443 2.4f).
func TestErrorRate(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		// One in twenty seconds or five, after a few at the beginning.
		r.in("r", func() error { return sysctls("ipv4/icmp_ratelimit=20000", "ipv6/icmp/ratelimit=20000") })
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			const sent = 100
			before := stat(t, d, "to_kernel")
			for n := range uint16(sent) {
				src, dst := at(f.lanless, 6200+n), at(f.wanless, 6101)
				lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 1, udpDatagram(src, dst, nil)))
			}
			eventually(t, patience, "all packets", func() bool { return stat(t, d, "to_kernel")-before == sent })
			lan.receive("error", func(p packet) bool { return errorsTo([]packet{p}, f.lanless) == 1 })
			time.Sleep(100 * time.Millisecond)
			if n := 1 + errorsTo(lan.drain(), f.lanless); n > sent/10 {
				t.Errorf("%d errors about %d packets", n, sent)
			}
		})
	})
}

// TestNoRoute: the kernel tells the sender of a packet that nothing leads to (RFC 1812
// 5.2.7.1, RFC 4443 3.1), if the input chain lets it have the packet.
func TestNoRoute(t *testing.T) {
	for _, dropInput := range []bool{false, true} {
		t.Run(fmt.Sprintf("dropInput=%v", dropInput), func(t *testing.T) {
			inModes(t, testPolicy{masquerade: true, dropInput: dropInput}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				lan := r.tap(t, "l")
				inFamilies(t, func(t *testing.T, f family) {
					nowhere := pick(f, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:a::9"))
					src, dst := at(f.lanless, 6110), at(nowhere, 6111)
					dropped := stat(t, d, "drop_policy")
					lan.drain()
					lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
					if !dropInput {
						p := lan.receive("error", func(p packet) bool { return errorsTo([]packet{p}, f.lanless) == 1 })
						if p.l4[0] != pick[uint8](f, 3, 1) || p.l4[1] != 0 || p.src.Addr() != f.rlan {
							t.Errorf("type %d, code %d from %v", p.l4[0], p.l4[1], p.src)
						}
						return
					}
					eventually(t, patience, "drop_policy", func() bool { return stat(t, d, "drop_policy") > dropped })
					if n := errorsTo(lan.drain(), f.lanless); n != 0 {
						t.Errorf("%d errors", n)
					}
				})
			})
		})
	}
}

// TestNoSourceQuench: who sends more than a link takes is not told so by an ICMP message
// (RFC 1812 4.3.3.3, RFC 6633).
func TestNoSourceQuench(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.must("ip", "netns", "exec", r.name+"r", "tc", "qdisc", "replace", "dev", "wan0", "root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "1600")
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			const sent = 50
			lan.drain()
			before := stat(t, d, "tc_forwarded")
			for n := range uint16(sent) {
				src, dst := at(f.lanless, 6400+n), at(f.wanless, 6120)
				lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, make([]byte, 500))))
			}
			eventually(t, patience, "all packets", func() bool { return stat(t, d, "tc_forwarded")-before == sent })
			if n := len(wan.drain()); n >= sent/2 {
				t.Errorf("%d of %d packets through a link that takes a few", n, sent)
			}
			if n := errorsTo(lan.drain(), f.lanless); n != 0 {
				t.Errorf("%d errors", n)
			}
		})
	})
}

// TestDeviations: where docs/rfc-compliance.md says that a requirement is not met,
// that is how it is, and not worse.
func TestDeviations(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			client, server := at(f.lanless, 6300), at(f.wanless, 6301)
			there := func(ip []byte) packet {
				t.Helper()
				lan.send(ip)
				return wan.receive("datagram", func(p packet) bool { return p.dst == server })
			}
			datagram := ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, server, nil))
			arrived := there(datagram)

			t.Run("error with a wrong checksum", func(t *testing.T) {
				for name, harm := range map[string]func(message, quote []byte){
					"of its own":       func(message, _ []byte) { message[2] ^= 0x55 },
					"of its quotation": func(_, quote []byte) { quote[10] ^= 0x55 },
				} {
					if f.lan.Is6() && name == "of its quotation" {
						continue // the header has none
					}
					quote := append([]byte(nil), arrived.raw...)
					harm(make([]byte, 8), quote)
					message := icmpMessage(f.wanless, f.rwan, pick[uint8](f, 3, 1), 1, 0, quote)
					harm(message, make([]byte, 20))
					wan.send(ipPacket(f.wanless, f.rwan, icmpProto(f.wan), 64, message))
					p := lan.receive("error", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.dst.Addr() == f.lanless && len(p.l4) > 28 })
					wrong := p.wrongChecksum() != ""
					if name != "of its own" {
						wrong = sum16(p.l4[8:28]) != 0xffff
					}
					if !wrong {
						t.Errorf("%s: it was put right", name)
					}
				}
			})
			t.Run("identification", func(t *testing.T) {
				if f.lan.Is6() {
					t.Skip("IPv4's")
				}
				ip := append([]byte(nil), datagram...)
				binary.BigEndian.PutUint16(ip[4:], 0x1234)
				if p := there(withHeaderChecksum(ip)); binary.BigEndian.Uint16(p.raw[4:]) != 0x1234 {
					t.Errorf("identification %x", p.raw[4:6])
				}
			})
			for name, options := range map[string][]byte{
				"record route":                 {7, 7, 4, 0, 0, 0, 0, 0},
				"option longer than there are": {7, 39, 4, 0, 0, 0, 0, 0},
			} {
				t.Run(name, func(t *testing.T) {
					if f.lan.Is6() {
						t.Skip("IPv4's")
					}
					ip := append(append(append([]byte(nil), datagram[:20]...), options...), datagram[20:]...)
					ip[0] += 2
					binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
					ip[10], ip[11] = 0, 0
					binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:28]))
					if p := there(ip); string(p.raw[20:28]) != string(options) {
						t.Errorf("options % x", p.raw[20:28])
					}
				})
			}
			t.Run("no redirect", func(t *testing.T) {
				// Both are at the LAN, and the router does not tell them so.
				lan.drain()
				other := at(f.lan2, 6302)
				lan.send(ipPacket(client.Addr(), other.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, other, nil)))
				lan.receive("datagram", func(p packet) bool { return p.dst == other })
				time.Sleep(100 * time.Millisecond)
				for _, p := range lan.drain() {
					if p.proto == icmpProto(f.lan) && p.l4[0] == pick[uint8](f, 5, 137) {
						t.Errorf("redirect to %v", p.dst)
					}
				}
			})
			t.Run("the router's address as a source", func(t *testing.T) {
				there(ipPacket(f.rlan, server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(at(f.rlan, 6303), server, nil)))
			})
			t.Run("neighbour that does not answer", func(t *testing.T) {
				lan.drain()
				nobody := at(pick(f, netip.MustParseAddr("198.51.7.99"), netip.MustParseAddr("2001:db8:7::99")), 6304)
				r.in("r", func() error { return sysctls(fmt.Sprintf("%s/neigh/wan0/retrans_time_ms=50", pick(f, "ipv4", "ipv6"))) })
				lan.send(ipPacket(client.Addr(), nobody.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, nobody, nil)))
				eventually(t, patience, "failed neighbour", func() bool {
					out, err := r.host("r", "ip", "neigh", "show", nobody.Addr().String()).CombinedOutput()
					return err == nil && len(out) > 0 && string(out[len(out)-8:len(out)-2]) == "FAILED"
				})
				time.Sleep(100 * time.Millisecond)
				if n := errorsTo(lan.drain(), f.lanless); n != 0 {
					t.Errorf("%d errors", n)
				}
			})
			t.Run("network on both sides", func(t *testing.T) {
				// The LAN's: what is beyond the WAN is not reached.
				lan.send(ipPacket(client.Addr(), f.lan2, unix.IPPROTO_UDP, 64, udpDatagram(client, at(f.lan2, 6305), nil)))
				lan.receive("datagram", func(p packet) bool { return p.dst == at(f.lan2, 6305) })
			})
		})
	})
}
