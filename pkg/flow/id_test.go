// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"net/netip"
	"testing"
)

// TestID: rules find the same numbers, TestCtID of pkg/policy.
func TestID(t *testing.T) {
	tuple := func(src, dst string) rawTuple {
		s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
		k := rawTuple{L4proto: protoTCP, Nfproto: 2, Sport: [2]byte{byte(s.Port() >> 8), byte(s.Port())}, Dport: [2]byte{byte(d.Port() >> 8), byte(d.Port())}}
		if s.Addr().Is6() {
			k.Nfproto = 10
		}
		copy(k.Saddr[:], s.Addr().AsSlice())
		copy(k.Daddr[:], d.Addr().AsSlice())
		return k
	}
	zoned := tuple("192.168.1.7:40000", "203.0.113.9:443")
	zoned.Zone = 5
	for _, tt := range []struct {
		k    rawTuple
		want uint32
	}{
		{tuple("192.168.1.7:40000", "203.0.113.9:443"), 2122150726},
		{tuple("[fd00::7]:40000", "[2001:db8::1]:443"), 3570741403},
		{zoned, 2683496964},
	} {
		if got := tt.k.id(); got != tt.want {
			t.Errorf("%+v: %d, not %d", tt.k, got, tt.want)
		}
	}
}
