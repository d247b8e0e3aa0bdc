// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestCopies: copies that rules send are not sent when a packet is explained.
func TestCopies(t *testing.T) {
	r := newRouter(t)
	target := r.target(`table netdev n {
	chain i {
		type filter hook ingress device "lan0" priority 0; policy accept;
		udp dport 7 dup to "wan0"
	}
}
table ip t {
	chain p {
		type filter hook prerouting priority -300; policy accept;
		udp dport 7 dup to 198.51.7.2 device "wan0"
	}
}`)
	sent := func() (n uint64) {
		r.in("", func() error {
			l, err := netlink.LinkByName("wan0")
			if err == nil {
				n = l.Attrs().Statistics.TxPackets
			}
			return err
		})
		return n
	}
	// The router is to say nothing of its own.
	r.in("", func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0) })
	before := sent()
	e := r.explain(target, "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:7")
	matched := 0
	for _, m := range e.Rules {
		if m.Matched && m.Handle != 0 {
			matched++
		}
	}
	if matched != 2 || e.Verdict != Forwarded {
		t.Errorf("%d rules, %s: %+v", matched, e.Verdict, e.Rules)
	}
	if after := sent(); after != before {
		t.Errorf("%d packets were sent", after-before)
	}
}
