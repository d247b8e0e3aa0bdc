// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"testing"
)

// Values of jhash() of linux/jhash.h, scaled as reciprocal_scale() does, from
// the kernel: the lab's rulesets compare many more.
func TestHash(t *testing.T) {
	h := func(rule string) *harness {
		t.Helper()
		return newHarness(t, compile(t, "table inet t { chain input { type filter hook input priority 0; policy drop;\n"+rule+" accept\n}\n}\n"))
	}
	// Each value of a hash is one of the values below its modulus.
	for _, key := range []string{"ip saddr", "ip saddr . tcp sport", "ip saddr . ip daddr . tcp sport", "ip saddr . ip daddr . tcp sport . tcp dport . meta mark"} {
		found := 0
		for v := range 4 {
			if h(fmt.Sprintf("jhash %s mod 4 seed 0x7 offset 3 %d", key, v+3)).run("policy_input", &lanSSH).accept {
				found++
			}
		}
		if found != 1 {
			t.Errorf("jhash %s has %d values", key, found)
		}
	}

	// Both directions of a flow, and no other, have the same symmetric hash.
	one := h("symhash mod 2 0")
	zeros := 0
	for i := range 200 {
		forth := with(lanSSH, func(p *packet) { p.src, p.dst, p.th = "10.0.0.1", "10.1.0.2", tcp(uint16(1000+i), 22, 2) })
		back := with(lanSSH, func(p *packet) { p.src, p.dst, p.th = "10.1.0.2", "10.0.0.1", tcp(22, uint16(1000+i), 2) })
		f, b := one.run("policy_input", &forth).accept, one.run("policy_input", &back).accept
		if f != b {
			t.Fatalf("port %d: %v one way, %v the other", 1000+i, f, b)
		}
		if f {
			zeros++
		}
	}
	if zeros < 60 || zeros > 140 {
		t.Errorf("%d of 200 flows have the same hash of two", zeros)
	}
}
