// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writes is a ruleset that writes to datagrams for the host, where connection tracking has
// seen them.
const writes = `table inet t { chain c {
	type filter hook input priority 0; policy accept;
	ct state invalid drop
	udp dport { 7100, 7101 } ip6 dscp set cs1 counter
	udp dport { 7100, 7101 } ip dscp set cs1 counter
}; }
`

// TestWrittenForHost: what a rule of an input chain has written to arrives at sockets, and is
// answered where there are none. Of IPv6 datagrams of more than 68 bytes, nftables has the
// kernel lose both: see docs/nftables.md.
func TestWrittenForHost(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.mustApply(r.config(r.compiledFor(writes)))
	lan := r.tap(t, "l")
	inFamilies(t, func(t *testing.T, f family) {
		r.echoUDP(t, "r", at(f.rlan, 7100))
		for i, size := range []int{20, 68, 69, 1200} {
			from := at(f.lan, 6600+uint16(i))
			if err := r.datagram(t, from, at(f.rlan, 7100), size); err != nil {
				t.Errorf("%d bytes to a socket: %v", size, err)
			}
			closed := at(f.rlan, 7101)
			lan.send(ipPacket(from.Addr(), closed.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, closed, make([]byte, size))))
			unreachable := pick[uint8](f, 3, 1)
			lan.receive("port unreachable", func(p packet) bool { return p.proto == icmpProto(f.lan) && p.l4[0] == unreachable })
		}
	})
}

// TestWrittenForHostByNftables: when this fails, the kernel has been mended, and what the
// documentation says of it is to go.
func TestWrittenForHostByNftables(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.in("r", func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(writes)
		return cmd.Run()
	})
	inFamilies(t, func(t *testing.T, f family) {
		r.echoUDP(t, "r", at(f.rlan, 7100))
		for i, size := range []int{68, 69} {
			err := r.datagram(t, at(f.lan, 6600+uint16(i)), at(f.rlan, 7100), size)
			if lost := err != nil; lost != (size > 68 && f.lan.Is6()) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	})
}
