// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/genetlink"
	mdnl "github.com/mdlayher/netlink"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

var needLinks = flag.Bool("loader.links", false, "fail where the kernel lacks a type of link, rather than skip")

// encapsulation is a kind of link that is on top of another: between the router
// and a host, both by the same name, dev and the host's.
type encapsulation struct {
	name, dev string
	add       func(t *testing.T, r *router, s side)
}

// side is where a link is: the host's namespace, the router's interface to it, and
// the link's network and MTU.
type side struct {
	ns, dev  string
	networks [2]string // by family: the router is .1 or ::1 there, the host .2 or ::2
	mtu      uint32
}

// There is room for the headers around a packet, and the WAN is the smaller one.
var (
	lanSide = side{"l", "lan0", [2]string{"192.168.71.", "fd71::"}, 1420}
	wanSide = side{"w", "wan0", [2]string{"203.0.113.", "2001:db8:71::"}, 1400}
)

// ends are the addresses of the router and the host.
func (s side) ends(f family) (router, host netip.Addr) {
	network := pick(f, s.networks[0], s.networks[1])
	return netip.MustParseAddr(network + "1"), netip.MustParseAddr(network + "2")
}

var encapsulations = []encapsulation{
	{"VLAN", "vlan", func(t *testing.T, r *router, s side) {
		r.addLinks(t, s, "link add link %s name vlan"+s.ns+" type vlan id 7")
	}},
	{"QinQ", "vlan", func(t *testing.T, r *router, s side) {
		r.addLinks(t, s, "link add link %s name stag"+s.ns+" type vlan proto 802.1ad id 7", "link set stag"+s.ns+" up",
			"link add link stag"+s.ns+" name vlan"+s.ns+" type vlan id 8")
	}},
	{"WireGuard", "wg", func(t *testing.T, r *router, s side) {
		r.addLinks(t, s, "link add wg"+s.ns+" type wireguard")
		f := families[0]
		ends := [2]netip.AddrPort{at(f.rlan, 51820), at(f.lan, 51820)}
		if s.ns == "w" {
			ends = [2]netip.AddrPort{at(f.rwan, 51821), at(f.wan, 51821)}
		}
		r.wireguard(t, "wg"+s.ns, [2]string{"r", s.ns}, ends)
	}},
}

// addLinks runs commands of ip on both ends of a side, whose interfaces are what
// %s stands for.
func (r *router) addLinks(t *testing.T, s side, commands ...string) {
	t.Helper()
	for ns, dev := range map[string]string{"r": s.dev, s.ns: "eth0"} {
		for _, c := range commands {
			c = strings.ReplaceAll(c, "%s", dev)
			out, err := r.host(ns, append([]string{"ip"}, strings.Fields(c)...)...).CombinedOutput()
			if err == nil {
				continue
			}
			if !*needLinks && (strings.Contains(string(out), "Unknown device type") || strings.Contains(string(out), "not supported")) {
				t.Skipf("needs a kernel with such links: ip %s: %s", c, out)
			}
			t.Fatalf("ip %s: %v\n%s", c, err, out)
		}
	}
}

// Attributes of WireGuard's generic netlink family, include/uapi/linux/wireguard.h.
const (
	wgSetDevice = 1

	wgIfname     = 2
	wgPrivateKey = 3
	wgListenPort = 6
	wgPeers      = 8

	wgPeerPublicKey  = 1
	wgPeerEndpoint   = 4
	wgPeerAllowedIPs = 9

	wgAllowedFamily = 1
	wgAllowedAddr   = 2
	wgAllowedBits   = 3
)

