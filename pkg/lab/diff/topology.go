// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"net"
	"net/netip"
)

// port is an interface of both routers, with the hosts behind it.
type port struct {
	name  string
	addrs [2]netip.Prefix // of the router: IPv4, IPv6
	// hosts behind it, by family; a router can reach each without asking.
	hosts [2][]netip.Addr
	wan   bool // the default route, by the first host of each family
}

// maxPorts is how many interfaces a router can have.
const maxPorts = 4

// DefaultInterfaces are those of the reference deployment: the LAN, the WAN, and
// trusted networks.
var DefaultInterfaces = []string{"br0", "enp1s0", "enp66s0f0np0", "enp66s0f1np1"}

// ports are the interfaces under other names.
func newPorts(names []string) ([]port, error) {
	if len(names) < 2 || len(names) > maxPorts {
		return nil, fmt.Errorf("%d interfaces: want 2 to %d, the LAN first and the WAN second", len(names), maxPorts)
	}
	prefixes := func(v4, v6 string) [2]netip.Prefix {
		return [2]netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}
	}
	all := []port{
		{addrs: prefixes("192.168.1.1/24", "fd00::1/64"), hosts: addresses("192.168.1.50 192.168.1.51", "fd00::50 fd00::51")},
		{addrs: prefixes("172.16.0.2/16", "2600:1700:16::2/64"), wan: true, hosts: addresses(
			"172.16.0.1 172.16.0.9 1.1.1.1 8.8.8.8 9.9.9.9 203.0.113.5 10.9.9.9",
			"2600:1700:16::1 2600:1700:16::9 2606:4700:4700::1111 2620:fe::9 2001:db8::9")},
		{addrs: prefixes("10.0.0.1/24", "2600:1700:66::1/64"), hosts: addresses("10.0.0.2 10.0.0.3", "2600:1700:66::2")},
		{addrs: prefixes("10.0.1.1/24", "2600:1700:67::1/64"), hosts: addresses("10.0.1.2", "2600:1700:67::2")},
	}
	for i, name := range names {
		all[i].name = name
	}
	return all[:len(names)], nil
}

func addresses(v4, v6 string) (list [2][]netip.Addr) {
	for i, text := range []string{v4, v6} {
		for _, a := range fields(text) {
			list[i] = append(list[i], netip.MustParseAddr(a))
		}
	}
	return list
}

// onLink tells whether the router sends to a host without a gateway.
func (p *port) onLink(a netip.Addr) bool {
	return p.addrs[0].Masked().Contains(a) || p.addrs[1].Masked().Contains(a)
}

// Link-layer addresses, the same at both routers.
func routerMAC(i int) net.HardwareAddr { return net.HardwareAddr{2, 0x4c, 0x32, 1, byte(i), 1} }
func hostMAC(i int) net.HardwareAddr   { return net.HardwareAddr{2, 0x4c, 0x32, 1, byte(i), 2} }

// version is the index of an address's family.
func version(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
