// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const rtRoutes = `
route add 198.18.20.0/24 via 192.168.1.50 dev br0 mtu 1300
route add 198.18.21.0/24 via 198.51.100.1 dev wan0 mtu 1200
route add 198.18.22.0/24 via 192.168.1.50 dev br0 mtu lock 1250
route add 198.18.23.0/24 via 192.168.1.51 dev br0
route add 198.18.24.0/24 dev br0 mtu 600
route add 198.18.25.0/24 via 198.51.100.3 dev wan0 mtu lock 1100 realm 3
route add 198.18.26.0/24 via 198.51.100.3 dev wan0 realm 4/5
route add 198.18.27.0/24 via 192.168.1.51 dev br0 realm 6
route add 198.18.28.0/24 via 192.168.1.51 dev br0 realm 7/8
-6 route add 2001:2:20::/48 via fd00::50 dev br0 mtu 1330
-6 route add 2001:2:21::/48 via 2001:db8::1 dev wan0 mtu 1310
-6 route add 2001:2:22::/48 via fd00::50 dev br0 mtu lock 1290
-6 route add 2001:2:23::/48 via fd00::51 dev br0
-6 route add 2001:2:24::/48 dev br0 mtu 1400
`

// The kernel's nftables and the programs say the same of the routes of packets
// that are forwarded from wan0 to br0.
func TestRtAsTheKernel(t *testing.T) {
	inNetns(t)
	for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		sysctl(t, s, "1")
	}
	for _, s := range []string{"ipv4/conf/all/rp_filter", "ipv4/conf/wan0/rp_filter"} {
		sysctl(t, s, "0")
	}
	ipCommands(t, fibAddresses+rtRoutes)
	var rules []string
	for _, mtu := range []int{1500, 1400, 1330, 1310, 1300, 1290, 1250, 1200, 1100, 600} {
		rules = append(rules, fmt.Sprintf("meta nfproto ipv4 rt mtu %d", mtu-40), fmt.Sprintf("meta nfproto ipv6 rt mtu %d", mtu-60))
	}
	for _, hop := range []string{"ip nexthop 192.168.1.50", "ip nexthop 192.168.1.51", "ip nexthop 198.18.24.1", "ip6 nexthop fd00::50", "ip6 nexthop fd00::51", "ip6 nexthop 2001:2:24::1"} {
		rules = append(rules, "rt "+hop)
	}
	rules = append(rules, "rt ipsec missing", "rt ipsec exists")
	for _, realms := range []int{0, 3 << 16, 5 << 16, 4<<16 | 5, 6, 6 | 3<<16, 6 | 5<<16, 7<<16 | 8} {
		rules = append(rules, fmt.Sprintf("rt classid %d", realms), fmt.Sprintf("meta rtclassid != %d", realms))
	}
	var b strings.Builder
	b.WriteString("table inet t { chain arrive { type filter hook forward priority 0; policy drop;\nmeta l4proto != udp accept\n")
	for i, r := range append(rules, "") {
		fmt.Fprintf(&b, "%s counter comment \"%d\"\n", r, i)
	}
	b.WriteString("}\n}\n")
	file := filepath.Join(t.TempDir(), "rt.nft")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "nft", "-f", file)
	h := newHarness(t, compile(t, b.String()))
	wire := newFibWire(t)
	before := kernelMatches(t)
	for _, pair := range []struct{ from, to string }{
		{"198.51.100.9 198.18.21.1 198.18.25.1 198.18.26.1", "192.168.1.50 198.18.20.1 198.18.22.1 198.18.23.1 198.18.24.1 198.18.27.1 198.18.28.1"},
		{"2001:db8::9 2001:2:21::1", "fd00::50 2001:2:20::1 2001:2:22::1 2001:2:23::1 2001:2:24::1"},
	} {
		for _, src := range strings.Fields(pair.from) {
			for _, dst := range strings.Fields(pair.to) {
				pk := packet{src: src, dst: dst, proto: protoUDP, th: udp(1000, 2000), iif: "wan0", oif: "br0"}
				wire.send(&pk)
				now := kernelMatches(t)
				for end := time.Now().Add(2 * time.Second); now[len(rules)] == before[len(rules)]; now = kernelMatches(t) {
					if time.Now().After(end) {
						t.Fatalf("%s > %s is not forwarded", src, dst)
					}
					time.Sleep(time.Millisecond)
				}
				matches := h.matches("policy_forward", &pk)
				for i, r := range rules {
					if k := now[i] != before[i]; k != matches[i] {
						t.Errorf("%s > %s: %s: nftables %v, compiled %v", src, dst, r, k, matches[i])
					}
				}
				before = now
			}
		}
	}
}
