// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// setKinds are declarations of sets and maps, with the rule of each: of a name, and
// of a number that its elements are made of.
var setKinds = []func(name string, i int) (declaration, rule string){
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type ipv4_addr; size 100; elements = { 10.0.0.%d, 192.168.1.%d }; }", name, i%5, 48+i%7), "ip saddr @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type ipv4_addr; flags interval; elements = { 192.168.%d.0/24, 10.0.0.0-10.0.0.%d }; }", name, i%3, 1+i%7), "ip daddr @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type inet_service; size 100; elements = { %d, %d }; }", name, 20+i%70, 440+i%8), "udp dport @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type inet_service; flags interval; elements = { %d-%d, 1024-%d }; }", name, i, 510+i, 1030+i), "tcp sport != @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type ipv6_addr . inet_service; size 100; elements = { fd00::%d . 53, fd00::50 . %d }; }", name, 49+i%4, 50+i%40), "ip6 saddr . tcp dport @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/%d . 1-%d, 192.168.1.50 . %d }; }", name, 8+i%20, 60+i, 443+i), "ip saddr . tcp dport @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("map %s { type ipv4_addr : mark; size 100; elements = { 192.168.1.%d : %d, 10.0.0.2 : %d }; }", name, 49+i%3, i, i+1), "meta mark set ip saddr map @" + name + " counter"
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("map %s { type inet_service : verdict; elements = { %d : drop, %d : jump seen, * : continue }; }", name, 2000+i, 40+i%50), "tcp dport vmap @" + name
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type ipv4_addr; size 1000; flags dynamic, timeout; timeout 1h; }", name), fmt.Sprintf("udp sport >= %d update @%s { ip saddr counter } counter", 900+2*i, name)
	},
	func(name string, i int) (string, string) {
		return fmt.Sprintf("set %s { type mark; size 100; counter; elements = { %d, %d }; }", name, i, i-3), "meta mark @" + name + " counter"
	},
}

// manySets is a ruleset of n sets.
func manySets(n int) string {
	var sets, rules strings.Builder
	for i := range n {
		declaration, rule := setKinds[i%len(setKinds)](fmt.Sprint("s", i), i)
		fmt.Fprintf(&sets, "\t%s\n", declaration)
		fmt.Fprintf(&rules, "\t\t%s\n", rule)
	}
	return fmt.Sprintf(`table inet t {
%s
	chain seen {
		counter
	}
	chain forward {
		type filter hook forward priority 0; policy accept;
%s	}
}
`, &sets, &rules)
}

// TestManySets: a program may refer to 64 maps, and a ruleset can have more.
func TestManySets(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "many.nft")
	if err := os.WriteFile(file, []byte(manySets(500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(2) {
		res, err := r.Run(t.Context(), file, Options{Packets: min(*packets, 400), Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(res)
		if res.Mismatch != nil {
			t.Errorf("seed %d\n%s", seed, res.Mismatch)
		}
		if res.Hit < res.Rules/4 {
			t.Errorf("%d of %d rules counted", res.Hit, res.Rules)
		}
	}
}
