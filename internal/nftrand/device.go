// SPDX-License-Identifier: GPL-2.0-only

package nftrand

// Chains of interfaces, and what only they do with frames: copies, which end where
// they are copied in a circle, and frames that leave elsewhere, which would not.

func init() {
	for _, b := range []Base{
		{Hook: "ingress", Families: []string{"netdev"}, Rules: 6},
		{Hook: "egress", Families: []string{"netdev"}, Rules: 4},
	} {
		b.Area, b.Type, b.Device, b.Priorities = "device", "filter", true, []int{-500, -1, 0, 10}
		RegisterBases(b)
	}
	RegisterStatements(Fragment{Area: "device", Families: []string{"netdev"}, Hooks: []string{"ingress", "egress"},
		Text: func(r *Generator, _ *Scope) string { return "dup to " + r.Quoted() }})
	ingress := func(net, transport string, text func(r *Generator) string) {
		RegisterVerdicts(Fragment{Area: "device", Net: net, Transport: transport, Families: []string{"netdev"}, Hooks: []string{"ingress"},
			Text: func(r *Generator, _ *Scope) string { return text(r) }})
	}
	ingress("", "", func(r *Generator) string { return "fwd to " + r.Quoted() })
	ingress("4", "", func(r *Generator) string { return "fwd ip to " + r.Next4() })
	ingress("6", "", func(r *Generator) string { return "fwd ip6 to " + r.Next6() })
	reject := func(net, transport, with string, codes ...string) {
		ingress(net, transport, func(r *Generator) string {
			text := "reject with " + with
			if len(codes) > 0 {
				text += " " + r.Pick(codes...)
			}
			if !KernelRejectsFrames() {
				return ""
			}
			return text
		})
	}
	reject("", "", "icmpx", "port-unreachable", "host-unreachable")
	reject("", "tcp", "tcp reset")
	reject("4", "", "icmp", "net-unreachable", "admin-prohibited")
	reject("6", "", "icmpv6", "no-route", "addr-unreachable")
}
