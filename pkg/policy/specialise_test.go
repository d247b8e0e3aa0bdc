// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"
)

// Rules that cannot match at a hook, for a family, an interface or a protocol
// are not in its code.
func TestHooks(t *testing.T) {
	var b strings.Builder
	b.WriteString("table inet t {\nchain forward { type filter hook forward priority 0; policy drop;\n")
	for i := range 10 {
		fmt.Fprintf(&b, "iifname \"br0\" ip saddr 10.0.0.%d accept\niifname \"wan0\" ip6 saddr fd00::%d accept\n", i, i)
	}
	b.WriteString("}\nchain input { type filter hook input priority 0; policy drop;\n oifname \"br0\" tcp dport 22 accept\n tcp dport 22 accept\n }\n}\n")
	hooks := compile(t, b.String()).Hooks()
	if len(hooks) != 2 || hooks[0].Name != "input" || hooks[1].Name != "forward" {
		t.Fatalf("%+v", hooks)
	}
	if h := hooks[1]; h.Kinds < 6 || h.Instructions*2 > h.General {
		t.Errorf("forward: %+v: want less than half of the instructions", h)
	}
	// What the first rule of input asks for is never so.
	if h := hooks[0]; h.Instructions >= h.General {
		t.Errorf("input: %+v: want less instructions", h)
	}
}

// A limit counts packets also where a condition behind it never holds.
func TestSpecialiseKeepsEffects(t *testing.T) {
	h := newHarness(t, compile(t, `table inet t {
		chain forward { type filter hook forward priority 0; policy drop;
			limit rate 1/day burst 1 packets iifname "br0" accept
		}
	}`))
	for _, step := range []struct {
		iif    string
		accept bool
	}{{"wan0", false}, {"br0", false}} {
		if got := h.run("policy_forward", &packet{iif: step.iif, src: "10.0.0.1", dst: "10.0.0.2", proto: protoUDP, th: udp(1, 2)}); got.accept != step.accept {
			t.Errorf("from %s: accepted %v: the first packet has used up the limit", step.iif, got.accept)
		}
	}
}

// What several cases of a verdict map leave to one kind of packets is what the
// others do not.
func TestSpecialiseVerdictMap(t *testing.T) {
	h := newHarness(t, compile(t, `table inet t {
		chain lan { tcp dport 22 accept; }
		chain wan { udp dport 53 accept; }
		chain forward { type filter hook forward priority 0; policy drop;
			iifname vmap { "br0" : jump lan, "wan0" : goto wan, * : accept }
		}
	}`))
	for _, tt := range []struct {
		iif    string
		proto  byte
		accept bool
	}{
		{"br0", protoTCP, true}, {"br0", protoUDP, false}, {"wan0", protoTCP, false}, {"wan0", protoUDP, true}, {"hs0", protoTCP, true},
	} {
		p := &packet{iif: tt.iif, src: "10.0.0.1", dst: "10.0.0.2", proto: tt.proto, th: udp(1, 53)}
		if tt.proto == protoTCP {
			p.th = tcp(1, 22, 2)
		}
		if got := h.run("policy_forward", p); got.accept != tt.accept {
			t.Errorf("%s, protocol %d: accepted %v", tt.iif, tt.proto, got.accept)
		}
	}
}
