// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// temporary stands for the address that the kernel has made up (RFC 8981).
const temporary = "temporary"

// sourceCase is what an interface has, and which source masquerade gives to a datagram.
type sourceCase struct {
	name    string
	detects bool     // duplicate addresses, for longer than a test takes
	sysctls []string // below net.ipv6
	batch   []string // of ip, beside the addresses of wan0
	wan     []string // addresses; the kernel looks at the last one of a scope first
	want    map[string]string
}

// Each decides by another rule of RFC 6724, in the kernel's order.
var sourceCases = []sourceCase{{
	name: "scope",
	wan:  []string{"fe80::7/64", "fec0::7/64", "2001:db8:7::7/64"},
	want: map[string]string{"ff02::7": "fe80::7", "ff03::7": "fec0::7", "ff05::7": "fec0::7", "ff08::7": "2001:db8:7::7", "ff0e::7": "2001:db8:7::7"},
}, {
	name: "scope, none that is large enough",
	wan:  []string{"fe80::7/64", "fec0::7/64"},
	want: map[string]string{"ff05::7": "fec0::7", "ff0e::7": "fec0::7"},
}, {
	name: "no link-local address",
	wan:  []string{"fd00:7::7/64", "2001:db8:7::7/64"},
	want: map[string]string{"ff02::7": "2001:db8:7::7", "ff05::7": "2001:db8:7::7", "fe80::9": "2001:db8:7::7"},
}, {
	name: "deprecated",
	wan:  []string{"2001:db8:7::7/64", "2001:db8:7::8/64 preferred_lft 0"},
	want: map[string]string{"ff02::7": "2001:db8:7::7", "ff0e::7": "2001:db8:7::7", "2001:db8:7::99": "2001:db8:7::7"},
}, {
	name: "deprecated before a larger scope",
	wan:  []string{"fec0::7/64 preferred_lft 0", "2001:db8:7::7/64"},
	want: map[string]string{"ff05::7": "fec0::7", "ff0e::7": "2001:db8:7::7"},
}, {
	name: "label",
	wan:  []string{"fd00:7::7/64", "2001:db8:7::7/64", "2002:7::7/64"},
	want: map[string]string{"fd00:8::99": "fd00:7::7", "2002:8::99": "2002:7::7", "3001::99": "2001:db8:7::7", "ff0e::7": "2001:db8:7::7", "ff0e:ffff::7": "2001:db8:7::7"},
}, {
	name:  "label of the operator's",
	batch: []string{"addrlabel add prefix ff0e:9::/32 label 99", "addrlabel add prefix fd00:7::/32 dev wan0 label 99", "addrlabel add prefix 2001:db8:7::/48 dev lan0 label 99"},
	wan:   []string{"fd00:7::7/64", "2001:db8:7::7/64"},
	want:  map[string]string{"ff0e:9::7": "fd00:7::7", "ff0e:8::7": "2001:db8:7::7"},
}, {
	name:    "temporary ones are preferred",
	sysctls: []string{"conf/wan0/use_tempaddr=2"},
	wan:     []string{"2001:db8:7::7/64 mngtmpaddr"},
	want:    map[string]string{"ff0e::7": temporary, "2001:db8:7::99": temporary},
}, {
	name:    "temporary ones are not preferred",
	sysctls: []string{"conf/wan0/use_tempaddr=1"},
	wan:     []string{"2001:db8:7::7/64 mngtmpaddr"},
	want:    map[string]string{"ff0e::7": "2001:db8:7::7", "2001:db8:7::99": "2001:db8:7::7"},
}, {
	name:  "ORCHID",
	batch: []string{"addrlabel add prefix 2001:10::/28 dev wan0 label 1"},
	wan:   []string{"2001:10::7/64", "3001::7/64", "2001:20::7/64"},
	want:  map[string]string{"2001:10:1::99": "2001:10::7", "2001:0020:1::99": "2001:20::7"},
}, {
	name: "prefix",
	wan:  []string{"2001:db8:7:1::7/64", "2001:db8:7:2::7/64", "2001:db8:7:2::8/40"},
	want: map[string]string{"2001:db8:7:1::99": "2001:db8:7:1::7", "2001:db8:7:2::99": "2001:db8:7:2::7", "2001:db8:7:2::9": "2001:db8:7:2::7", "2001:db8:7:3::99": "2001:db8:7:2::7"},
}, {
	name:    "optimistic",
	detects: true,
	wan:     []string{"2001:db8:7::7/64 nodad", "2001:db8:7::8/64 optimistic"},
	want:    map[string]string{"ff0e::7": "2001:db8:7::7", "2001:db8:7::99": "2001:db8:7::7"},
}, {
	name:    "optimistic as good as deprecated",
	detects: true,
	wan:     []string{"2001:db8:7::7/64 nodad preferred_lft 0", "2001:db8:7::8/64 optimistic"},
	want:    map[string]string{"ff0e::7": "2001:db8:7::7"},
}, {
	name:    "optimistic before deprecated",
	detects: true,
	sysctls: []string{"conf/wan0/optimistic_dad=1", "conf/wan0/use_optimistic=1"},
	wan:     []string{"2001:db8:7::7/64 nodad preferred_lft 0", "2001:db8:7::8/64 optimistic"},
	want:    map[string]string{"ff0e::7": "2001:db8:7::8"},
}, {
	name:    "tentative",
	detects: true,
	wan:     []string{"2001:db8:7::7/64 nodad preferred_lft 0", "2001:db8:7::8/64"},
	want:    map[string]string{"ff0e::7": "2001:db8:7::7"},
}, {
	// A route's own source does not matter to masquerade, only those of the interfaces.
	name:  "a route with a source",
	batch: []string{"addr add 2001:db8:9::1/64 dev lan0 nodad", "route replace 3001::/16 dev wan0 src 2001:db8:9::1"},
	wan:   []string{"2001:db8:7::7/64"},
	want:  map[string]string{"3001::99": "2001:db8:7::7"},
}, {
	// Unless the destination is of the link, another interface's address does.
	name:  "of another interface",
	batch: []string{"addr add 2001:db8:9::1/64 dev lan0 nodad"},
	wan:   []string{"fe80::7/64", "fec0::7/64"},
	want:  map[string]string{"3001::99": "2001:db8:9::1", "ff0e::7": "fec0::7", "fe80::9": "fe80::7"},
}, {
	name:  "of another interface, deprecated",
	batch: []string{"addr add 2001:db8:9::1/64 dev lan0 nodad"},
	wan:   []string{"2001:db8:7::7/64 preferred_lft 0"},
	want:  map[string]string{"3001::99": "2001:db8:9::1", "ff0e::7": "2001:db8:7::7"},
}, {
	name:    "only of this interface",
	sysctls: []string{"conf/wan0/use_oif_addrs_only=1"},
	batch:   []string{"addr add 2001:db8:9::1/64 dev lan0 nodad"},
	wan:     []string{"fec0::7/64", "2001:db8:7::7/64 preferred_lft 0"},
	want:    map[string]string{"3001::99": "2001:db8:7::7"},
}}

