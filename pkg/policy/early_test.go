// SPDX-License-Identifier: GPL-2.0-only

package policy

import "testing"

// TestEarly: XDP runs the first chains for all packets, as far as they only look at them.
func TestEarly(t *testing.T) {
	const (
		ingress = 1 << iota
		raw
	)
	chain := func(table, base, rules string) string {
		return "table " + table + " {\n" + `	set s { type ipv4_addr; flags dynamic; }
	set counted { type ipv4_addr; flags dynamic; counter; }
	chain r { ip saddr 10.0.0.9 counter; }
	chain c { type filter hook ` + base + "; policy accept;\n" + rules + "\n}\n}\n"
	}
	netdev := func(rules string) string { return chain("netdev d", `ingress device "br0" priority 0`, rules) }
	prerouting := func(rules string) string { return chain("inet p", "prerouting priority -300", rules) }
	rejects := "table inet f {\n chain f { type filter hook forward priority 0;\n reject\n }\n}\n"
	notAtXDP := "table inet f {\n chain f { type filter hook forward priority 0;\n ip ttl set 1\n }\n}\n"
	for _, tt := range []struct {
		text   string
		early  uint32
		tcOnly bool
	}{
		{prerouting("ip saddr @s counter drop"), raw, false},
		{prerouting("jump r\nip saddr vmap { 10.0.0.1 : drop, 10.0.0.2 : jump r }"), raw, false},
		{prerouting("fib saddr . iif oif missing drop"), raw, false},
		{prerouting("ip saddr @counted drop"), 0, false},
		{prerouting("update @s { ip saddr } drop"), 0, false},
		{prerouting("limit rate 5/second drop"), 0, false},
		{prerouting("meta mark 1 drop"), 0, false},
		{prerouting("ip saddr 10.0.0.1 log drop"), 0, false},
		{prerouting("notrack"), 0, true},
		{chain("inet p", "prerouting priority -150", "ip saddr @s drop"), 0, false},
		{netdev("ip saddr @s drop"), ingress, false},
		{netdev("ether type arp drop"), 0, true},
		{netdev("ip saddr @s drop") + prerouting("ip saddr @s drop"), ingress | raw, false},
		{netdev("ip saddr @s drop") + prerouting("limit rate 5/second drop"), ingress, false},
		// What comes first has to have been run before.
		{netdev("limit rate 5/second drop") + prerouting("ip saddr @s drop"), 0, true},
		{netdev("ip saddr @s drop") + rejects, ingress, true},
		{prerouting("ip saddr @s drop") + rejects, raw, false},
		{prerouting("ip saddr @s drop") + notAtXDP, raw, true},
	} {
		p := compile(t, tt.text)
		if p.early != tt.early || len(p.TCOnly) > 0 != tt.tcOnly {
			t.Errorf("%s: early %#x, at TC %q; want %#x, %v", tt.text, p.early, p.TCOnlyTexts(), tt.early, tt.tcOnly)
		}
	}
}
