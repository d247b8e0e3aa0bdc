// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// host is one namespace to build.
type host struct {
	name     string
	forwards bool
}

var hosts = []host{
	{Router, true}, {ISP, true}, {Inet, false},
	{Client1, false}, {Client2, false}, {HS0, false}, {HS1, false},
}

// cable is a veth pair.
type cable struct {
	a, b end
}

// end is one side of a cable, with the offloads it needs changed.
type end struct {
	ns, link string
	mac      net.HardwareAddr
	offloads [][]offload
}

// The clients keep their offloads: the router's LAN side sees what a local stack
// sends, unfinished checksums and segments to be cut. Where the router may run
// XDP, the far end behaves like a wire. isp's end towards inet completes
// checksums for real, so that inet's stack verifies what the router made of them.
var cables = []cable{
	{a: end{Router, If2G, mac2G, nil}, b: end{Client1, ifHost, macClient1, nil}},
	{a: end{Router, If5G, mac5G, nil}, b: end{Client2, ifHost, macClient2, nil}},
	{a: end{Router, IfWAN, macWAN, nil}, b: end{ISP, ifISP, macISP, [][]offload{realWire, xdpReceiver}}},
	{a: end{Router, IfHS0, macHS0, nil}, b: end{HS0, ifHost, macHS0Host, [][]offload{realWire, xdpReceiver}}},
	{a: end{Router, IfHS1, macHS1, nil}, b: end{HS1, ifHost, macHS1Host, [][]offload{realWire, xdpReceiver}}},
	{a: end{ISP, ifInet, macISPInet, [][]offload{realWire}}, b: end{Inet, ifHost, macInet, nil}},
}

// bridged are the router's interfaces that are ports of its bridge.
var bridged = []string{If2G, If5G}

type address struct {
	ns, link string
	pair     Pair
	bits     [2]int
}

var addresses = []address{
	{Router, IfLAN, AddrRouterLAN, [2]int{24, 64}},
	{Client1, ifHost, AddrClient1, [2]int{24, 64}},
	{Client2, ifHost, AddrClient2, [2]int{24, 64}},
	{Router, IfWAN, AddrRouterWAN, [2]int{16, 64}},
	{ISP, ifISP, AddrISP, [2]int{16, 64}},
	{Router, IfHS0, addrHS0GW, [2]int{24, 64}},
	{HS0, ifHost, AddrHS0, [2]int{24, 64}},
	{Router, IfHS1, addrHS1GW, [2]int{24, 64}},
	{HS1, ifHost, AddrHS1, [2]int{24, 64}},
	{ISP, ifInet, addrGateway, [2]int{24, 64}},
	{Inet, ifHost, AddrServer, [2]int{24, 64}},
	{Inet, ifHost, AddrBlocked, [2]int{32, 128}},
	{Inet, ifHost, AddrPMTU, [2]int{32, 128}},
	{Inet, ifHost, AddrReload, [2]int{32, 128}},
}

// route leads to a destination, or everywhere when it has none.
type route struct {
	ns, link string
	to       Pair
	bits     [2]int
	via      Pair
}

var routes = []route{
	{ns: Client1, link: ifHost, via: AddrRouterLAN},
	{ns: Client2, link: ifHost, via: AddrRouterLAN},
	{ns: HS0, link: ifHost, via: addrHS0GW},
	{ns: HS1, link: ifHost, via: addrHS1GW},
	{ns: Router, link: IfWAN, via: AddrISP},
	{ns: Inet, link: ifHost, via: addrGateway},
	{ns: ISP, link: ifInet, to: AddrBlocked, bits: [2]int{32, 128}, via: AddrServer},
	{ns: ISP, link: ifInet, to: AddrPMTU, bits: [2]int{32, 128}, via: AddrServer},
	{ns: ISP, link: ifInet, to: AddrReload, bits: [2]int{32, 128}, via: AddrServer},
	// isp's routes to the LAN let a packet come in from the WAN that a router
	// without a firewall would deliver.
	{ns: ISP, link: ifISP, to: pair("192.168.1.0", "fd00::"), bits: [2]int{24, 64}, via: AddrRouterWAN},
}

// neighbour is a fixed link-layer address: the ruleset of the reference
// deployment accepts neighbour discovery on its high-speed links only from
// link-local sources.
type neighbour struct {
	ns, link string
	addr     netip.Addr
	mac      net.HardwareAddr
}

var neighbours = []neighbour{
	{Router, IfHS0, AddrHS0.V6, macHS0Host},
	{HS0, ifHost, addrHS0GW.V6, macHS0},
	{Router, IfHS1, AddrHS1.V6, macHS1Host},
	{HS1, ifHost, addrHS1GW.V6, macHS1},
	// isp itself may not ask for the router's address either.
	{ISP, ifISP, AddrRouterWAN.V6, macWAN},
}

