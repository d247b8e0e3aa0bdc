// SPDX-License-Identifier: GPL-2.0-only

package prefixes

import (
	"net/netip"
	"slices"
	"testing"
)

func parse(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestRest(t *testing.T) {
	for _, test := range []struct {
		whole  string
		used   []netip.Prefix
		length int
		want   []netip.Prefix
	}{
		{"2001:db8::/56", nil, 60, parse("2001:db8::/56")},
		{"2001:db8::/56", parse("2001:db8:0:1::/64"), 60, parse("2001:db8:0:10::/60", "2001:db8:0:20::/59", "2001:db8:0:40::/58", "2001:db8:0:80::/57")},
		{"2001:db8::/62", parse("2001:db8:0:2::/64"), 64, parse("2001:db8::/63", "2001:db8:0:3::/64")},
		{"2001:db8::/63", parse("2001:db8::/64", "2001:db8:0:1::/64"), 64, nil},
		{"2001:db8::/60", parse("2001:db8:0:1::/64"), 60, nil},
		{"2001:db8::/64", parse("2001:db8::/64"), 60, nil},
	} {
		if got := Rest(netip.MustParsePrefix(test.whole), test.used, test.length); !slices.Equal(got, test.want) {
			t.Errorf("%s without %v by /%d: %v, want %v", test.whole, test.used, test.length, got, test.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	got := Networks(parse("fd00::1/64", "fd00::2/128", "10.0.0.1/8", "10.1.0.1/16", "fd01::1/64"))
	if want := parse("10.0.0.0/8", "fd00::/64", "fd01::/64"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
