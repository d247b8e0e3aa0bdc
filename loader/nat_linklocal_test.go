// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// masqueraded runs a test with nftables, whose answers those of the dataplane have to be, and with the dataplane.
func masqueraded(t *testing.T, test func(t *testing.T, r *router)) {
	t.Run("nftables", func(t *testing.T) {
		t.Parallel()
		r := newRouter(t)
		nft := r.host("r", "nft", "-f", "-")
		nft.Stdin = strings.NewReader("table ip6 nat { chain post { type nat hook postrouting priority 100; masquerade; }; }")
		if out, err := nft.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		test(t, r)
	})
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, _ *Dataplane, _ mode) { test(t, r) })
}

// TestMasqueradeLinkLocal: what the router sends to the groups and hosts of a link gets the link-local address that
// the kernel's masquerade gives it.
func TestMasqueradeLinkLocal(t *testing.T) {
	masqueraded(t, func(t *testing.T, r *router) { r.masqueradesLinkLocal(t) })
}

func (r *router) masqueradesLinkLocal(t *testing.T) {
	t.Helper()
	if out, err := r.host("r", "ethtool", "-K", "wan0", "tx", "off").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wan := r.tap(t, "w")
	// The kernel looks at the last one first: which is not to be used any more. The first one is nearer to its neighbours.
	r.batch("r", "addr add fe80::2:1/120 dev wan0 nodad", "addr add fe80::3:1/64 dev wan0 nodad", "addr add fe80::2:77/128 dev wan0 nodad preferred_lft 0")
	for _, to := range []string{"fe80::2:2", "fe80::ffff:0:0:9"} {
		r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev wan0", to, r.mac["w/eth0"]))
	}
	for i, c := range []struct{ from, to, want string }{
		{"::", "ff02::fb", "fe80::3:1"},
		{"2001:db8:7::1", "ff02::1:2", "fe80::3:1"},
		{"2001:db8:7::1", "fe80::2:2", "fe80::2:1"},
		{"2001:db8:7::1", "fe80::ffff:0:0:9", "fe80::3:1"},
	} {
		port := uint16(7300 + i)
		socket := r.udp(t, "r", at(netip.MustParseAddr(c.from), port))
		to := netip.MustParseAddr(c.to)
		r.in("r", func() error {
			_, err := socket.WriteToUDPAddrPort([]byte("hello"), at(to.WithZone("wan0"), port))
			return err
		})
		p := wan.receive("datagram to "+c.to, func(p packet) bool { return p.dst == at(to, port) })
		if p.src != at(netip.MustParseAddr(c.want), port) || p.wrongChecksum() != "" {
			t.Errorf("from %s to %s: it comes from %v, want %s; wrong checksum: %q", c.from, c.to, p.src, c.want, p.wrongChecksum())
		}
	}
}
