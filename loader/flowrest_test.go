// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// What several processors leave of a flow that all of them work on, put there as
// they leave it.

// collect waits for two walks of the collector, the second of which begins after this.
func (r *router) collect(t *testing.T) {
	t.Helper()
	m := r.stateMap(t, "l2_gc")
	runs := func() uint64 {
		var gc l2TCGc
		if err := m.Lookup(uint32(0), &gc); err != nil {
			t.Fatal(err)
		}
		return gc.Runs
	}
	begun := runs()
	eventually(t, 60*time.Second, "two walks", func() bool { return runs() >= begun+2 })
}

// flowEntries are those of a table whose packets come from an address, with its port, or go
// there.
func (r *router) flowEntries(t *testing.T, table string, port uint16) map[l2TCTuple]l2TCFlow {
	t.Helper()
	entries := map[l2TCTuple]l2TCFlow{}
	r.eachFlow(t, table, func(key *l2TCTuple, value *l2TCFlow) bool {
		if key.Sport == swap16(port) || key.Dport == swap16(port) {
			entries[*key] = *value
		}
		return true
	})
	return entries
}

// TestLeftHalfOpen: what a flow has left among those that are half open, when it was
// confirmed, goes at its time, and the flow stays.
func TestLeftHalfOpen(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{masquerade: true}))
	conns := r.streams(t, families[0], 9300, 1)
	talkAll(t, conns)
	confirmed := r.flowEntries(t, "l2_flows", 9300)
	if len(confirmed) != 2 {
		t.Fatalf("%d entries of a connection", len(confirmed))
	}
	halfOpen := r.stateMap(t, "l2_half_open")
	// Each by itself, and in any order.
	for key, value := range confirmed {
		value.Expires = value.Created - 100
		if err := halfOpen.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	// Of two processors that have begun a flow at once, one has chosen another port.
	for key, value := range confirmed {
		if value.Flags&flowReply == 0 {
			continue
		}
		value.Expires = value.Created - 100
		key.Dport = swap16(4)
		if err := halfOpen.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	r.collect(t)
	if n := r.entries(t, "l2_half_open"); n != 0 {
		t.Errorf("%d half-open entries are left", n)
	}
	if n := len(r.flowEntries(t, "l2_flows", 9300)); n != 2 {
		t.Errorf("%d entries of the connection are left, not 2", n)
	}
	talkAll(t, conns)
	if n := stat(t, d, "flow_new"); n != 1 {
		t.Errorf("%d flows begun, not 1", n)
	}
}

const flowReply = 1 << 0 // FLOW_REPLY

// handmade is a connection whose segments are made by hand.
type handmade struct {
	lan, wan                *wire
	client, server, outside netip.AddrPort
}

// greet sends a SYN, and its answer.
func (r *router) greet(t *testing.T, client, server netip.AddrPort) *handmade {
	t.Helper()
	c := &handmade{lan: r.tap(t, "l"), wan: r.tap(t, "w"), client: client, server: server}
	c.send(t, flagSYN)
	c.outside = c.wan.receive("SYN", func(p packet) bool { return p.dst == server }).src
	c.answer(t, flagSYN|flagACK)
	c.lan.receive("SYN-ACK", func(p packet) bool { return p.dst == client })
	return c
}

// handshake is a connection that is confirmed.
func (r *router) handshake(t *testing.T, client, server netip.AddrPort) *handmade {
	t.Helper()
	c := r.greet(t, client, server)
	c.send(t, flagACK)
	eventually(t, patience, "a confirmed connection", func() bool { return len(r.flowEntries(t, "l2_flows", server.Port())) == 2 })
	return c
}

// segment is of the numbers that follow a SYN's, but for a SYN itself.
func segment(src, dst netip.AddrPort, flags byte) []byte {
	s := tcpSegment(src, dst, flags)
	if flags&flagSYN == 0 {
		s[7] = 2
	}
	s[11] = 2
	return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, withChecksum(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, s))
}