// wireguard makes two ends of a tunnel each other's peers, which may send from
// any address. An end without an address is not told to the other.
func (r *router) wireguard(t *testing.T, dev string, ns [2]string, ends [2]netip.AddrPort) {
	t.Helper()
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ends {
		other := 1 - i
		e := mdnl.NewAttributeEncoder()
		e.String(wgIfname, dev)
		e.Bytes(wgPrivateKey, keys[i].Bytes())
		e.Uint16(wgListenPort, ends[i].Port())
		e.Nested(wgPeers, func(peers *mdnl.AttributeEncoder) error {
			peers.Nested(0, func(p *mdnl.AttributeEncoder) error {
				p.Bytes(wgPeerPublicKey, keys[other].PublicKey().Bytes())
				if ends[other].Addr().IsValid() {
					p.Bytes(wgPeerEndpoint, sockaddrInet4(ends[other]))
				}
				p.Nested(wgPeerAllowedIPs, func(list *mdnl.AttributeEncoder) error {
					for n, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
						list.Nested(uint16(n), func(a *mdnl.AttributeEncoder) error {
							a.Uint16(wgAllowedFamily, uint16([]int{unix.AF_INET, unix.AF_INET6}[n]))
							a.Bytes(wgAllowedAddr, all.AsSlice())
							a.Uint8(wgAllowedBits, 0)
							return nil
						})
					}
					return nil
				})
				return nil
			})
			return nil
		})
		data, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		r.in(ns[i], func() error {
			c, err := genetlink.Dial(nil)
			if err != nil {
				return err
			}
			defer c.Close()
			family, err := c.GetFamily("wireguard")
			if err != nil {
				return err
			}
			_, err = c.Execute(genetlink.Message{Header: genetlink.Header{Command: wgSetDevice, Version: family.Version}, Data: data},
				family.ID, mdnl.Request|mdnl.Acknowledge)
			return err
		})
	}
}

// sockaddrInet4 is the kernel's struct sockaddr_in.
func sockaddrInet4(a netip.AddrPort) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	return append(append(b, a.Addr().AsSlice()...), make([]byte, 8)...)
}

// address gives both ends of a link their addresses, and sets them up.
func (r *router) address(s side, link string) {
	r.t.Helper()
	for i, ns := range []string{"r", s.ns} {
		r.batch(ns, fmt.Sprintf("link set %s mtu %d", link, s.mtu), fmt.Sprintf("addr add %s%d/24 dev %s", s.networks[0], i+1, link),
			fmt.Sprintf("addr add %s%d/64 dev %s nodad", s.networks[1], i+1, link), "link set "+link+" up")
	}
}

// encapsulate has the LAN and the WAN on such links.
func (r *router) encapsulate(t *testing.T, e encapsulation) {
	t.Helper()
	for _, s := range []side{lanSide, wanSide} {
		e.add(t, r, s)
		r.address(s, e.dev+s.ns)
	}
	r.batch("l", "route add 203.0.113.0/24 via 192.168.71.1", "route add 2001:db8:71::/64 via fd71::1")
}

// encapsulated are the fixture's addresses on these links.
func encapsulated(f family) family {
	f.rlan, f.lan = lanSide.ends(f)
	f.rwan, f.wan = wanSide.ends(f)
	return f
}

// TestEncapsulated has the LAN and the WAN on links within others: their packets
// come without the outer headers, by interfaces of their own.
func TestEncapsulated(t *testing.T) {
	t.Parallel()
	for _, e := range encapsulations {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			r.encapsulate(t, e)
			r.offload(true)
			cfg := r.config(testPolicy{masquerade: true})
			for _, s := range []side{lanSide, wanSide} {
				cfg.Interfaces = append(cfg.Interfaces, Interface{Name: e.dev + s.ns, Index: r.index(e.dev + s.ns), XDP: XDPOff})
			}
			d := r.mustApply(cfg)
			inFamilies(t, func(t *testing.T, f family) { r.carries(t, encapsulated(f), wanSide.mtu) })
			for _, reason := range []string{"drop_malformed", "drop_internal", "drop_flow_clash", "drop_nat_no_address", "drop_policy"} {
				if n := stat(t, d, reason); n != 0 {
					t.Errorf("%s: %d packets", reason, n)
				}
			}
		})
	}
}

