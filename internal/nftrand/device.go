// SPDX-License-Identifier: GPL-2.0-only

package nftrand

// Chains of interfaces.

func init() {
	for _, b := range []Base{
		{Hook: "ingress", Families: []string{"netdev"}, Rules: 6},
		{Hook: "egress", Families: []string{"netdev"}, Rules: 4},
	} {
		b.Area, b.Type, b.Device, b.Priorities = "device", "filter", true, []int{-500, -1, 0, 10}
		RegisterBases(b)
	}
}