// TestMasqueradeSource: of the addresses that there are, masquerade takes the one that the kernel's does.
func TestMasqueradeSource(t *testing.T) {
	masqueraded(t, func(t *testing.T, r *router) {
		r.must("ip", "netns", "exec", r.name+"r", "ethtool", "-K", "wan0", "tx", "off")
		wan, port := r.tap(t, "w"), uint16(7400)
		for _, c := range sourceCases {
			r.setAddresses(t, c)
			for to, want := range c.want {
				port++
				if got := r.sourceTowards(t, wan, at(netip.MustParseAddr(to), port)); got != want {
					t.Errorf("%s: to %s it comes from %s, want %s", c.name, to, got, want)
				}
			}
		}
	})
}

// setAddresses gives the router what a case has, and nothing of those before.
func (r *router) setAddresses(t *testing.T, c sourceCase) {
	t.Helper()
	defaults := []string{"conf/wan0/use_tempaddr=0", "conf/wan0/optimistic_dad=0", "conf/wan0/use_optimistic=0", "conf/wan0/use_oif_addrs_only=0",
		"conf/wan0/accept_dad=0", "conf/wan0/dad_transmits=1"}
	if c.detects {
		defaults = append(defaults, "conf/wan0/accept_dad=1", "conf/wan0/dad_transmits=600")
	}
	r.in("r", func() error {
		var all []string
		for _, s := range append(defaults, c.sysctls...) {
			all = append(all, "ipv6/"+s)
		}
		return sysctls(all...)
	})
	lines := []string{"addr flush dev wan0", "addr flush dev lan0", "addrlabel flush"}
	for _, s := range defaultLabels {
		lines = append(lines, "addrlabel add prefix "+s)
	}
	lines = append(lines, "addr add fd07::1/64 dev lan0 nodad")
	for _, a := range c.wan {
		lines = append(lines, "addr add "+a+" dev wan0")
	}
	lines = append(lines, c.batch...)
	r.batch("r", append(lines, "route replace ::/0 dev wan0")...)
	if c.detects {
		return
	}
	temporaries := 0
	if slices.ContainsFunc(c.wan, func(a string) bool { return strings.Contains(a, "mngtmpaddr") }) {
		temporaries = 1
	}
	eventually(t, patience, c.name+": addresses that can be used", func() bool {
		return len(r.addresses(unix.IFA_F_TENTATIVE)) == 0 && len(r.addresses(unix.IFA_F_TEMPORARY)) == temporaries
	})
}

// The kernel's table of labels, which `ip addrlabel flush` empties.
var defaultLabels = []string{"::1/128 label 0", "::/96 label 3", "::ffff:0:0/96 label 4", "2001::/32 label 6", "2001:10::/28 label 7",
	"3ffe::/16 label 12", "2002::/16 label 2", "fec0::/10 label 11", "fc00::/7 label 5", "::/0 label 1"}

// sourceTowards sends a datagram of the router's own and returns its source.
func (r *router) sourceTowards(t *testing.T, wan *wire, to netip.AddrPort) string {
	t.Helper()
	if !to.Addr().IsMulticast() {
		r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev wan0", to.Addr(), r.mac["w/eth0"]))
	}
	socket := r.udp(t, "r", at(netip.IPv6Unspecified(), to.Port()))
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r.in("r", func() error {
		var bound error // or a group wider than the link goes by any interface
		err := raw.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), "wan0") })
		if err == nil && bound == nil {
			_, err = socket.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(to.Addr().WithZone("wan0"), to.Port()))
		}
		return errors.Join(err, bound)
	})
	p := wan.receive("datagram to "+to.String(), func(p packet) bool { return p.dst == to })
	if wrong := p.wrongChecksum(); wrong != "" {
		t.Errorf("to %s: wrong checksum: %s", to, wrong)
	}
	if slices.Contains(r.addresses(unix.IFA_F_TEMPORARY), p.src.Addr().String()) {
		return temporary
	}
	return p.src.Addr().String()
}

// addresses are those of wan0 that have a flag.
func (r *router) addresses(flag int) (addresses []string) {
	r.t.Helper()
	r.in("r", func() error {
		l, err := netlink.LinkByName("wan0")
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range all {
			if a.Flags&flag != 0 {
				addresses = append(addresses, a.IP.String())
			}
		}
		return err
	})
	return addresses
}
