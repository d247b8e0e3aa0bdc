// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// testSet makes a set without reading a ruleset.
func testSet(flags nft.SetFlags, types ...string) *Set {
	lens := map[string]int{"ipv4_addr": 4, "ipv6_addr": 16, "ether_addr": 6, "ifname": 16, "mark": 4, "inet_service": 2}
	src := &nft.Set{Table: &nft.Table{Family: nft.FamilyInet, Name: "t"}, Name: "s", Flags: flags, KeyType: strings.Join(types, concatSeparator)}
	at := 0
	for _, typ := range types {
		n := lens[typ]
		if n == 0 {
			n = 1
		}
		src.Fields = append(src.Fields, nft.Field{Type: typ, Offset: at, Len: n})
		at += (n + 3) &^ 3
	}
	return newSet(0, src, Options{Links: testLinks, SetSize: 16})
}

func TestElementText(t *testing.T) {
	interval := nft.SetInterval
	tests := []struct {
		set     *Set
		element string
		keys    string // hex, or the beginning of the error
		text    string // when it is not the element
	}{
		{testSet(0, "ipv4_addr"), "192.0.2.1", "c0000201", ""},
		{testSet(0, "ipv4_addr"), "192.0.2.0/24", "error: not an address", ""},
		{testSet(0, "ipv4_addr"), "2001:db8::1", "error: not an IPv4 address", ""},
		{testSet(0, "ipv4_addr"), "192.0.2", "error: not an address", ""},
		{testSet(0, "ipv4_addr"), "", "error: not an address", ""},
		{testSet(0, "ipv6_addr"), "2001:DB8:0::1", "20010db8000000000000000000000001", "2001:db8::1"},
		{testSet(0, "ipv6_addr"), "fe80::1%eth0", "error: not an address", ""},
		{testSet(0, "inet_service"), "22", "0016", ""},
		{testSet(0, "inet_service"), "65536", "error: too large", ""},
		{testSet(0, "inet_service"), "-1", "error: not a number", ""},
		{testSet(0, "inet_proto"), "tcp", "06", ""},
		{testSet(0, "inet_proto"), "255", "ff", ""},
		{testSet(0, "icmpv6_type"), "nd-neighbor-solicit", "87", ""},
		{testSet(0, "icmp_type"), "nd-neighbor-solicit", "error: not a number", ""},
		{testSet(0, "mark"), "0x10", "10000000", "0x00000010"},
		{testSet(interval, "mark"), "0x10", "2000000000000010", "0x00000010"},
		{testSet(0, "ifname"), "br0", "07000000", `"br0"`},
		{testSet(0, "ifname"), `"hs1"`, "0c000000", ""},
		{testSet(0, "ifname"), "absent0", "error: no interface of that name", ""},
		{testSet(0, "ether_addr"), "02:00:00:00:00:0a", "02000000000a", ""},
		{testSet(0, "ipv4_addr", "inet_service"), "192.0.2.1 . 443", "c000020101bb0000", ""},
		{testSet(0, "ipv4_addr", "inet_service"), "192.0.2.1", "error: 1 parts", ""},
		{testSet(0, "ifname", "inet_proto", "inet_service"), `"br0" . udp . 53`, "070000001100000000350000", ""},
		{testSet(interval, "ipv4_addr"), "192.0.2.1", "20000000c0000201", ""},
		{testSet(interval, "ipv4_addr"), "192.0.2.77/24", "18000000c0000200", "192.0.2.0/24"},
		{testSet(interval, "ipv4_addr"), "0.0.0.0/0", "0000000000000000", ""},
		{testSet(interval, "ipv4_addr"), "192.0.2.3-192.0.2.8", "20000000c0000203 1e000000c0000204 20000000c0000208", "192.0.2.3 192.0.2.4/30 192.0.2.8"},
		{testSet(interval, "ipv4_addr"), "0.0.0.0-255.255.255.255", "0000000000000000", "0.0.0.0/0"},
		{testSet(interval, "ipv4_addr"), "192.0.2.8-192.0.2.3", "error: the range ends before it begins", ""},
		{testSet(interval, "ipv4_addr"), "2001:db8::/32", "error: not an IPv4 address", ""},
		{testSet(interval, "ipv6_addr"), "2001:db8::/32", "2000000020010db8000000000000000000000000", ""},
		{testSet(interval, "inet_service"), "1024-2047", "060000000400", ""},
		{testSet(interval, "inet_service"), "0-65535", "000000000000", ""},
		{testSet(interval, "inet_service"), "22-x", "error: not a number", ""},
	}
	for _, tt := range tests {
		t.Run(tt.set.KeyType+" "+tt.element, func(t *testing.T) {
			keys, err := tt.set.Encode(tt.element)
			if want, isError := strings.CutPrefix(tt.keys, "error: "); isError {
				if err == nil {
					t.Fatalf("keys %x, want an error", keys)
				}
				prefix := `set inet t s: element "` + tt.element + `": ` + want + "; want "
				if !strings.HasPrefix(err.Error(), prefix) {
					t.Errorf("error %q, want %q", err, prefix)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got, texts []string
			for _, k := range keys {
				got = append(got, hex.EncodeToString(k))
				text, err := tt.set.Decode(k)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			if s := strings.Join(got, " "); s != tt.keys {
				t.Errorf("keys %s, want %s", s, tt.keys)
			}
			want := tt.text
			if want == "" {
				want = tt.element
			}
			if s := strings.Join(texts, " "); s != want {
				t.Errorf("text %s, want %s", s, want)
			}
		})
	}
}

// Whatever the text, it is refused, or means keys whose texts mean the same
// keys.
func FuzzElementText(f *testing.F) {
	sets := []*Set{
		testSet(0, "ipv4_addr"), testSet(nft.SetInterval, "ipv4_addr"), testSet(nft.SetInterval, "ipv6_addr"),
		testSet(0, "ipv6_addr", "inet_service", "inet_proto"), testSet(nft.SetInterval, "inet_service"),
		testSet(0, "ifname", "mark"), testSet(0, "icmp_type"), testSet(nft.SetInterval, "icmpv6_type"), testSet(0, "ether_addr"),
	}
	for _, s := range []string{
		"192.0.2.1", "192.0.2.0/24", "192.0.2.3-192.0.2.9", "::/0", "2001:db8::1 . 80 . tcp", "1-65535", `"br0" . 0x7`,
		"echo-request", "nd-router-solicit-nd-redirect", "02:00:00:00:00:01", "0-255", " . ", "-", "/",
	} {
		for i := range sets {
			f.Add(i, s)
		}
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		if i < 0 || i >= len(sets) {
			return
		}
		s := sets[i]
		keys, err := s.Encode(text)
		if err != nil {
			return
		}
		if len(keys) == 0 {
			t.Fatalf("%q: no keys", text)
		}
		for _, k := range keys {
			again, err := s.Decode(k)
			if err != nil {
				t.Fatalf("%q: key %x: %v", text, k, err)
			}
			same, err := s.Encode(again)
			if err != nil || !reflect.DeepEqual(same, [][]byte{k}) {
				t.Fatalf("%q: key %x is %q, which is %x, %v", text, k, again, same, err)
			}
		}
	})
}
