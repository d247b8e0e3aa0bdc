// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSteady: where only the first packets of flows come to what is TC's, as most rules
// that clamp segment sizes and those behind ct state established are, the others go by XDP.
func TestSteady(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	p := r.compiledFor(`table inet t {
	chain fresh {
		meta l4proto tcp ip dscp set cs1
		meta l4proto tcp ip6 dscp set cs1
		accept
	}
	chain m { type filter hook forward priority mangle; tcp flags syn / syn,rst tcp option maxseg size set 1300; }
	chain c { type filter hook forward priority 0; policy drop;
		meta l4proto tcp counter
		ct state vmap { established : accept, new : jump fresh }
		reject
	}
}
`)
	if len(p.TCOnly) > 0 {
		t.Fatalf("at TC: %q", p.TCOnlyTexts())
	}
	d := r.mustApply(r.config(p))
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	inFamilies(t, func(t *testing.T, f family) {
		client, server := at(f.lanless, 5402), at(f.wanless, 80)
		send := func(fromLAN bool, flags byte) packet {
			from, to, src, dst := lan, wan, client, server
			if !fromLAN {
				from, to, src, dst = wan, lan, server, client
			}
			frame := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flags))
			if flags&flagSYN != 0 {
				frame = synWith(src, dst, flags, 1460)
			}
			from.send(frame)
			return to.receive("segment", func(p packet) bool { return p.proto == unix.IPPROTO_TCP && p.dst == dst })
		}
		counted := packetsAt(t, d, p, "meta l4proto tcp counter")
		for i, flags := range []byte{flagSYN, flagSYN | flagACK} {
			if mss := send(i == 0, flags).mss(); mss != 1300 {
				t.Errorf("flags %#x: segments of %d bytes, want 1300", flags, mss)
			}
		}
		send(true, flagACK)
		send(false, flagACK)
		before := stat(t, d, "xdp_forwarded")
		const segments = 4
		for i := range segments {
			send(i%2 == 0, flagACK)
		}
		send(true, flagFIN|flagACK)
		if n := stat(t, d, "xdp_forwarded") - before; n == 0 {
			t.Error("no segment went by XDP")
		}
		if n := packetsAt(t, d, p, "meta l4proto tcp counter") - counted; n != 2+2+segments+1 {
			t.Errorf("%d segments, counted %d", 2+2+segments+1, n)
		}
	})
}

// synWith is the first segment of a connection, or its answer, that says how large others
// may be.
func synWith(src, dst netip.AddrPort, flags byte, mss uint16) []byte {
	seg := tcpSegment(src, dst, flags)
	seg[12] = 6 << 4
	seg = binary.BigEndian.AppendUint16(append(seg, 2, 4), mss)
	return ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, withChecksum(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, seg))
}
