// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var exprs string

func init() { exprs = supportedExprs() }

const writable = `other bytes of the network and transport headers, addresses of the link layer`

func TestUnsupportedRules(t *testing.T) {
	tests := []struct {
		rule, want string
	}{
		{"ct status & 0x80 == 0x80 accept", `"cmp": not supported: bits of ct status without a name, or all of them; supported: expected, seen-reply, assured, confirmed, snat, dnat, dying`},
		{"ct status == 0x8 accept", `"cmp": not supported: bits of ct status without a name, or all of them; supported: expected, seen-reply, assured, confirmed, snat, dnat, dying`},
		{"meta l4proto dccp ct original proto-dst 22 accept", `"ct": not supported: ct proto-dst of any protocol; supported: ct original and ct reply behind a match on tcp, udp, udplite or sctp`},
		{"meta secmark set ct secmark", `"ct": not supported: ct secmark; supported: ` + supportedCt},
		{"ct zone set 7", `"ct": not supported: setting ct zone behind connection tracking; supported: at prerouting and output, with a priority below -200`},
		{"meta skuid 0 accept", `"meta": not supported: the socket of a packet that arrives at the hook input; supported: output, postrouting`},
		{"socket wildcard 0 accept", `"socket": not supported: the socket that a packet is going to: the stack looks for it behind the programs; supported: ` + exprs},
		{"ip protocol set 6", `"payload": not supported: writing the version, a length, the protocol or the fragment of a packet; supported: ` + writable},
		{"ip frag-off set 0", `"payload": not supported: writing the version, a length, the protocol or the fragment of a packet; supported: ` + writable},
		{"@nh,0,16 set 0x4500", `"payload": not supported: writing the version, a length, the protocol or the fragment of a packet; supported: ` + writable},
		{"ip6 nexthdr set 6", `"payload": not supported: writing the version, a length, the protocol or the fragment of a packet; supported: ` + writable},
		{"@nh,320,16 set 7", `"payload": not supported: writing behind the IPv6 header; supported: ` + writable},
		{"vlan id set 7", `"payload": not supported: writing behind the addresses of the link layer; supported: ` + writable},
		{"@th,160,128 1 @th,288,128 1 @th,416,128 1 @th,544,128 1 @th,672,8 1 accept", `"payload": not supported: more than 64 bytes of computed values in a rule`},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			rs := readRuleset(t, inInput("accept\n"+tt.rule))
			_, err := Compile(rs, Options{Links: testLinks})
			r := rs.Rules()[1]
			want := fmt.Sprintf("table inet t chain input rule handle %d (line 5): \"%s\": expression %s", r.Handle, r.Text, tt.want)
			var u *Unsupported
			if !errors.As(err, &u) {
				t.Fatalf("error %v, want an Unsupported", err)
			}
			if err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if u.Handle != r.Handle || u.Line != 5 || u.Chain != "input" || u.Table != "inet t" || u.Text != r.Text {
				t.Errorf("%+v", u)
			}
		})
	}
}

func TestUnsupportedSets(t *testing.T) {
	for _, tt := range []struct{ set, rule, want string }{
		{"set s { type ipv4_addr . inet_service; flags interval, timeout; elements = { 10.0.0.0/8 . 22, 0.0.0.0/0 . 1-100 }; }", "ip saddr . tcp dport @s accept",
			"set s with elements that overlap and expire"},
		{"set s { type ipv4_addr; limit rate 5/second; elements = { 10.0.0.1 limit rate 6/second }; }", "ip saddr @s accept",
			"set s with an element whose statements are not the set's"},
	} {
		_, err := Compile(readRuleset(t, "table inet t { "+tt.set+"\n}\n"+inInput(tt.rule)), Options{Links: testLinks})
		if err == nil || !strings.Contains(err.Error(), `expression "lookup": not supported: `+tt.want) {
			t.Errorf("%s: error %v, want %q", tt.set, err, tt.want)
		}
	}
}

func TestUnsupportedChains(t *testing.T) {
	for _, tt := range []struct{ chain, want string }{
		{"table arp t { chain c { type filter hook input priority 0; policy accept; accept\n} }",
			`table arp t chain c: "type filter hook input priority 0": "family": not supported: family arp: it stays with the kernel, so load it with nft, in a file of its own; supported: ip, ip6, inet, netdev`},
		{"table ip t { chain c { type nat hook postrouting priority srcnat; policy accept; dccp dport 7 snat to 192.0.2.1:8\n} }",
			`table ip t chain c rule handle 2 (line 1): "dccp dport 7 snat to 192.0.2.1:8": expression "nat": not supported: ports of any protocol; supported: ports behind a match on tcp, udp, udplite or sctp`},
	} {
		_, err := Compile(readRuleset(t, strings.ReplaceAll(tt.chain, "} }", "}\n}")), Options{Links: testLinks})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.chain, err, tt.want)
		}
	}
}

// All that is refused is reported, in order.
func TestUnsupportedAll(t *testing.T) {
	_, err := Compile(readRuleset(t, inInput("socket wildcard 0 accept\naccept\nmeta secmark set ct secmark")), Options{Links: testLinks})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error %v is not a joined one", err)
	}
	var got []string
	for _, e := range joined.Unwrap() {
		var u *Unsupported
		if !errors.As(e, &u) {
			t.Fatalf("error %v", e)
		}
		got = append(got, u.Expr)
	}
	if strings.Join(got, " ") != "socket ct" {
		t.Errorf("refused %v", got)
	}
}
