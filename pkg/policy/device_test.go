// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// TestDeviceChains: a chain sees the frames of its devices.
func TestDeviceChains(t *testing.T) {
	p := compile(t, `table netdev t {
	chain a { type filter hook ingress device "br0" priority 0; policy accept;
		tcp dport 22 drop
	}
	chain b { type filter hook ingress devices = { "wan0", "hs0" } priority 0; policy drop;
		tcp dport 22 accept
	}
}
`)
	h := newHarness(t, p)
	for iif, want := range map[string]bool{"br0": false, "wan0": true, "hs0": true, "hs1": true} {
		pk := lanSSH
		pk.iif = iif
		if got := h.run("policy_ingress", &pk).accept; got != want {
			t.Errorf("tcp dport 22 from %s: accepted %v", iif, got)
		}
		pk.th = tcp(40000, 80, 2)
		if got, want := h.run("policy_ingress", &pk).accept, iif == "br0" || iif == "hs1"; got != want {
			t.Errorf("tcp dport 80 from %s: accepted %v", iif, got)
		}
	}
	if texts := p.TCOnlyTexts(); len(texts) != 0 {
		t.Errorf("TC only: %q", texts)
	}
}

// TestDeviceHeaders: what the copy of a valid header has comes from there, and all
// else from the frame.
func TestDeviceHeaders(t *testing.T) {
	v4 := framed(protoUDP, nil, udp(1111, 53), 0)
	v4.frame[14+12] ^= 0xff // the copy alone has the address
	v6 := packet{src: "fd00::1", dst: "fd00::2", proto: protoUDP, th: udp(1, 2), iif: "wan0", len: 48}
	short := v4
	short.invalid, short.len = true, 15
	for _, tt := range []struct {
		rule string
		pk   *packet
		want bool
	}{
		{"ip saddr 10.0.0.1", &v4, true},
		{"ip saddr { 10.0.0.1, 10.0.0.9 }", &v4, true},
		{"ip saddr 10.0.0.2", &v4, false},
		{"@nh,160,32 0x04570035", &v4, true}, // behind the copy
		{"@nh,128,64 0x0a00000204570035", &v4, true},
		{"ip6 saddr fd00::1", &v6, true},
		{"ip6 daddr . ip6 saddr { fd00::2 . fd00::1 }", &v6, true},
		{"ip6 daddr fd00::1", &v6, false},
		{"@nh,72,8 17", &v4, true},
		{"@nh,72,8 17", &short, true},
		{"ip saddr 10.0.0.1", &short, false},
	} {
		h := newHarness(t, compile(t, `table netdev t {
	chain c { type filter hook ingress device "wan0" priority 0; policy drop;
		`+tt.rule+` accept
	}
}
`))
		if got := h.run("policy_ingress", tt.pk).accept; got != tt.want {
			t.Errorf("%s: accepted %v", tt.rule, got)
		}
	}
}

func TestDeviceRefused(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{"accept", `table netdev t chain c: "type filter hook ingress priority 0": "device": not supported: device hs0: no interface of the dataplane; supported: the interfaces of the configuration: br0, wan0`},
	} {
		_, err := Compile(deviceRuleset(t, "hs0", tt.rule), Options{Links: testLinks, Attached: []string{"br0", "wan0"}})
		if err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

func deviceRuleset(t *testing.T, device, rule string) *nft.Ruleset {
	return readRuleset(t, `table netdev t {
	chain c { type filter hook ingress device "`+device+`" priority 0; policy accept;
		`+rule+`
	}
}
`)
}
