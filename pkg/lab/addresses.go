// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"net"
	"net/netip"
)

// Names of the namespaces, without the lab's prefix.
const (
	Client1 = "client1"
	Client2 = "client2"
	Router  = "router"
	ISP     = "isp"
	Inet    = "inet"
	HS0     = "hs0"
	HS1     = "hs1"
)

// Interface names in the router, those of the reference deployment.
const (
	IfLAN  = "br0"
	IfWAN  = "enp1s0"
	IfHS0  = "enp66s0f0np0"
	IfHS1  = "enp66s0f1np1"
	If2G   = "wlan_2g"
	If5G   = "wlan_5g"
	ifHost = "eth0" // of every host
	ifISP  = "wan0" // isp's end of the router's enp1s0
	ifInet = "inet0"
)

// Pair is an address of each family.
type Pair struct {
	V4, V6 netip.Addr
}

// Of returns the address of family 4 or 6.
func (p Pair) Of(family int) netip.Addr {
	if family == 4 {
		return p.V4
	}
	return p.V6
}

func pair(v4, v6 string) Pair {
	return Pair{netip.MustParseAddr(v4), netip.MustParseAddr(v6)}
}

// The addresses of the lab. Those beyond the WAN are global ones, because a
// ruleset may rightly refuse documentation and other special-purpose ranges; they
// exist inside the lab's namespaces only.
var (
	AddrRouterLAN = pair("192.168.1.1", "fd00::1")
	AddrClient1   = pair("192.168.1.50", "fd00::50")
	AddrClient2   = pair("192.168.1.51", "fd00::51")
	AddrRouterWAN = pair("172.16.0.2", "2600:1700:16::2")
	AddrISP       = pair("172.16.0.1", "2600:1700:16::1")

	// Inet's addresses: servers, and others that single checks use up.
	AddrServer  = pair("1.1.1.1", "2606:4700:4700::1111")
	AddrBlocked = pair("9.9.9.9", "2620:fe::9")             // blacklisted for a while
	AddrPMTU    = pair("8.8.8.8", "2001:4860:4860::8888")   // learns a path MTU
	AddrReload  = pair("8.8.4.4", "2001:4860:4860::8844")   // refused by a changed ruleset
	addrGateway = pair("1.1.1.254", "2606:4700:4700::ffff") // isp's end towards inet
	addrNowhere = pair("10.9.9.9", "2001:db8::9")           // special purpose, behind the WAN
	addrSpoofed = pair("192.168.1.77", "fd00::77")          // a LAN address on the wrong side
	addrLoop    = pair("127.0.0.1", "::1")                  // a loopback address on the wire
	addrHS0GW   = pair("10.0.0.1", "2600:1700:66::1")       // enp66s0f0np0
	addrHS1GW   = pair("10.0.1.1", "2600:1700:67::1")       // enp66s0f1np1
	AddrHS0     = pair("10.0.0.2", "2600:1700:66::2")       // behind enp66s0f0np0
	AddrHS1     = pair("10.0.1.2", "2600:1700:67::2")       // behind enp66s0f1np1
	anyAddr     = pair("0.0.0.0", "::")
)

// Ports of the servers.
const (
	portSSH   = 22
	portDNS   = 53
	portHTTP  = 80
	portEcho  = 7
	portIperf = 5201
)

// Fixed link-layer addresses, locally administered.
var (
	macLAN     = mac(1, 1)
	mac2G      = mac(1, 2)
	mac5G      = mac(1, 3)
	macClient1 = mac(1, 0x50)
	macClient2 = mac(1, 0x51)
	macWAN     = mac(2, 1)
	macISP     = mac(2, 2)
	macISPInet = mac(3, 1)
	macInet    = mac(3, 2)
	macHS0     = mac(4, 1)
	macHS0Host = mac(4, 2)
	macHS1     = mac(5, 1)
	macHS1Host = mac(5, 2)
)

func mac(link, station byte) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x4c, 0x32, 0, link, station}
}
