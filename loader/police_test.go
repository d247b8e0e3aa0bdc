// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/policy"
)

// ECN fields.
const (
	ect1      = 1
	congested = 3
)

// TestPolice: what is over the limit of a rule is dropped, but for packets of L4S where
// these are to be marked: translated or not, in both directions.
func TestPolice(t *testing.T) {
	for _, marks := range []bool{false, true} {
		for _, nat := range []string{"", "chain n { type nat hook postrouting priority srcnat; masquerade; }"} {
			p := compiledWith(t, policy.Options{MarkECT1: marks}, `table inet t {
				`+nat+`
				chain forward {
					type filter hook forward priority filter; policy accept
					meta l4proto udp limit rate over 1/day burst 1 packets counter drop
				}
			}`)
			t.Run(fmt.Sprintf("marks=%v,nat=%v", marks, nat != ""), func(t *testing.T) {
				inModes(t, p, func(t *testing.T, r *router, d *Dataplane, m mode) {
					lan, wan := r.tap(t, "l"), r.tap(t, "w")
					send := func(f family, ecn byte, payload []byte) {
						src, dst := at(f.lanless, 6400), at(f.wanless, 6500)
						lan.send(withECN(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 9, udpDatagram(src, dst, payload)), ecn))
					}
					send(families[0], 0, noise(50)) // takes what the limit lets go
					wan.receive("the one within the limit", func(p packet) bool { return p.proto == unix.IPPROTO_UDP && bytes.HasSuffix(p.raw, noise(50)) })
					wanted := uint64(0)
					inFamilies(t, func(t *testing.T, f family) {
						for ecn := range byte(4) {
							payload := noise(100 + int(ecn))
							isIt := func(p packet) bool { return p.proto == unix.IPPROTO_UDP && bytes.HasSuffix(p.raw, payload) }
							before := stat(t, d, "policer_marked")
							send(f, ecn, payload)
							if !marks || ecn != ect1 && ecn != congested {
								for _, p := range wan.drain() {
									if isIt(p) {
										t.Errorf("ECN %d goes on", ecn)
									}
								}
								continue
							}
							wanted++
							got := wan.receive("a marked datagram", isIt)
							if ecnOf(got.raw) != congested {
								t.Errorf("ECN %d becomes %d", ecn, ecnOf(got.raw))
							}
							if bad := got.wrongChecksum(); bad != "" {
								t.Errorf("ECN %d: wrong checksum: %s", ecn, bad)
							}
							if n := stat(t, d, "policer_marked") - before; n != 1 {
								t.Errorf("ECN %d: %d are counted", ecn, n)
							}
							// The answer, too.
							answer := noise(200 + int(ecn))
							from, to := at(f.wanless, 6500), got.src
							wan.send(withECN(ipPacket(from.Addr(), to.Addr(), unix.IPPROTO_UDP, 9, udpDatagram(from, to, answer)), ect1))
							back := lan.receive("a marked answer", func(p packet) bool { return p.proto == unix.IPPROTO_UDP && bytes.HasSuffix(p.raw, answer) })
							if bad := back.wrongChecksum(); ecnOf(back.raw) != congested || bad != "" {
								t.Errorf("the answer has %d %s", ecnOf(back.raw), bad)
							}
							wanted++
						}
					})
					if n := stat(t, d, "policer_marked"); n != wanted {
						t.Errorf("%d are counted, not %d", n, wanted)
					}
				})
			})
		}
	}
}
