// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// filterOf reads words such as "port=53 proto=udp".
func filterOf(words string) (f Filter, err error) {
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		if err = f.Set(name, value); err != nil {
			return f, err
		}
	}
	return f, nil
}

func TestFilter(t *testing.T) {
	f := example() // 192.168.7.2:5000 to 198.51.7.2:80, from 198.51.7.1:6000
	f.Assured, f.Mark, f.Labels, f.In, f.Out = true, 0x35, "0,13", "lan0", "wan0"
	f.Original.Zone = 7
	plain := f
	plain.Reply.Dst, plain.Replied, plain.Confirmed, plain.Assured = f.Original.Src, false, false, false
	forwarded := f
	forwarded.Reply = Direction{Src: netip.MustParseAddrPort("10.0.0.9:8080"), Dst: f.Original.Src}
	for _, c := range []struct {
		flow    *Flow
		yes, no string // words that each select the flow, or do not
	}{
		{&f, "addr=192.168.7.2 addr=198.51.7.0/24 addr=198.51.7.1 addr=0.0.0.0/0", "addr=192.168.7.3 addr=::/0"},
		{&f, "src=192.168.0.0/16 dst=198.51.7.2 reply-src=198.51.7.2 reply-dst=198.51.7.1", "src=198.51.7.2 dst=192.168.7.2 reply-src=198.51.7.1 reply-dst=192.168.7.2 src=::/0"},
		{&f, "port=5000 port=80 port=6000", "port=5001"},
		{&f, "sport=5000 dport=80 reply-port-src=80 reply-port-dst=6000", "sport=80 dport=5000 reply-port-src=6000 reply-port-dst=5000"},
		{&f, "proto=TCP proto=tcp proto=6 family=ipv4", "proto=udp proto=17 family=ipv6"},
		{&f, "state=established state=ESTABLISHED", "state=time_wait"},
		{&f, "status=seen_reply status=assured status=confirmed status=assured,confirmed,seen_reply", "status=unreplied status=half_open status=assured,half_open"},
		{&plain, "status=unreplied status=half_open status=half_open,unreplied", "status=assured status=seen_reply status=confirmed"},
		{&f, "mark=53 mark=0x35 mark=0x30/0xf0 mark=0xf5/0x3f0f05", "mark=0 mark=52 mark=0x40/0xf0"},
		{&f, "label=0 label=13", "label=1 label=3"},
		{&f, "zone=7 zone=0 orig-zone=7 reply-zone=0", "zone=1 orig-zone=0 reply-zone=7"},
		{&f, "interface=lan0 interface=wan0 in=lan0 out=wan0", "interface=lan in=wan0 out=lan0"},
		{&f, "nat=src nat=any", "nat=dst nat=none"},
		{&plain, "nat=none", "nat=src nat=dst nat=any"},
		{&forwarded, "nat=dst nat=any", "nat=src nat=none"},
	} {
		for want, words := range map[bool]string{true: c.yes, false: c.no} {
			for word := range strings.FieldsSeq(words) {
				filter, err := filterOf(word)
				if err != nil {
					t.Error(err)
				} else if got := filter.Match(c.flow); got != want {
					t.Errorf("%s: %v, not %v: %v", word, got, want, c.flow)
				}
			}
		}
	}
	// All words together, and all but one.
	all, err := filterOf("addr=198.51.7.1 sport=5000 proto=tcp state=established mark=53 orig-zone=7 in=lan0 nat=src")
	if err != nil || !all.Match(&f) {
		t.Errorf("all of it: %v", err)
	}
	all.Out = "lan0"
	if all.Match(&f) {
		t.Error("all but one")
	}
	if none := (Filter{}); !none.Match(&f) || !none.IsZero() || all.IsZero() {
		t.Error("no filter")
	}
}

func TestFilterErrors(t *testing.T) {
	for word, want := range map[string]string{
		"addr=10.0.0.256": "want an address or a prefix", "src=fe80::1%eth0": "want an address or a prefix", "dst=": "want an address",
		"port=0": "want a number from 1 to 65535", "sport=65536": "want a number from 1 to 65535", "dport=0x50": "want a number",
		"proto=": "want a protocol", "proto=http": "want a protocol", "proto=256": "want a protocol",
		"family=4": "want ipv4 or ipv6", "state=open": "want one of TCP's, NONE, SYN_SENT, ", "status=": "want some of", "status=assured,": "want some of",
		"mark=": "want a number of 32 bits", "mark=4294967296": "want a number of 32 bits", "mark=1/0": "and a mask", "mark=1/": "and a mask",
		"label=128": "from 0 to 127", "zone=65536": "want a number of 16 bits", "in=": "want the name", "out=a/b": "want the name",
		"nat=": "want src, dst, any or none", "nat=both": "want src, dst, any or none", "adr=10.0.0.1": "want addr, src, dst",
	} {
		if _, err := filterOf(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", word, err, want)
		}
	}
}

// FuzzFilter: what a filter is written as is read as the same filter.
func FuzzFilter(f *testing.F) {
	for _, k := range keys {
		for _, value := range []string{"", "0", "7", "10.0.0.0/8", "fd00::1", "tcp", "ipv6", "established", "assured,confirmed", "0x10/0xf0", "lan0", "any"} {
			f.Add(k.name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		var filter, back Filter
		if filter.Set(name, value) != nil {
			return
		}
		if filter.IsZero() {
			t.Errorf("%s %q selects all flows", name, value)
		}
		filter.Values(func(name, value string) {
			if err := back.Set(name, value); err != nil {
				t.Errorf("%s %q is written as what is refused: %v", name, value, err)
			}
		})
		if !reflect.DeepEqual(filter, back) {
			t.Errorf("%s %q: %+v, and then %+v", name, value, filter, back)
		}
	})
}