// build makes the namespaces and everything in them.
func (l *Lab) build() error {
	for _, h := range hosts {
		ns, err := createNamespace(nsPrefix(l.id) + h.name)
		if err != nil {
			return err
		}
		l.ns[h.name] = ns
		l.undo.add("namespace "+ns.name, func() error { return errors.Join(ns.Close(), removeNamespace(ns.name)) })
		list := hostSysctls
		if h.forwards {
			list = append(append([]sysctl{}, hostSysctls...), routerSysctls...)
		}
		if err := ns.setSysctls(list); err != nil {
			return err
		}
		handle, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("%s: netlink: %w", ns.name, err)
		}
		l.links[h.name] = handle
		l.undo.add("netlink "+ns.name, func() error { handle.Close(); return nil })
		if err := l.setUp(h.name, "lo"); err != nil {
			return err
		}
	}
	for _, build := range []func() error{l.buildLinks, l.buildAddresses, l.buildRoutes} {
		if err := build(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) buildLinks() error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: new(bool)}
	bridge.Name, bridge.HardwareAddr = IfLAN, macLAN
	if err := l.links[Router].LinkAdd(bridge); err != nil {
		return fmt.Errorf("add %s: %w", IfLAN, err)
	}
	for _, c := range cables {
		veth := &netlink.Veth{
			LinkAttrs:        netlink.NewLinkAttrs(),
			PeerName:         c.b.link,
			PeerHardwareAddr: c.b.mac,
			PeerNamespace:    netlink.NsFd(l.ns[c.b.ns].Fd()),
		}
		veth.Name, veth.HardwareAddr = c.a.link, c.a.mac
		if err := l.links[c.a.ns].LinkAdd(veth); err != nil {
			return fmt.Errorf("add %s: %w", c.a.link, err)
		}
		for _, e := range []end{c.a, c.b} {
			if err := l.ns[e.ns].setOffloads(e.link, e.offloads...); err != nil {
				return err
			}
		}
	}
	for _, name := range bridged {
		port, err := l.link(Router, name)
		if err != nil {
			return err
		}
		if err := l.links[Router].LinkSetMasterByIndex(port, bridge.Index); err != nil {
			return fmt.Errorf("add %s to %s: %w", name, IfLAN, err)
		}
	}
	for _, c := range cables {
		for _, e := range []end{c.a, c.b} {
			if err := l.setUp(e.ns, e.link); err != nil {
				return err
			}
		}
	}
	return l.setUp(Router, IfLAN)
}

func (l *Lab) buildAddresses() error {
	for _, a := range addresses {
		link, err := l.link(a.ns, a.link)
		if err != nil {
			return err
		}
		for i, addr := range []netip.Addr{a.pair.V4, a.pair.V6} {
			err := l.links[a.ns].AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr, a.bits[i]), Flags: unix.IFA_F_NODAD})
			if err != nil {
				return fmt.Errorf("%s: add %s to %s: %w", a.ns, addr, a.link, err)
			}
		}
	}
	for _, n := range neighbours {
		link, err := l.link(n.ns, n.link)
		if err != nil {
			return err
		}
		err = l.links[n.ns].NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: n.addr.AsSlice(), HardwareAddr: n.mac,
		})
		if err != nil {
			return fmt.Errorf("%s: neighbour %s: %w", n.ns, n.addr, err)
		}
	}
	return nil
}

func (l *Lab) buildRoutes() error {
	for _, r := range routes {
		link, err := l.link(r.ns, r.link)
		if err != nil {
			return err
		}
		for i, family := range []int{4, 6} {
			nr := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: r.via.Of(family).AsSlice()}
			if to := r.to.Of(family); to.IsValid() {
				nr.Dst = ipNet(to, r.bits[i])
			} else {
				nr.Dst = ipNet(anyAddr.Of(family), 0)
			}
			if err := l.links[r.ns].RouteAdd(nr); err != nil {
				return fmt.Errorf("%s: route to %s: %w", r.ns, nr.Dst, err)
			}
		}
	}
	return nil
}

func (l *Lab) link(ns, name string) (netlink.Link, error) {
	link, err := l.links[ns].LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ns, name, err)
	}
	return link, nil
}

func (l *Lab) setUp(ns, name string) error {
	link, err := l.link(ns, name)
	if err != nil {
		return err
	}
	if err := l.links[ns].LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: set %s up: %w", ns, name, err)
	}
	return nil
}

// setMTU changes the MTU of an interface.
func (l *Lab) setMTU(ns, name string, mtu int) error {
	link, err := l.link(ns, name)
	if err != nil {
		return err
	}
	return wrap(l.links[ns].LinkSetMTU(link, mtu), fmt.Sprintf("%s: mtu %d of %s", ns, mtu, name))
}

func ipNet(addr netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
}
