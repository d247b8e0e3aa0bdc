// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// withECN is a packet with another ECN field.
func withECN(ip []byte, ecn byte) []byte {
	if ip[0]>>4 == 6 {
		ip[1] = ip[1]&^0x30 | ecn<<4
		return ip
	}
	ip[1] = ip[1]&^3 | ecn
	return withHeaderChecksum(ip)
}

// ecnOf is the ECN field of a packet.
func ecnOf(ip []byte) byte {
	if ip[0]>>4 == 6 {
		return ip[1] >> 4 & 3
	}
	return ip[1] & 3
}

// TestECN: the field is as the sender, or a queue on the way, has it: in both directions,
// translated or not, in the packets that errors quote, and whichever program forwards.
func TestECN(t *testing.T) {
	for _, masquerade := range []bool{false, true} {
		t.Run(fmt.Sprintf("masquerade=%v", masquerade), func(t *testing.T) {
			inModes(t, testPolicy{masquerade: masquerade}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				lan, wan := r.tap(t, "l"), r.tap(t, "w")
				inFamilies(t, func(t *testing.T, f family) {
					for ecn := range byte(4) {
						src, dst := at(f.lanless, 6400+uint16(ecn)), at(f.wanless, 6500)
						for round := range 3 { // a flow that both ends have used is XDP's, if it can be
							payload := noise(100 + round)
							isIt := func(p packet) bool { return p.proto == unix.IPPROTO_UDP && bytes.HasSuffix(p.raw, payload) }
							lan.send(withECN(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 9, udpDatagram(src, dst, payload)), ecn))
							there := wan.receive("datagram", isIt)
							if got := ecnOf(there.raw); got != ecn {
								t.Errorf("to the server, round %d: %d, not %d", round, got, ecn)
							}
							if translated := there.src.Addr() != src.Addr(); translated != masquerade {
								t.Fatalf("it comes from %v", there.src)
							}
							payload = noise(200 + round)
							wan.send(withECN(ipPacket(dst.Addr(), there.src.Addr(), unix.IPPROTO_UDP, 9, udpDatagram(dst, there.src, payload)), 3-ecn))
							back := lan.receive("answer", isIt)
							if got := ecnOf(back.raw); got != 3-ecn {
								t.Errorf("to the client, round %d: %d, not %d", round, got, 3-ecn)
							}
							for _, p := range []packet{there, back} {
								if bad := p.wrongChecksum(); bad != "" {
									t.Errorf("wrong checksum: %s", bad)
								}
							}
							// A router behind is told of congestion that the sender must see in the quote.
							quote := withECN(bytes.Clone(there.raw), 3)
							unreachable, code := pick[uint8](f, 3, 1), pick[uint8](f, 1, 3)
							wan.send(withECN(ipPacket(f.wan, there.src.Addr(), icmpProto(f.lan), 9, icmpMessage(f.wan, there.src.Addr(), unreachable, code, 0, quote)), ecn))
							told := lan.receive("error", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.l4[0] == unreachable })
							if got, quoted := ecnOf(told.raw), ecnOf(told.l4[8:]); got != ecn || quoted != 3 {
								t.Errorf("an error, round %d: %d, not %d, quotes %d, not 3", round, got, ecn, quoted)
							}
							if bad := told.wrongChecksum(); bad != "" {
								t.Errorf("an error: wrong checksum: %s", bad)
							}
						}
					}
				})
			})
		})
	}
}
