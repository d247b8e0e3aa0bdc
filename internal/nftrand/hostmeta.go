// SPDX-License-Identifier: GPL-2.0-only

package nftrand

import "fmt"

// Conditions on interfaces, sockets and the clock. Not on iiftype: behind it nft
// looks for the protocol in the link-layer header.

func init() {
	group := func(r *Generator) string { return fmt.Sprint(r.IntN(5)) }
	kind := func(r *Generator) string { return r.Pick(`"veth"`, `"veth"`, `"bridge"`, `{ "veth", "wireguard" }`) }
	local := []string{"output"}
	arrived := []string{"input", "forward"}
	for _, f := range []struct {
		hooks []string
		text  func(r *Generator) string
	}{
		{nil, func(r *Generator) string { return "iifgroup " + r.Op() + group(r) }},
		{nil, func(r *Generator) string { return "oifgroup " + r.Op() + group(r) }},
		{nil, func(r *Generator) string {
			return "iifgroup " + r.Op() + "{ " + r.Elements(4, func() string { return group(r) }) + " }"
		}},
		{nil, func(r *Generator) string {
			return "iifgroup . oifgroup " + r.Op() + "{ " + r.Elements(9, func() string { return group(r) + " . " + group(r) }) + " }"
		}},
		{nil, func(r *Generator) string { return "oiftype " + r.Op() + r.Pick("ether", "loopback") }},
		{nil, func(r *Generator) string { return r.Pick("meta iifkind ", "meta oifkind ") + r.Op() + kind(r) }},
		{local, func(r *Generator) string {
			return r.Pick("meta skuid ", "meta skgid ") + r.Op() + r.Pick("0", "1000", "{ 0, 7 }")
		}},
		{local, func(r *Generator) string { return r.Pick("meta skuid ", "meta skgid ") + r.Pick("< 1", "> 0", "0-99") }},
		{local, func(r *Generator) string { return "meta cgroup " + r.Op() + r.Pick("0", "1048577") }},
		// The moment does not matter.
		{nil, func(r *Generator) string { return `meta time ` + r.Pick(">", "<") + ` "2024-02-29 12:00:00"` }},
		{nil, func(r *Generator) string { return `meta time "2024-01-01"-"` + r.Pick("2025", "2099") + `-01-01"` }},
		{nil, func(r *Generator) string { return "meta day " + r.Pick("0-6", "{ 0, 1, 2, 3, 4, 5, 6 }", "!= 0-6") }},
		{arrived, func(r *Generator) string { return "meta sdif " + r.Op() + r.Pick("0", "2", "{ 0, 3 }") }},
		{arrived, func(r *Generator) string { return "meta sdifname " + r.Op() + r.Pick(r.Quoted(), `{ "br0", "lo" }`) }},
		{[]string{"prerouting", "input", "forward"}, func(r *Generator) string { return "meta ipsec " + r.Pick("exists", "missing") }},
	} {
		RegisterMatches(Fragment{Area: "hostmeta", Hooks: f.hooks, Text: func(r *Generator, s *Scope) string { return f.text(r) }})
	}
}
