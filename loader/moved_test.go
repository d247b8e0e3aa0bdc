// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// TestMasqueradeMoved: a flow that is masqueraded ends when its packets go by another
// interface than its first one, as nf_nat_oif_changed() has it. One packet is lost; the
// next has the address of the other interface.
func TestMasqueradeMoved(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			src, dst := at(f.lanless, 6400), at(f.wanless, 6401)
			there := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
			isThere := func(p packet) bool { return p.dst == dst }
			lan.send(there)
			first := wan.receive("first packet", isThere)
			wan.send(ipPacket(dst.Addr(), first.src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, first.src, nil)))
			lan.receive("answer", func(p packet) bool { return p.dst == src })
			lan.send(there)
			if p := wan.receive("packet of the flow", isThere); p.src != first.src {
				t.Fatalf("from %v, and not %v as before", p.src, first.src)
			}

			events := r.watch(t, d)
			r.hear(d, flow.KindDestroy, 0)
			before := stat(t, d, "drop_nat_moved")
			to := prefixOf(dst.Addr()).String()
			r.batch("r", "route add "+to+" via "+f.lan.String())
			defer r.batch("r", "route del "+to)
			lan.drain()
			moved := false
			eventually(t, patience, "a packet by the other interface", func() bool {
				lan.send(there)
				time.Sleep(20 * time.Millisecond)
				for _, p := range lan.drain() {
					if isThere(p) && p.src.Addr() != src.Addr() {
						if p.src.Addr() != f.rlan {
							t.Fatalf("by the LAN from %v, not %v", p.src, f.rlan)
						}
						moved = true
					}
				}
				return moved
			})
			if n := stat(t, d, "drop_nat_moved") - before; n != 1 {
				t.Errorf("%d packets dropped for it, not one", n)
			}
			events.expect(src.Port(), "destroy "+flow.EndMoved)
		})
	})
}

// TestErrorKeepsSource: an error about the router's own echo request, whose identifier alone
// a rule has changed, stays from who has sent it.
func TestErrorKeepsSource(t *testing.T) {
	var rules []natRule
	for _, f := range families {
		rules = append(rules, natRule{hook: "postrouting", dst: f.wanless, flags: natMasquerade | natRandom})
	}
	inModes(t, testPolicy{nat: rules}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			request, unreachable := pick[uint8](f, 8, 128), pick[uint8](f, 3, 1)
			wan := r.tap(t, "w")
			sender := r.rawSocket(t, "r", icmpProto(f.lan), f.rwan)
			if _, err := sender.WriteTo(icmpMessage(f.rwan, f.wanless, request, 0, 6402<<16|1, nil), &net.IPAddr{IP: f.wanless.AsSlice()}); err != nil {
				t.Fatal(err)
			}
			sent := wan.receive("request", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.l4[0] == request })
			wan.send(ipPacket(f.wan, f.rwan, icmpProto(f.lan), 64, icmpMessage(f.wan, f.rwan, unreachable, 1, 0, sent.raw)))
			sender.SetReadDeadline(time.Now().Add(patience))
			for buf := make([]byte, 1500); ; {
				n, from, err := sender.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				if buf[0] != unreachable {
					continue
				}
				if from.String() != f.wan.String() {
					t.Errorf("from %v, not %v", from, f.wan)
				}
				quoted := buf[8+pick(f, 20, 40) : n]
				if id := binary.BigEndian.Uint16(quoted[4:]); id != 6402 {
					t.Errorf("about the identifier %d", id)
				}
				return
			}
		})
	})
}
