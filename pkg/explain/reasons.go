// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Reason is why packets are dropped, by the name that statistics have for it.
type Reason struct {
	Name string `json:"name"`
	// Why it is done, and what to do about it.
	Why string `json:"why"`
	Do  string `json:"do"`
}

// dropPrefix begins the names of reasons: where nothing else is listed they are without it.
const dropPrefix = "drop_"

// reasons are those of enum stat in bpf/lib/types.h.
var reasons = map[string]Reason{
	"policy":             {Why: "a rule drops or rejects it, or the policy of a chain does", Do: "l2ctl monitor drops tells the rule, l2ctl explain --why with the packet which one to change"},
	"malformed":          {Why: "its headers or lengths contradict each other", Do: "no rule can let it through: l2ctl monitor drops --reason drop_malformed --pcap FILE shows who sends it"},
	"fragment":           {Why: "it is the router's own fragment, and its first one has not been seen", Do: "see whether a rule of output drops the first one; else nothing, if it happens seldom"},
	"fragment_malformed": {Why: "lengths and ends of its datagram's fragments contradict each other", Do: "no rule can let it through: look at its sender"},
	"fragment_tiny":      {Why: "its transport header is spread over several fragments", Do: "no sender in good faith does that: look at who it is"},
	"fragment_overlap":   {Why: "it overlaps with another fragment of its datagram, which ends that one", Do: "no sender in good faith does that: look at who it is"},
	"fragment_duplicate": {Why: "the same fragment has come before", Do: "look for a loop or a path that doubles packets, if it happens often"},
	"fragment_timeout":   {Why: "the other fragments of its datagram have not come in time", Do: "look for loss on the way, or for a firewall before this one that drops fragments"},
	"fragment_limit":     {Why: "there are more fragments, or more of one datagram, than are kept", Do: "see with l2ctl monitor drops who sends them: it is a flood, or a datagram in too many pieces"},
	"no_route":           {Why: "there is no route to its destination", Do: "see ip route get, with the packet's source, mark and interface"},
	"martian":            {Why: "no host can have its source address", Do: "see with l2ctl monitor drops where it comes in: somebody forges it, or a tunnel lacks a translation"},
	"nat_no_address":     {Why: "the interface that it leaves by has no address to masquerade with", Do: "see ip address, and whether the interface's DHCP client or PPP session works"},
	"nat_redirect":       {Why: "it is an ICMP redirect about a flow that NAT translates, whose sender has not gone that way", Do: "nothing: see the routes of this router, if its next hop sends them often"},
	"nat_exhausted":      {Why: "no source port is free for its translation", Do: "give the statement more ports or addresses, or find with l2ctl top who has so many flows"},
	"nat_moved":          {Why: "its flow was masqueraded with the address of another interface than it goes by now", Do: "send it again, which begins a flow with the address of this one; if it happens often, see with ip monitor route what changes the way"},
	"nat_local":          {Why: "its translation would have it, or its answer, go through lo in a way that the programs cannot take", Do: "see in docs/nftables.md what goes through lo; translate to an address of another host"},
	"flow_clash":         {Why: "another flow has its tuple already", Do: "it passes when that one has ended: l2ctl flows --addr shows it, l2ctl flows delete ends it"},
	"ct_count_full":      {Why: "the statements of ct count know as many connections as there is room for", Do: "see which rule counts more than it has to: one that counts per address knows each of them"},
	"internal":           {Why: "the kernel refused a step that should not fail, as for want of memory", Do: "see the kernel's log, and free memory; report it if there is enough"},
	"source_limit":       {Why: "its sender has begun as many flows as conntrack.max_flows_per_source allows", Do: "see with l2ctl top what it does; raise the limit if that is right"},
	"steer":              {Why: "a rule of ntuple of the interface drops it", Do: "see l2ctl ntuple list; change the rule in the configuration"},
}

// ReasonOf is what a name of a reason means, with drop_ before it or without.
func ReasonOf(name string) (Reason, error) {
	short := strings.ReplaceAll(strings.TrimPrefix(name, dropPrefix), " ", "_")
	r, ok := reasons[short]
	if !ok {
		return r, fmt.Errorf("reason %q: want one of %s", name, strings.Join(slices.Sorted(maps.Keys(reasons)), ", "))
	}
	r.Name = dropPrefix + short
	return r, nil
}

// Reasons are all of them, by name.
func Reasons() []Reason {
	var out []Reason
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		r, _ := ReasonOf(name) // it is one
		out = append(out, r)
	}
	return out
}

// Write prints a reason as packets are explained.
func (r *Reason) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%-8s %s\n%-8s %s\n%-8s %s\n", "reason", r.Name, "why", r.Why, "do", r.Do)
	return err
}
