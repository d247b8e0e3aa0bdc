// SPDX-License-Identifier: GPL-2.0-only

package nftrand

// Rejects, but for those of the router's own packets: the kernel answers them
// over lo, through chains that l2d does not have there.

func init() {
	reject := func(net, transport string, text ...string) {
		RegisterVerdicts(Fragment{Area: "reject", Net: net, Transport: transport, Hooks: []string{"prerouting", "input", "forward"},
			Text: func(r *Generator, _ *Scope) string { return "reject" + r.Pick(text...) }})
	}
	reject("", "tcp", " with tcp reset")
	reject("4", "", "", " with icmp net-unreachable", " with icmp host-unreachable", " with icmp prot-unreachable", " with icmp net-prohibited",
		" with icmp host-prohibited", " with icmp admin-prohibited")
	reject("6", "", "", " with icmpv6 no-route", " with icmpv6 admin-prohibited", " with icmpv6 addr-unreachable", " with icmpv6 policy-fail", " with icmpv6 reject-route")
	RegisterVerdicts(Fragment{Area: "reject", Families: []string{"inet"}, Hooks: []string{"prerouting", "input", "forward"}, Text: func(r *Generator, _ *Scope) string {
		return "reject" + r.Pick("", " with icmpx no-route", " with icmpx port-unreachable", " with icmpx host-unreachable", " with icmpx admin-prohibited")
	}})
}