func (c *handmade) send(t *testing.T, flags byte) {
	t.Helper()
	c.lan.send(segment(c.client, c.server, flags))
}

func (c *handmade) answer(t *testing.T, flags byte) {
	t.Helper()
	c.wan.send(segment(c.server, c.outside, flags))
}

// TestForgedReset: a reset has to be in the window (RFC 7857, 2.2), and only one that is exactly where the other end has
// acknowledged closes the connection: nf_conntrack_tcp_packet().
func TestForgedReset(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			c := r.handshake(t, at(f.lanless, 6502), at(f.wanless, 9312))
			for _, step := range []struct {
				name        string
				seq         byte // its first byte
				last        byte // and its last
				want, state string
			}{
				{"before the window", 0xf0, 2, "invalid", "ESTABLISHED"},
				{"acknowledged already", 0, 1, "invalid", "ESTABLISHED"},
				{"beyond the window", 0x10, 2, "invalid", "ESTABLISHED"},
				{"somewhere in it", 0, 9, "established", "ESTABLISHED"},
				{"where it has to be", 0, 2, "established", "CLOSE"},
			} {
				ip := segment(c.server, c.outside, flagRST)
				tcp := ip[len(ip)-20:]
				tcp[4], tcp[7], tcp[16], tcp[17] = step.seq, step.last, 0, 0
				withChecksum(c.server.Addr(), c.outside.Addr(), unix.IPPROTO_TCP, tcp)
				if got := counted(t, d, "forward", func() { c.wan.send(ip) }); got != step.want {
					t.Errorf("%s: %s, not %s", step.name, got, step.want)
				}
				list := flows(t, d, flow.Filter{Port: 9312, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())})
				if len(list) != 1 || list[0].State != step.state {
					t.Errorf("%s: %+v, not %s", step.name, list, step.state)
				}
			}
		})
	})
}

// TestHalfEnded: a confirmed flow of which one entry is gone, as it is for a moment when
// somebody ends it, does not come back by packets of the other direction. Packets of the direction that is gone begin it
// anew, with the port that it had.
func TestHalfEnded(t *testing.T) {
	inModes(t, testPolicy{masquerade: true, countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			confirmed := r.stateMap(t, "l2_flows")
			remove := func(port uint16, reply bool) {
				t.Helper()
				for key, value := range r.flowEntries(t, "l2_flows", port) {
					if value.Flags&flowReply != 0 == reply {
						if err := confirmed.Delete(key); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			t.Run("answers", func(t *testing.T) {
				c := r.handshake(t, at(f.lanless, 6499), at(f.wanless, 9310))
				remove(9310, false)
				eventually(t, patience, "the flow ends", func() bool {
					c.answer(t, flagACK)
					time.Sleep(20 * time.Millisecond)
					return len(r.flowEntries(t, "l2_flows", 9310)) == 0
				})
			})
			t.Run("packets", func(t *testing.T) {
				lan, wan := r.tap(t, "l"), r.tap(t, "w")
				src, dst := at(f.lanless, 6500), at(f.wanless, 9311)
				there := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
				out := func() packet {
					t.Helper()
					lan.send(there)
					return wan.receive("packet", func(p packet) bool { return p.dst == dst })
				}
				first := out()
				wan.send(ipPacket(dst.Addr(), first.src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, first.src, nil)))
				lan.receive("answer", func(p packet) bool { return p.dst == src })
				remove(9311, false)
				begun := stat(t, d, "flow_new")
				for range 2 {
					if p := out(); p.src != first.src {
						t.Errorf("from %v, not %v", p.src, first.src)
					}
				}
				if n := stat(t, d, "flow_new") - begun; n != 1 {
					t.Errorf("%d flows begun anew, not 1", n)
				}
				if n := len(r.flowEntries(t, "l2_flows", 9311)); n != 0 {
					t.Errorf("%d entries of the flow before are left", n)
				}
			})
		})
	})
}
