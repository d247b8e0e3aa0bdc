// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestExchanges: neither end of an exchange sends when the routers may disagree
// on whether it is a stream by now, whatever was translated.
func TestExchanges(t *testing.T) {
	client, server, outside := netip.MustParseAddrPort("192.168.1.50:5000"), netip.MustParseAddrPort("203.0.113.5:53"), netip.MustParseAddrPort("172.16.0.2:6000")
	packet := func(src, dst netip.AddrPort) (natKey, []parsed) {
		h := ipHeader{src: src.Addr(), dst: dst.Addr(), proto: unix.IPPROTO_UDP, ttl: 64}
		p, ok := parse(h.packetOf(udpDatagram(src.Port(), dst.Port(), nil)))
		k, named := keyOf(p)
		if !ok || !named {
			t.Fatal("no datagram")
		}
		return k, []parsed{p}
	}
	request, _ := packet(client, server)
	_, translated := packet(outside, server)
	answer, _ := packet(server, outside)
	_, back := packet(server, client)
	begin := time.Now()
	e := exchanges{}
	e.note(request, begin.Add(-time.Second), nil) // went nowhere
	e.note(request, begin, translated)
	e.note(answer, begin.Add(time.Second), back)
	for _, k := range []natKey{request, answer} {
		for age, want := range map[time.Duration]time.Duration{
			0: 0, streamAfter - streamDoubt: 0, streamAfter - time.Millisecond: streamDoubt + time.Millisecond,
			streamAfter: streamDoubt, streamAfter + streamDoubt - 1: 1, streamAfter + streamDoubt: 0, time.Hour: 0,
		} {
			if got := e.wait(k, begin.Add(age)); got != want {
				t.Errorf("%v, %v after the first: waits %v, not %v", k, age, got, want)
			}
		}
	}
	other, _ := packet(client, outside)
	if d := e.wait(other, begin.Add(streamAfter)); d != 0 {
		t.Errorf("another exchange waits %v", d)
	}
}