// carries is what a client's traffic has to do, with offloads and in fragments. The
// WAN has the MTU, which is smaller than the LAN's.
func (r *router) carries(t *testing.T, f family, mtu uint32) {
	t.Helper()
	l := r.listen(t, "w", at(f.wan, 8000))
	if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8000)), l, 256<<10); err != nil {
		t.Errorf("TCP: %v", err)
	}
	peers := r.echoUDP(t, "w", at(f.wan, 8001))
	c := r.udp(t, "l", at(f.lan, 5400))
	for _, size := range []int{1, 1300, 4000, 20001} {
		message := noise(size)
		err := exchangeUDP(c, at(f.wan, 8001), message)
		for try := 0; err != nil && f.lan.Is6() && try < 3; try++ {
			// Routers do not fragment: that was how the path's MTU was learnt,
			// which takes a while on an emulated machine.
			err = exchangeUDP(c, at(f.wan, 8001), message)
		}
		if err != nil {
			t.Errorf("UDP, %d bytes: %v", size, err)
		}
	}
	if peer := nextPeer(t, peers); peer != at(f.rwan, 5400) {
		t.Errorf("from %v, not %v", peer, at(f.rwan, 5400))
	}
	for _, c := range []struct {
		p    probe
		want icmpReport
	}{
		{probe{ns: "l", from: at(f.lan, 4001), to: at(f.wan, 9)}, icmpReport{typ: pick[uint8](f, 3, 1), code: pick[uint8](f, 3, 4), errno: syscall.ECONNREFUSED, from: f.wan}},
		{probe{ns: "l", from: at(f.lan, 4004), to: at(f.wan, 9), ttl: 1}, icmpReport{typ: pick[uint8](f, 11, 3), errno: syscall.EHOSTUNREACH, from: f.rlan}},
		{probe{ns: "l", from: at(f.lan, 4101), to: at(f.wan, 9), size: int(mtu) + 8 - pick(f, 28, 48), df: true}, icmpReport{typ: pick[uint8](f, 3, 2), code: pick[uint8](f, 4, 0), errno: syscall.EMSGSIZE, info: mtu, from: f.rlan}},
	} {
		if got := r.provoke(t, c.p); got != c.want {
			t.Errorf("%+v, not %+v", got, c.want)
		}
	}
}

// TestWireGuardThroughNAT: a client's tunnel to a server, which learns where the
// client is from what it sends.
func TestWireGuardThroughNAT(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		for _, ns := range []string{"l", "w"} {
			if out, err := r.host(ns, "ip", "link", "add", "wg0", "type", "wireguard").CombinedOutput(); err != nil {
				if !*needLinks {
					t.Skipf("needs a kernel with WireGuard: %s", out)
				}
				t.Fatalf("%v: %s", err, out)
			}
		}
		r.wireguard(t, "wg0", [2]string{"l", "w"}, [2]netip.AddrPort{at(netip.Addr{}, 51820), at(families[0].wan, 51820)})
		r.batch("l", "addr add 203.0.113.1/24 dev wg0", "link set wg0 up")
		r.batch("w", "addr add 203.0.113.2/24 dev wg0", "link set wg0 up")
		client, server := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
		l := r.listen(t, "w", at(server, 8000))
		if err := transfer(r.mustDial(t, "l", at(client, 0), at(server, 8000)), l, 256<<10); err != nil {
			t.Error(err)
		}
	})
}

