// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// mapTexts say what a map is, and what its keys and values are.
var mapTexts = map[string]struct{ what, key, value string }{
	"l2_flows":          {"confirmed flows, an entry for each direction: cannot be evicted", "tuple that the direction's packets arrive with", "what they leave with, state, counters"},
	"l2_half_open":      {"flows that have had no answer yet: the oldest is evicted", "as l2_flows", "as l2_flows"},
	"l2_mappings":       {"external ports that clients have, for both ends", "one end", "the other end"},
	"l2_sources":        {"who has begun how many flows, if that is limited", "address and zone", "number of flows"},
	"l2_nat_reserved":   {"ports that NAT does not choose", "0", "a bit for each port"},
	"l2_frags":          {"the router's own datagrams in fragments", "addresses, identifier", "transport header of the first one"},
	"l2_datagrams":      {"datagrams that come in fragments", "hash of what their fragments have in common", "which bytes have come"},
	"l2_fragments":      {"fragments that wait for others", "datagram and offset", "bytes"},
	"l2_reasm":          {"what reassembly has for all datagrams", "0", "keys of its hashes, counts"},
	"l2_settings":       {"timeouts and settings of conntrack and NAT", "0", "ticks of 134 ms, flags"},
	"l2_ifaces":         {"what is known of interfaces", "index", "MAC address, flags, VLAN"},
	"l2_vlans":          {"devices of VLANs that XDP receives for", "NIC and tag", "index"},
	"l2_xdp_ports":      {"interfaces that XDP may send by", "index", "index"},
	"l2_shapers":        {"interfaces whose frames wait when they come in, and where", "index", "index"},
	"l2_stats":          {"statistics: l2ctl status", "0", "packets, or events, of each CPU, by their names"},
	"l2_events":         {"what log statements report", "", "struct log_event"},
	"l2_flow_listen":    {"which events of flows somebody listens to", "0", "kinds, events that were lost"},
	"l2_flow_events":    {"events of flows", "", "struct flow_event"},
	"l2_gc":             {"the collector of dead flows, with its timer", "0", "what its last run has found"},
	"l2_clock":          {"leap seconds and the kernel's time zone", "0", "seconds, minutes"},
	"l2_half_way":       {"packets whose source the egress program translates", "number in tc_index", "tuple"},
	"l2_counters":       {"what rules and policies have counted: l2ctl rules", "number of the rule", "packets and bytes, of each CPU"},
	"l2_limits":         {"limit statements", "number of the statement", "token bucket"},
	"l2_quotas":         {"quota statements", "number of the statement", "bytes used"},
	"l2_numgens":        {"numgen inc expressions", "number of the expression", "the last number"},
	"l2_set_gc":         {"the collector of elements that expire, with its timer", "0", ""},
	"l2_conn_counts":    {"how many connections ct count statements have met", "statement or element", "number"},
	"l2_conn_members":   {"connections that ct count statements have met", "statement and tuple", "its place in l2_conn_slots"},
	"l2_conn_slots":     {"the same, to be looked through", "statement and place", "tuple"},
	"l2_answer_buckets": {"how many answers of the router a host gets", "address", "token bucket"},
	"l2_answered":       {"what the router answers, between its programs", "number in tc_index", "tuple"},
	"l2_awaited":        {"the router's own packets that it sends another way than its routes say", "tuple of the answer", ""},
	"l2_scratch":        {"working memory", "0 for what comes in or leaves", "the packet in hand, of each CPU"},
	"l2_facts":          {"what rules ask of the flow of the packet in hand", "0", "struct ct_facts, of each CPU"},
	"l2_sending":        {"what is being sent by a rule", "0", "of each CPU"},
	"l2_chunk":          {"working memory of reassembly", "0", "bytes, of each CPU"},
	"l2_arrival":        {"the same", "0", "the fragment in hand, of each CPU"},
	"l2_steer":          {"rules of ntuple", "number of the table, interface and what packets have", "what happens to them"},
	"l2_steer_masks":    {"which fields those rules are about", "number of the mask", "bits"},
	"l2_steer_hits":     {"what they have counted", "number of the rule", "frames, of each CPU"},
	"l2_steer_cpus":     {"CPUs that they hand packets to", "CPU", "length of its queue"},
	"l2_steer_now":      {"which of the two tables is in force", "0", "0 or 1"},
	countedMap:          {"what counters of a policy begin with, of the rules that were in the one before", "number of the rule", "packets and bytes"},
	identityMap:         {"which policy and programs these are", "0", "SHA-256"},
}

// MapInfo is a pinned map.
type MapInfo struct {
	Name string `json:"name"`
	// Path of its pin.
	Path string `json:"path"`
	// What it is; Key and Value say what those are.
	What  string `json:"what"`
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	// Type as the kernel names it.
	Type      string `json:"type"`
	KeySize   uint32 `json:"key_size"`
	ValueSize uint32 `json:"value_size"`
	// Max is how many entries there may be; of a ring buffer, bytes. Entries is how
	// many there are; nil where there are always all.
	Max     uint32  `json:"max_entries"`
	Entries *uint32 `json:"entries,omitempty"`
	// Memory in bytes that it takes now.
	Memory uint64 `json:"memory"`
}

// PinnedMapInfos are the maps of the dataplane that is pinned at a path, by their
// names. No process needs to hold it.
func PinnedMapInfos(pinPath string) ([]MapInfo, error) {
	var out []MapInfo
	for _, dir := range []string{dirState, dirPolicy, dirKept} {
		dir = filepath.Join(pinPath, dir)
		pinned, err := openMaps(dir)
		if err != nil {
			return nil, err
		}
		defer closeMaps(pinned)
		for _, name := range slices.Sorted(maps.Keys(pinned)) {
			info, err := mapInfo(pinned[name], name)
			if err != nil {
				return nil, fmt.Errorf("map %s: %w", name, err)
			}
			info.Path = filepath.Join(dir, name)
			out = append(out, info)
		}
	}
	if out == nil {
		return nil, fmt.Errorf("no dataplane is pinned at %s: %w", pinPath, fs.ErrNotExist)
	}
	return out, nil
}

func mapInfo(m *ebpf.Map, name string) (MapInfo, error) {
	text, ok := mapTexts[name]
	if !ok {
		text.what = "a set of the ruleset, or a part of one"
	}
	i := MapInfo{
		Name: name, What: text.what, Key: text.key, Value: text.value, Type: strings.ToLower(m.Type().String()),
		KeySize: m.KeySize(), ValueSize: m.ValueSize(), Max: m.MaxEntries(),
	}
	info, err := m.Info()
	if err != nil {
		return i, err
	}
	i.Memory, _ = info.Memlock()
	switch m.Type() {
	case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		n, err := entriesOf(m)
		if err != nil {
			return i, err
		}
		i.Entries = &n
	}
	return i, nil
}

// entriesOf counts entries, roughly where they come and go meanwhile.
func entriesOf(m *ebpf.Map) (uint32, error) {
	if m.Type() != ebpf.LPMTrie {
		n := uint32(0)
		_, err := selected(m, func([]byte, []byte) bool { n++; return false })
		return n, err
	}
	n := uint32(0)
	key := make([]byte, m.KeySize())
	for err := m.NextKey(nil, key); ; err = m.NextKey(key, key) {
		if errors.Is(err, ebpf.ErrKeyNotExist) || n == m.MaxEntries() {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n++
	}
}
