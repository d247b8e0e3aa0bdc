// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// ruleLoad is a ruleset whose rules let everything pass, after some work.
type ruleLoad struct {
	// Name is a word for the table.
	Name string
	// What is done so often for each packet.
	What  string
	Times int
	// text is the sets and chains, and the rules of the forward chain.
	sets, rules string
}

// ruleset is the load with what all have: a policy and masquerading.
func (l ruleLoad) ruleset() string { return l.filter() + masquerade("ip") }

func (l ruleLoad) filter() string {
	return fmt.Sprintf(`table inet load {
%s
	chain forward {
		type filter hook forward priority filter; policy accept;
%s
	}
}
`, l.sets, l.rules)
}

// masquerade is for a family: ip or ip6.
func masquerade(family string) string {
	return fmt.Sprintf(`table %s nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "%s" masquerade
	}
}
`, family, EgressName)
}

// baseLoad has no rules: what the others cost is on top of it.
const baseLoad = "none"

// Sizes of the loads.
const (
	plainRules    = 200
	smallSet      = 1000
	chainsOfRules = 100 // chains of as many rules
	blocklist     = 1_000_000
)

// ruleLoads are what rulesets spend their time with. Nothing matches the bench's
// packets: they come from 10/8.
func ruleLoads() []ruleLoad {
	return []ruleLoad{
		{Name: baseLoad, What: "nothing", Times: 1},
		{Name: "rules", What: "a rule that does not match", Times: plainRules, rules: plainRule(plainRules)},
		{Name: "set", What: fmt.Sprintf("a lookup in a set of %d addresses", smallSet), Times: 10,
			sets: set("s", "type ipv4_addr;", addresses(smallSet)), rules: strings.Repeat("ip saddr @s drop\n", 10)},
		{Name: "intervals", What: fmt.Sprintf("a lookup in %d prefixes", smallSet), Times: 10,
			sets: set("s", "type ipv4_addr; flags interval;", prefixes(smallSet)), rules: strings.Repeat("ip saddr @s drop\n", 10)},
		{Name: "blocklist", What: fmt.Sprintf("a lookup in a set of %d addresses", blocklist), Times: 1,
			sets: set("s", "type ipv4_addr; size 2000000;", addresses(blocklist)), rules: "ip saddr @s drop\n"},
		{Name: "vmap", What: fmt.Sprintf("a verdict map of %d keys", chainsOfRules), Times: 10,
			sets: "chain other { return; }", rules: strings.Repeat("udp dport vmap { "+ports(chainsOfRules)+" }\n", 10)},
		{Name: "10k", What: fmt.Sprintf("%d rules, in chains of %d behind a verdict map", chainsOfRules*chainsOfRules, chainsOfRules), Times: 1,
			sets: ruleChains(), rules: "ip saddr vmap { " + chainMap() + " }\n"},
	}
}

// plainRule is n rules as people write them.
func plainRule(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "ip saddr 198.18.%d.%d udp dport %d drop\n", i/256, i%256, 1+i)
	}
	return b.String()
}

// addresses are n different ones outside of 10/8 and 198.18/15, always the same.
func addresses(n int) []string {
	rnd := rand.New(rand.NewPCG(1, 1))
	seen := make(map[uint32]bool, n)
	out := make([]string, 0, n)
	for len(out) < n {
		a := rnd.Uint32N(100<<24) + 20<<24
		if !seen[a] {
			seen[a] = true
			out = append(out, fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255))
		}
	}
	return out
}

// prefixes are n of different lengths that are apart.
func prefixes(n int) []string {
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, fmt.Sprintf("%d.%d.0.0/%d", 20+i/256, i%256, 17+i%8))
	}
	return out
}

func set(name, properties string, elements []string) string {
	return fmt.Sprintf("set %s { %s elements = { %s }; }", name, properties, strings.Join(elements, ", "))
}

func ports(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%d : jump other", 1+i))
	}
	return strings.Join(out, ", ")
}

// ruleChains are the chains of the map; the bench's packets go through one.
func ruleChains() string {
	var b strings.Builder
	for i := range chainsOfRules {
		fmt.Fprintf(&b, "chain c%d {\n%s}\n", i, plainRule(chainsOfRules))
	}
	return b.String()
}

func chainMap() string {
	out := []string{"10.0.0.0/8 : jump c0"}
	for i := 1; i < chainsOfRules; i++ {
		out = append(out, fmt.Sprintf("20.%d.0.0/16 : jump c%d", i, i))
	}
	return strings.Join(out, ", ")
}
