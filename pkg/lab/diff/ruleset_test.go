// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"testing"
)

func TestCounted(t *testing.T) {
	for rule, want := range map[string]string{
		`tcp dport 22 accept`:                                  `tcp dport 22 counter accept`,
		`tcp dport 22 counter accept`:                          `tcp dport 22 counter accept`,
		`counter name "x" drop comment "accept"`:               `counter name "x" counter drop comment "accept"`,
		`add @s { ip saddr counter } jump c`:                   `add @s { ip saddr counter } counter jump c`,
		`ct status dnat meta mark 1`:                           `ct status dnat meta mark 1 counter`,
		`ct status dnat dnat to 10.0.0.1:80`:                   `ct status dnat counter dnat to 10.0.0.1:80`,
		`meta nfproto ipv4 dnat ip to tcp dport map { 1 : 2 }`: `meta nfproto ipv4 counter dnat ip to tcp dport map { 1 : 2 }`,
		`reject with icmpx admin-prohibited`:                   `counter reject with icmpx admin-prohibited`,
		`oifname "wan0" masquerade fully-random`:               `oifname "wan0" counter masquerade fully-random`,
		`limit rate 5/second burst 3 packets accept`:           `limit rate 5/day burst 3 packets counter accept`,
		`ip saddr vmap { 1.1.1.1 : drop }`:                     `ip saddr vmap { 1.1.1.1 : drop } counter`,
	} {
		const around = "table inet t {\n\tchain c {\n\t\t%s\n\t}\n}"
		if got := counted(fmt.Sprintf(around, rule)); got != fmt.Sprintf(around, want) {
			t.Errorf("%s: got\n%s\nwant %s", rule, got, want)
		}
	}
}
