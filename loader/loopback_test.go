// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// selfRules send what the router itself sends to a host to the router.
var selfRules = bothFamilies(func(f family) []natRule {
	redirect := func(port, to uint16) natRule {
		return natRule{hook: "output", dst: f.wan, port: port, flags: natRedirect, ports: [2]uint16{to, to}}
	}
	return []natRule{redirect(53, 5353), redirect(80, 8080), redirect(81, 8081), natRule{hook: "output", dst: f.wan, port: 82}.to(f.rlan),
		natRule{hook: "output", dst: f.wan, port: 83}.to(netip.MustParseAddr("127.9.9.9"))}
})

// loopbackOf is the address that redirect gives at the hook output.
func loopbackOf(f family) netip.Addr {
	return pick(f, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
}

// TestOutputToItself: what the router itself sends to a host reaches a socket of the router's, by
// redirect and by dnat to addresses of lo and of others; the answers, and errors, come from that
// host. Nothing of it leaves.
func TestOutputToItself(t *testing.T) {
	inModes(t, testPolicy{nat: selfRules}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		wan := r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			local := loopbackOf(f)
			for port, socket := range map[uint16]netip.AddrPort{53: at(local, 5353), 82: at(f.rlan, 82)} {
				peers := r.echoUDP(t, "r", socket)
				c := r.udp(t, "r", at(f.rwan, 6500+port))
				for _, size := range []int{5, 5, 4000, 5} { // one in fragments
					if err := exchangeUDP(c, at(f.wan, port), bytes.Repeat([]byte("m"), size)); err != nil {
						t.Fatalf("port %d, %d bytes: %v", port, size, err)
					}
				}
				if peer := nextPeer(t, peers); peer != at(f.rwan, 6500+port) {
					t.Errorf("port %d: the server sees %v", port, peer)
				}
			}
			l := r.listen(t, "r", at(local, 8080))
			c := r.mustDial(t, "r", at(f.rwan, 6580), at(f.wan, 80))
			if err := transfer(c, l, 1<<20); err != nil {
				t.Error(err)
			}
			list := flows(t, d, flow.Filter{Prefix: netip.PrefixFrom(f.rwan, f.rwan.BitLen()), Port: 6580})
			if len(list) != 1 || list[0].Original.Dst != at(f.wan, 80) || list[0].Reply.Src != at(local, 8080) || list[0].Reply.Packets == 0 {
				t.Errorf("flows: %+v", list)
			}
			if f.lan.Is4() {
				peers := r.echoUDP(t, "r", netip.MustParseAddrPort("127.9.9.9:83"))
				if err := exchangeUDP(r.udp(t, "r", at(f.rwan, 6583)), at(f.wan, 83), []byte("message")); err != nil {
					t.Error(err)
				}
				nextPeer(t, peers)
			}
			refusals(t, r, f)
			for _, p := range wan.drain() {
				if p.dst.Addr() == f.wan && p.proto != unix.IPPROTO_ICMPV6 || p.src.Addr() == local {
					t.Errorf("left the router: %v to %v", p.src, p.dst)
				}
			}
		})
	})
}

// refusals: of ports where nobody listens. The errors that say so come over lo, too.
func refusals(t *testing.T, r *router, f family) {
	t.Helper()
	if c, err := r.dial("r", at(f.rwan, 6581), at(f.wan, 81)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connection to where nobody listens: %v, %v", c, err)
	}
	var c net.Conn
	r.in("r", func() (err error) {
		c, err = (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(at(f.rwan, 6587))}).Dial("udp", at(f.wan, 81).String())
		return err
	})
	defer c.Close()
	if _, err := c.Write([]byte("message")); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("datagram to where nobody listens: %v", err)
	}
}

// TestOutputToItselfAlien: an answer of the router to itself does not come from outside.
func TestOutputToItselfAlien(t *testing.T) {
	inModes(t, testPolicy{nat: selfRules}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		wan := r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			for i, socket := range []netip.AddrPort{at(loopbackOf(f), 5353), at(f.rlan, 82)} {
				r.udp(t, "r", socket)
				c := r.udp(t, "r", at(f.rwan, uint16(6590+i)))
				c.WriteToUDPAddrPort([]byte("query"), at(f.wan, []uint16{53, 82}[i]))
				before := stat(t, d, "drop_martian")
				wan.send(ipPacket(socket.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(socket, at(f.rwan, uint16(6590+i)), []byte("forged"))))
				eventually(t, patience, fmt.Sprint("drop_martian of ", socket), func() bool { return stat(t, d, "drop_martian") == before+1 })
				c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				if n, peer, err := c.ReadFromUDPAddrPort(make([]byte, 10)); err == nil {
					t.Errorf("%d bytes from %v", n, peer)
				}
			}
		})
	})
}

// TestLoopbackPrograms: lo has programs as long as a policy has a use for them, and what goes by it
// otherwise goes on.
func TestLoopbackPrograms(t *testing.T) {
	r := newRouter(t)
	attached := func() bool {
		_, err := os.Stat(filepath.Join(r.pin, dirLinks, "lo_egress"))
		return err == nil
	}
	for i, p := range []Policy{testPolicy{nat: selfRules}, testPolicy{id: 1}, testPolicy{id: 2, nat: selfRules}} {
		d := r.mustApply(r.config(p))
		if wanted := i != 1; attached() != wanted {
			t.Errorf("policy %d: lo has programs: %v", i, !wanted)
		}
		inFamilies(t, func(t *testing.T, f family) {
			local, port := loopbackOf(f), uint16(5400+i)
			r.echoUDP(t, "r", at(local, port))
			if err := exchangeUDP(r.udp(t, "r", at(local, port+100)), at(local, port), []byte("message")); err != nil {
				t.Error(err)
			}
		})
		d.Close()
	}
	if err := r.do("r", func() error { return Detach(r.pin) }); err != nil || attached() {
		t.Errorf("detached: %v, and lo has programs: %v", err, attached())
	}
}
