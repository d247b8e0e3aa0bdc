// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// TestInterfacesOfFlows: a flow tells by which interfaces it goes, from its
// first packet on, through both programs, and as the router's own.
func TestInterfacesOfFlows(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, _ mode) {
		lan0, wan0 := strconv.Itoa(r.index("lan0")), strconv.Itoa(r.index("wan0"))
		inFamilies(t, func(t *testing.T, f family) {
			check := func(what string, filter flow.Filter, in, out string) {
				t.Helper()
				list := flows(t, d, filter)
				if len(list) != 1 || list[0].In != in || list[0].Out != out {
					t.Errorf("%s: %v, not one flow from %q to %q", what, list, in, out)
				}
			}
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			src, dst := at(f.lanless, 6020), at(f.wanless, 80)
			lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			first := wan.receive("first packet", func(p packet) bool { return p.dst == dst })
			check("first packet", flow.Filter{OrigSrcPort: 6020, Prefix: prefixOf(f.lanless)}, lan0, wan0)

			wan.send(ipPacket(dst.Addr(), first.src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, first.src, nil)))
			lan.receive("answer", func(p packet) bool { return p.dst == src })
			check("confirmed", flow.Filter{OrigSrcPort: 6020, Prefix: prefixOf(f.lanless)}, lan0, wan0)

			r.echoUDP(t, "w", at(f.wan, 8021))
			if err := exchangeUDP(r.udp(t, "r", at(f.rwan, 6021)), at(f.wan, 8021), []byte("of the router")); err != nil {
				t.Error(err)
			}
			check("of the router", flow.Filter{OrigSrcPort: 6021, Prefix: prefixOf(f.wan)}, "", wan0)
			r.echoUDP(t, "r", at(f.rlan, 8022))
			if err := exchangeUDP(r.udp(t, "l", at(f.lan, 6022)), at(f.rlan, 8022), []byte("to the router")); err != nil {
				t.Error(err)
			}
			check("to the router", flow.Filter{OrigSrcPort: 6022, Prefix: prefixOf(f.lan)}, lan0, "")
		})
	})
}

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