// TestVLANAtXDP: packets of flows go by XDP between VLANs of NICs that run it, and
// between a VLAN and what has none; what the VLAN's device does not receive or
// send goes no other way.
func TestVLANAtXDP(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.encapsulate(t, encapsulations[0])
	r.leaveTags(t)
	cfg := r.config(testPolicy{masquerade: true, countStates: true})
	cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = time.Hour, time.Hour // longer than this takes
	for _, link := range []string{"vlanl", "vlanw"} {
		cfg.Interfaces = append([]Interface{{Name: link, Index: r.index(link), XDP: XDPNative}}, cfg.Interfaces...)
	}
	d := r.mustApply(cfg)
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range s.Interfaces {
		if i.XDP != XDPNative || !i.XDPRedirect {
			t.Errorf("%+v", i)
		}
	}
	inFamilies(t, func(t *testing.T, f family) {
		vlan := encapsulated(f)
		r.carries(t, vlan, wanSide.mtu)
		// From a VLAN into one, out of one, and into one.
		for i, ends := range [][3]netip.Addr{{vlan.lan, vlan.wan, vlan.rwan}, {vlan.lan, f.wan, f.rwan}, {f.lan, vlan.wan, vlan.rwan}} {
			if ends[1] == f.wan {
				r.batch("l", "route replace "+f.wan.String()+" via "+vlan.rlan.String())
			}
			if ends[0] == f.lan {
				r.batch("l", "route replace "+vlan.wan.String()+" via "+f.rlan.String())
			}
			before := stat(t, d, "xdp_forwarded")
			l := r.listen(t, "w", at(ends[1], uint16(8010+i)))
			if err := transfer(r.mustDial(t, "l", at(ends[0], 0), at(ends[1], uint16(8010+i))), l, 1<<20); err != nil {
				t.Errorf("%v to %v: %v", ends[0], ends[1], err)
			}
			if n := stat(t, d, "xdp_forwarded") - before; n < 2*(1<<20)/1500/2 {
				t.Errorf("%v to %v: %d packets forwarded by XDP: less than the bulk", ends[0], ends[1], n)
			}
		}
	})
	for _, reason := range []string{"drop_malformed", "drop_internal", "drop_policy"} {
		if n := stat(t, d, reason); n != 0 {
			t.Errorf("%s: %d packets", reason, n)
		}
	}
	// A datagram of a flow, and whether XDP forwards it.
	f := encapsulated(families[0])
	src, dst := at(f.lan, 5400), at(f.wan, 8001)
	plain := frame(r.mac["l/eth0"], r.mac["r/lan0"], ipPacket(f.lan, f.wan, unix.IPPROTO_UDP, 64, udpDatagram(src, dst, []byte("tagged"))))
	lan := r.tap(t, "l")
	forwards := func(what string, id byte, want bool) {
		t.Helper()
		time.Sleep(flow.FromTicks(3)) // more than XDP remembers
		before := stat(t, d, "xdp_forwarded")
		send := func() bool {
			if _, err := unix.Write(lan.fd, append(append(append([]byte(nil), plain[:12]...), 0x81, 0, 0, id), plain[12:]...)); err != nil {
				t.Fatal(err)
			}
			return stat(t, d, "xdp_forwarded") > before
		}
		if want {
			eventually(t, patience, what+": forwarded by XDP", send)
			return
		}
		for range 10 {
			if send() {
				t.Errorf("%s: forwarded by XDP", what)
			}
			time.Sleep(30 * time.Millisecond)
		}
	}
	forwards("VLAN", 7, true)
	forwards("another VLAN", 8, false)
	r.batch("r", "link set vlanl down")
	forwards("device that is down", 7, false)
	r.batch("r", "link set vlanl up")
	forwards("device that is up again", 7, true)
	r.batch("r", "link del vlanl")
	forwards("device that has gone", 7, false)
	cfg.Interfaces = cfg.Interfaces[:2]
	for i, name := range []string{"lan0", "wan0"} {
		cfg.Interfaces[i] = Interface{Name: name, Index: r.index(name), XDP: XDPAuto}
	}
	r.in("r", func() error { return d.Replace(cfg) })
	if err := d.Map("l2_vlans", func(m *ebpf.Map) error {
		var key l2TCVlanKey
		err := m.NextKey(nil, &key)
		if err == nil {
			t.Errorf("XDP knows VLAN %+v", key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// leaveTags has the tags of VLANs in the frames that XDP sees, in both directions,
// as they are on the wire.
func (r *router) leaveTags(t *testing.T) {
	t.Helper()
	for ns, devs := range map[string][]string{"r": {"lan0", "wan0"}, "l": {"eth0"}, "w": {"eth0"}} {
		for _, dev := range devs {
			r.must("ip", "netns", "exec", r.name+ns, "ethtool", "-K", dev, "rxvlan", "off", "txvlan", "off")
		}
	}
}

// TestVLANWithoutXDP: what XDP cannot do for VLANs it leaves to TC, and says why.
func TestVLANWithoutXDP(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set            func(r *router)
		nic, vlan, why string
	}{
		"tags taken out": {func(*router) {}, XDPOff, XDPOff, "rx-vlan-hw-parse"},
		"priorities": {func(r *router) {
			r.must("ip", "-n", r.name+"r", "link", "set", "vlanl", "type", "vlan", "egress-qos-map", "0:3")
		}, XDPNative, XDPOff, "priorities"},
		"no room": {func(r *router) {
			r.batch("r", "link set vlanl mtu 1500")
		}, XDPNative, XDPOff, "MTU"},
		"bridge": {func(r *router) {
			r.batch("r", "link add br9 type bridge", "link set vlanl master br9")
		}, XDPNative, XDPOff, "part of another"},
		"all well": {func(*router) {}, XDPNative, XDPNative, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			r.encapsulate(t, encapsulations[0])
			if name != "tags taken out" {
				r.leaveTags(t)
			}
			c.set(r)
			cfg := r.config(testPolicy{masquerade: true})
			cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "vlanl", Index: r.index("vlanl"), XDP: XDPAuto})
			d := r.mustApply(cfg)
			s, err := d.Status()
			if err != nil {
				t.Fatal(err)
			}
			notes := ""
			for _, i := range s.Interfaces {
				notes += i.Note
				switch want := map[string]string{"lan0": c.nic, "vlanl": c.vlan}[i.Name]; {
				case want != "" && i.XDP != want:
					t.Errorf("%+v", i)
				}
			}
			if !strings.Contains(notes, c.why) {
				t.Errorf("%q does not say %q", notes, c.why)
			}
		})
	}
}
