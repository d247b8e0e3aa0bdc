// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrefix: what RFC 6296 wants of addresses of one prefix that stand for those of
// another: the rest of the address stays, whatever the protocol, from inside and from
// outside, in what errors quote, and between two hosts inside. What is not met: it does
// have flows, and checksums change.
func TestPrefix(t *testing.T) {
	p := compiled(t, `
table ip6 nat {
	chain pre {
		type nat hook prerouting priority -100; policy accept;
		ip6 daddr 2001:db8:99::/64 dnat ip6 prefix to fd07::/64
	}
	chain post {
		type nat hook postrouting priority 100; policy accept;
		ip6 saddr fd07::/64 snat ip6 prefix to 2001:db8:99::/64
	}
}`)
	inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[1]
		inside := func(host string) netip.Addr { return netip.MustParseAddr("fd07::" + host) }
		outside := func(host string) netip.Addr { return netip.MustParseAddr("2001:db8:99::" + host) }
		packet := func(proto uint8, src, dst netip.AddrPort, hops uint8) []byte {
			return ipPacket(src.Addr(), dst.Addr(), proto, hops, transportOf(proto, src, dst))
		}
		for i, proto := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMPV6, 47, 253} {
			// The second one would be the first one's port's, if ports were translated.
			for _, host := range []string{"50", "1234:5678:9abc:51"} {
				src, seen, server := at(inside(host), uint16(6000+i)), at(outside(host), uint16(6000+i)), at(f.wanless, 7)
				r.batch("r", "neigh replace "+src.Addr().String()+" lladdr "+r.mac["l/eth0"].String()+" dev lan0")
				for range 3 { // the later ones on a confirmed flow
					expect(t, "from inside", lan, wan, packet(proto, src, server, 64), packet(proto, seen, server, 63))
					if proto == unix.IPPROTO_UDP || proto == 253 {
						expect(t, "answer", wan, lan, packet(proto, server, seen, 64), packet(proto, server, src, 63))
					}
				}
				message := func(src, dst netip.Addr, hops uint8, quote []byte) []byte {
					return ipPacket(src, dst, unix.IPPROTO_ICMPV6, hops, icmpMessage(src, dst, 1, 1, 0, quote))
				}
				expect(t, "error", wan, lan, message(f.wan, seen.Addr(), 64, packet(proto, seen, server, 63)),
					message(f.wan, src.Addr(), 63, packet(proto, src, server, 63)))
			}
		}
		// Nobody inside has sent to this one.
		client := at(f.wan, 6100)
		expect(t, "from outside", wan, lan, packet(unix.IPPROTO_TCP, client, at(outside("2"), 80), 64), packet(unix.IPPROTO_TCP, client, at(inside("2"), 80), 63))
		// Each sees the other one's address outside.
		expect(t, "between hosts inside", lan, lan, packet(unix.IPPROTO_UDP, at(inside("50"), 6101), at(outside("3"), 80), 64),
			packet(unix.IPPROTO_UDP, at(outside("50"), 6101), at(inside("3"), 80), 63))
		expect(t, "its answer", lan, lan, packet(unix.IPPROTO_UDP, at(inside("3"), 80), at(outside("50"), 6101), 64),
			packet(unix.IPPROTO_UDP, at(outside("3"), 80), at(inside("50"), 6101), 63))
		if m.xdp != XDPOff && stat(t, d, "xdp_forwarded") == 0 {
			t.Error("nothing forwarded by XDP")
		}
	})
}
