// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"
	"os"
)

// hostSysctls apply to every namespace, before it gets interfaces: addresses are
// usable at once, and nothing but the lab's own traffic is on the wires.
var hostSysctls = []sysctl{
	{"net/ipv4/conf/all/rp_filter", "0"},
	{"net/ipv4/conf/default/rp_filter", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
	{"net/ipv6/conf/default/dad_transmits", "0"},
	{"net/ipv6/conf/default/accept_ra", "0"},
	{"net/ipv6/conf/default/router_solicitations", "0"},
	{"net/ipv6/conf/default/autoconf", "0"},
	{"net/ipv6/conf/all/disable_ipv6", "0"},
	{"net/ipv6/conf/default/disable_ipv6", "0"},
	// Checks provoke ICMP errors faster than a person would.
	{"net/ipv4/icmp_ratelimit", "0"},
	{"net/ipv6/icmp/ratelimit", "0"},
}

// routerSysctls apply to the namespaces that forward.
var routerSysctls = []sysctl{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
	{"net/ipv4/conf/all/send_redirects", "0"},
	{"net/ipv4/conf/default/send_redirects", "0"},
}

type sysctl struct {
	path, value string
}

func (n *Namespace) setSysctls(list []sysctl) error {
	return n.Do(func() error {
		for _, s := range list {
			if err := os.WriteFile("/proc/sys/"+s.path, []byte(s.value), 0); err != nil {
				return fmt.Errorf("%s: sysctl: %w", n.name, err)
			}
		}
		return nil
	})
}
