// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"maps"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestNetworkChanges: what the routing and neighbour tables say is not frozen
// into flows.
func TestNetworkChanges(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		conns := append(r.streams(t, families[0], 9200, 2), r.streams(t, families[1], 9200, 2)...)
		begun := stat(t, d, "flow_new")
		t.Run("neighbours forgotten", func(t *testing.T) {
			r.batch("r", "neigh flush dev lan0", "neigh flush dev wan0")
			talkAll(t, conns)
		})
		t.Run("station with another address", func(t *testing.T) {
			const other = "02:00:00:00:07:02"
			r.batch("l", "link set eth0 address "+other)
			r.batch("r", "neigh flush dev lan0")
			talkAll(t, conns)
			time.Sleep(200 * time.Millisecond) // more than XDP remembers
			talkAll(t, conns)
		})
		if n := stat(t, d, "flow_new") - begun; n != 0 {
			t.Errorf("%d flows begun anew", n)
		}
		t.Run("another address at the WAN", func(t *testing.T) {
			for i, now := range []netip.Addr{netip.MustParseAddr("198.51.7.9"), netip.MustParseAddr("2001:db8:7::9")} {
				f := families[i]
				bits := pick(f, "/24", "/64 nodad")
				r.batch("r", "addr del "+f.rwan.String()+pick(f, "/24", "/64")+" dev wan0", "addr add "+now.String()+bits+" dev wan0")
				peers := r.echoTCP(t, "w", at(f.wan, 9201))
				c := r.mustDial(t, "l", at(f.lan, 5900), at(f.wan, 9201))
				if err := exchange(c, "from the new address"); err != nil {
					t.Error(err)
				}
				if peer := nextPeer(t, peers); peer != at(now, 5900) {
					t.Errorf("from %v, not %v", peer, at(now, 5900))
				}
			}
		})
		t.Run("no address at the WAN", func(t *testing.T) {
			r.batch("r", "addr flush dev wan0 scope global", "route add 198.51.7.0/24 dev wan0")
			wan := r.tap(t, "w")
			c := r.udp(t, "l", at(families[0].lan, 5901))
			if _, err := c.WriteToUDPAddrPort([]byte("x"), at(families[0].wan, 9202)); err != nil {
				t.Fatal(err)
			}
			// Another address of the router may serve; the client's does not.
			for _, p := range wan.drain() {
				if p.src.Addr() == families[0].lan {
					t.Error("not translated")
				}
			}
		})
	})
}

// TestRoaming: a station goes to another interface, as from one radio to another,
// and back. Its flows go on, and what is sent to it goes where it is: at TC with
// the next packet, at XDP after a tick of its clock.
func TestRoaming(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		tun := r.tunnel(t, "tun0")
		r.batch("r", "link set tun0 up")
		cfg := r.config(testPolicy{masquerade: true})
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "tun0", Index: r.index("tun0"), XDP: XDPOff})
		r.in("r", func() error { return d.Replace(cfg) })
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			station, server, outside := at(f.lanless, 5910), at(f.wanless, 80), at(f.rwan, 5910)
			moved := func() {
				if m.xdp != XDPOff {
					time.Sleep(200 * time.Millisecond)
				}
			}
			// exchange sends a datagram each way; the station's is written by send,
			// and arrives with receive.
			exchange := func(where string, send func([]byte), receive func(func(packet) bool) packet) {
				t.Helper()
				for range 3 { // the later ones on a confirmed flow
					send(ipPacket(f.lanless, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(station, server, nil)))
					if p := wan.receive("datagram", func(p packet) bool { return p.dst == server }); p.src != outside {
						t.Errorf("%s: the server sees %v, not %v", where, p.src, outside)
					}
					wan.send(ipPacket(f.wanless, f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(server, outside, []byte(where))))
					receive(func(p packet) bool { return p.dst == station && string(p.l4[8:]) == where })
				}
			}
			atLAN := func(ok func(packet) bool) packet { return lan.receive("answer at the LAN", ok) }
			exchange("at home", lan.send, atLAN)
			begun := stat(t, d, "flow_new")
			host := f.lanless.String() + pick(f, "/32", "/128")
			r.batch("r", "route add "+host+" dev tun0")
			moved()
			exchange("away", func(ip []byte) {
				if _, err := tun.Write(ip); err != nil {
					t.Error(err)
				}
			}, func(ok func(packet) bool) packet { return next(t, tun, ok) })
			if m.xdp != XDPOff {
				if checked, oif := r.hopTo(t, f.lanless); checked == 0 || oif != 0 {
					t.Errorf("XDP remembers interface %d of tick %d: want none, and when", oif, checked)
				}
			}
			r.batch("r", "route del "+host+" dev tun0")
			moved()
			exchange("at home again", lan.send, atLAN)
			if m.xdp != XDPOff {
				if _, oif := r.hopTo(t, f.lanless); int(oif) != r.index("lan0") {
					t.Errorf("XDP remembers interface %d, not that of the LAN", oif)
				}
			}
			if n := stat(t, d, "flow_new") - begun; n != 0 {
				t.Errorf("%d flows begun anew", n)
			}
		})
	})
}

