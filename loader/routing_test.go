// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSeveralWANs: which WAN a flow goes by is the routing table's and its rules',
// by the mark that a ruleset gives, or by the source; it has an address of that
// WAN, and its answers may come by it.
func TestSeveralWANs(t *testing.T) {
	t.Parallel()
	const other = 9500 // port whose packets the ruleset marks
	r := newRouter(t)
	tun := r.tunnel(t, "tun0")
	r.batch("r", "addr add 203.0.113.1/24 dev tun0", "addr add 2001:db8:71::1/64 dev tun0 nodad", "link set tun0 up")
	for _, f := range families {
		for _, command := range []string{
			"route add default dev tun0 table 100",
			"rule add fwmark 7 lookup 100",
			"rule add from " + f.lan2.String() + " lookup 100",
		} {
			r.must(append([]string{"ip", "-n", r.name + "r", pick(f, "-4", "-6")}, strings.Fields(command)...)...)
		}
	}
	cfg := r.config(compiled(t, `table inet t {
	chain prerouting {
		type filter hook prerouting priority mangle;
		udp dport 9500 meta mark set 7
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		masquerade
	}
}
`))
	cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "tun0", Index: r.index("tun0"), XDP: XDPOff})
	r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	inFamilies(t, func(t *testing.T, f family) {
		atTun := pick(f, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:71::1"))
		for _, c := range []struct {
			name string
			src  netip.Addr
			port uint16
			tun  bool
		}{
			{"by default", f.lanless, 9501, false},
			{"by mark", f.lanless, other, true},
			{"by source", f.lan2, 9501, true},
			{"by default again", f.lanless, 9501, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				src, dst := at(c.src, 5800), at(f.wanless, c.port)
				for range 3 { // the later ones of a flow that both ends have taken part in
					lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
					var p packet
					outside := f.rwan
					if c.tun {
						outside = atTun
						p = next(t, tun, func(p packet) bool { return p.dst == dst })
					} else {
						p = wan.receive("datagram", func(p packet) bool { return p.dst == dst })
					}
					if p.src.Addr() != outside || p.wrongChecksum() != "" {
						t.Errorf("from %v, not %v; wrong checksum: %q", p.src, outside, p.wrongChecksum())
					}
					answer := ipPacket(dst.Addr(), outside, unix.IPPROTO_UDP, 64, udpDatagram(dst, p.src, []byte(c.name)))
					if c.tun {
						write(t, tun, answer)
					} else {
						wan.send(answer)
					}
					lan.receive("answer", func(p packet) bool { return p.dst == src && p.src == dst && string(p.l4[8:]) == c.name })
				}
			})
		}
	})
}

// write gives the router a packet by a tunnel.
func write(t *testing.T, f *os.File, ip []byte) {
	t.Helper()
	if _, err := f.Write(ip); err != nil {
		t.Fatal(err)
	}
}

// TestMasqueradeAddress: of several addresses that an interface has, masquerade
// takes the first in the next hop's network, as nf_nat_masquerade does, and not the
// one that a route prefers, nor a secondary one.
func TestMasqueradeAddress(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.batch("r",
		"addr add 198.51.7.9/24 dev wan0",           // secondary
		"addr add 198.51.100.1/24 dev wan0",         // of another network
		"addr add 192.0.2.1/24 dev wan0 scope link", // not of the whole world
		"route add 203.0.113.0/25 via 198.51.7.50 src 198.51.100.1",
		"route add 203.0.113.128/25 dev wan0 src 198.51.100.1",
		"neigh add 198.51.100.50 lladdr "+r.mac["w/eth0"].String()+" dev wan0",
		"neigh add 192.0.2.50 lladdr "+r.mac["w/eth0"].String()+" dev wan0",
		"neigh add 203.0.113.130 lladdr "+r.mac["w/eth0"].String()+" dev wan0")
	r.mustApply(r.config(testPolicy{masquerade: true}))
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	for _, c := range []struct{ dst, want string }{
		{"198.51.7.50", "198.51.7.1"},
		{"198.51.100.50", "198.51.100.1"},
		{"203.0.113.1", "198.51.7.1"},
		{"203.0.113.130", "198.51.7.1"},
		{"192.0.2.50", "198.51.7.1"},
	} {
		src, dst := at(f.lanless, 5810), at(netip.MustParseAddr(c.dst), 80)
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
		p := wan.receive("datagram to "+c.dst, func(p packet) bool { return p.dst == dst })
		if p.src.Addr().String() != c.want || p.wrongChecksum() != "" {
			t.Errorf("to %s from %v, not %s; wrong checksum: %q", c.dst, p.src, c.want, p.wrongChecksum())
		}
	}
}