// hopTo is what XDP remembers of the way of a confirmed flow to an address: when it asked, and
// the interface.
func (r *router) hopTo(t *testing.T, to netip.Addr) (checked, oif uint32) {
	t.Helper()
	found := false
	r.eachFlow(t, "l2_flows", func(_ *l2TCTuple, value *l2TCFlow) bool {
		if found = bytes.HasPrefix(value.Out.Daddr[:], to.AsSlice()); found {
			checked, oif = value.Hop.Checked, value.Hop.Oif
		}
		return !found
	})
	if !found {
		t.Fatalf("no flow to %s", to)
	}
	return checked, oif
}

// TestRefusedRoutes: the kernel tells the client.
func TestRefusedRoutes(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.batch("r", "route add unreachable 203.0.113.0/25", "route add prohibit 203.0.113.128/25",
			"route add unreachable 2001:db8:8::/64", "route add prohibit 2001:db8:9::/64")
		for _, c := range []struct {
			f    family
			to   string
			want icmpReport
		}{
			{families[0], "203.0.113.1", icmpReport{typ: 3, code: 1, errno: syscall.EHOSTUNREACH}},
			{families[0], "203.0.113.129", icmpReport{typ: 3, code: 13, errno: syscall.EHOSTUNREACH}},
			{families[1], "2001:db8:8::1", icmpReport{typ: 1, code: 0, errno: syscall.ENETUNREACH}},
			{families[1], "2001:db8:9::1", icmpReport{typ: 1, code: 1, errno: syscall.EACCES}},
		} {
			c.want.from = c.f.rlan
			if got := r.provoke(t, probe{ns: "l", from: at(c.f.lan, 4200), to: at(netip.MustParseAddr(c.to), 9), size: 10}); got != c.want {
				t.Errorf("%s: %+v, not %+v", c.to, got, c.want)
			}
		}
	})
}

// TestCarrySets: elements that were added with a timeout outlive a change of
// the policy, others are the new policy's matter.
func TestCarrySets(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{id: 1, set: true}))
	type element = struct{ Expires uint64 }
	put := func(key uint32, expires uint64) {
		t.Helper()
		if err := d.Map("test_set", func(m *ebpf.Map) error { return m.Put(key, element{expires}) }); err != nil {
			t.Fatal(err)
		}
	}
	later := monotonic() + uint64(time.Hour)
	put(1, later)
	put(2, 0)                               // never
	put(3, monotonic()-uint64(time.Second)) // has
	for _, p := range []testPolicy{{id: 2, set: true}, {id: 2, set: true}, {id: 3}, {id: 4, set: true}} {
		r.in("r", func() error { return d.Replace(r.config(p)) })
		if !p.set {
			if err := d.Map("test_set", func(*ebpf.Map) error { return nil }); err == nil {
				t.Error("a set of no policy")
			}
			continue
		}
		want := map[uint32]uint64{1: later}
		if p.id == 4 {
			want = map[uint32]uint64{} // it was not in the policy before
		}
		got := map[uint32]uint64{}
		err := d.Map("test_set", func(m *ebpf.Map) error {
			var key uint32
			var e element
			it := m.Iterate()
			for it.Next(&key, &e) {
				got[key] = e.Expires
			}
			return it.Err()
		})
		if err != nil || !maps.Equal(want, got) {
			t.Errorf("policy %d: %v, %v, not %v", p.id, got, err, want)
		}
	}
}
