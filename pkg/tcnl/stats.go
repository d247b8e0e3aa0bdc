// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Report is a qdisc with what it has counted.
type Report struct {
	// Interface is its index.
	Interface int    `json:"-"`
	Kind      string `json:"kind"`
	// Handle and Parent as tc writes them; a parent is a class, or "root".
	Handle string `json:"handle"`
	Parent string `json:"parent"`
	// Options of the kinds that are known.
	Options map[string]string `json:"options,omitempty"`

	Bytes   uint64 `json:"bytes"`
	Packets uint64 `json:"packets"`
	// Queued packets and Backlog of bytes wait now.
	Queued  uint32 `json:"queued"`
	Backlog uint32 `json:"backlog"`
	Drops   uint32 `json:"drops"`
	// Requeues counts packets that the driver did not take, Overlimits how often
	// something had to wait.
	Requeues   uint32 `json:"requeues"`
	Overlimits uint32 `json:"overlimits"`

	// Details are what the kind counts beside that, and Tins those of each of cake's.
	Details []Value `json:"details,omitempty"`
	Tins    []Tin   `json:"tins,omitempty"`
}

// Value is a number with a name that ends with its unit.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Counter says that it only grows.
	Counter bool `json:"counter,omitempty"`
}

// Tin is a class of traffic of cake.
type Tin struct {
	Name   string  `json:"name"`
	Values []Value `json:"values"`
}

// Reports reads all qdiscs of an interface, or of all with 0.
func (c *Client) Reports(index int) ([]Report, error) {
	list, err := c.dump(unix.RTM_GETQDISC, &message{index: index})
	if err != nil {
		return nil, fmt.Errorf("qdiscs: %w", err)
	}
	out := make([]Report, 0, len(list))
	for i := range list {
		out = append(out, reportOf(&list[i]))
	}
	return out, nil
}

// Attributes of TCA_STATS2.
const (
	statsBasic   = 1
	statsQueue   = 3
	statsApp     = 4
	statsPackets = 8 // in 64 bits
)

func reportOf(m *message) Report {
	q := qdiscOf(m)
	r := Report{Interface: m.index, Kind: m.kind, Handle: HandleText(m.handle), Parent: parentText(m.parent), Options: q.Options}
	ad, err := netlink.NewAttributeDecoder(m.attributes[unix.TCA_STATS2])
	if err != nil {
		return r
	}
	for ad.Next() {
		b := ad.Bytes()
		switch t := ad.Type(); {
		case t == statsBasic && len(b) >= 12:
			r.Bytes = binary.NativeEndian.Uint64(b)
			r.Packets = max(r.Packets, uint64(binary.NativeEndian.Uint32(b[8:])))
		case t == statsPackets && len(b) >= 8:
			r.Packets = binary.NativeEndian.Uint64(b)
		case t == statsQueue && len(b) >= 20:
			for i, to := range []*uint32{&r.Queued, &r.Backlog, &r.Drops, &r.Requeues, &r.Overlimits} {
				*to = binary.NativeEndian.Uint32(b[4*i:])
			}
		case t == statsApp:
			r.details(b)
		}
	}
	return r
}

func parentText(parent uint32) string {
	switch parent {
	case rootParent:
		return "root"
	case ingressParent:
		return "ingress"
	}
	return ClassText(parent)
}

// ClassText is the identifier of a class as tc writes it.
func ClassText(id uint32) string {
	if id>>16 == 0 {
		return fmt.Sprintf(":%x", id)
	}
	return fmt.Sprintf("%x:%x", id>>16, id&0xffff)
}

// count is a number that a kind reports: in a struct one after the other, or in an
// attribute. One without a name is passed over.
type count struct {
	name    string
	attr    uint16
	size    int // bytes; 0: 4
	signed  bool
	counter bool
	unit    float64 // of one; 0: 1
}

const micro, nano = 1e-6, 1e-9

// structs are what kinds report as a struct. Older kernels may end earlier.
var structs = map[string][]count{
	"dualpi2": {
		{name: "probability", unit: 1.0 / most},
		{name: "classic_delay_seconds", unit: micro},
		{name: "l4s_delay_seconds", unit: micro},
		{name: "classic_packets", counter: true},
		{name: "l4s_packets", counter: true},
		{name: "max_queued_packets"},
		{name: "marks", counter: true},
		{name: "step_marks", counter: true},
		{name: "credit_bytes", signed: true},
		{name: "memory_bytes"},
		{name: "max_memory_bytes"},
		{name: "memory_limit_bytes"},
	},
	"fq_codel": {
		{}, // says that the rest is of a qdisc
		{name: "max_packet_bytes"},
		{name: "overlimit_drops", counter: true},
		{name: "marks", counter: true},
		{name: "new_flows", counter: true},
		{name: "new_flows_listed"},
		{name: "old_flows_listed"},
		{name: "ce_threshold_marks", counter: true},
		{name: "memory_bytes"},
		{name: "overmemory_drops", counter: true},
	},
	"fq": {
		{name: "collected_flows", size: 8, counter: true},
		{size: 8}, {size: 8}, // obsolete
		{name: "throttled", size: 8, counter: true},
		{name: "flow_limit_drops", size: 8, counter: true},
		{name: "too_long_packets", size: 8, counter: true},
		{name: "allocation_errors", size: 8, counter: true},
		{name: "next_delayed_flow_seconds", size: 8, signed: true, unit: nano},
		{name: "flows"},
		{name: "inactive_flows"},
		{name: "throttled_flows"},
		{name: "unthrottle_latency_seconds", unit: nano},
		{name: "ce_threshold_marks", size: 8, counter: true},
		{name: "horizon_drops", size: 8, counter: true},
		{name: "horizon_caps", size: 8, counter: true},
		{name: "fastpath_packets", size: 8, counter: true},
		{name: "band_0_drops", size: 8, counter: true},
		{name: "band_1_drops", size: 8, counter: true},
		{name: "band_2_drops", size: 8, counter: true},
		{name: "band_0_queued_packets"},
		{name: "band_1_queued_packets"},
		{name: "band_2_queued_packets"},
	},
}

// Attributes of cake, and of each of its tins.
const cakeTins = 10

var cakeCounts = []count{
	{name: "capacity_estimate_bytes_per_second", attr: 2, size: 8},
	{name: "memory_limit_bytes", attr: 3},
	{name: "max_memory_bytes", attr: 4},
	{name: "average_network_offset_bytes", attr: 5},
	{name: "min_network_bytes", attr: 6},
	{name: "max_network_bytes", attr: 7},
	{name: "min_adjusted_bytes", attr: 8},
	{name: "max_adjusted_bytes", attr: 9},
	{name: "active_queues", attr: 17},
}

var cakeTinCounts = []count{
	{name: "threshold_bytes_per_second", attr: 12, size: 8},
	{name: "target_seconds", attr: 13, unit: micro},
	{name: "interval_seconds", attr: 14, unit: micro},
	{name: "peak_delay_seconds", attr: 18, unit: micro},
	{name: "average_delay_seconds", attr: 19, unit: micro},
	{name: "base_delay_seconds", attr: 20, unit: micro},
	{name: "backlog_bytes", attr: 11},
	{name: "packets", attr: 2, counter: true},
	{name: "bytes", attr: 3, size: 8, counter: true},
	{name: "drops", attr: 4, counter: true},
	{name: "marks", attr: 8, counter: true},
	{name: "ack_drops", attr: 6, counter: true},
	{name: "way_indirect_hits", attr: 15, counter: true},
	{name: "way_misses", attr: 16, counter: true},
	{name: "way_collisions", attr: 17, counter: true},
	{name: "sparse_flows", attr: 21},
	{name: "bulk_flows", attr: 22},
	{name: "unresponsive_flows", attr: 23},
	{name: "max_packet_bytes", attr: 24},
	{name: "quantum_bytes", attr: 25},
}

// value reads a number.
func (c *count) value(b []byte) Value {
	v := Value{Name: c.name, Counter: c.counter}
	switch {
	case len(b) == 8 && c.signed:
		v.Value = float64(int64(binary.NativeEndian.Uint64(b)))
	case len(b) == 8:
		v.Value = float64(binary.NativeEndian.Uint64(b))
	case len(b) == 4 && c.signed:
		v.Value = float64(int32(binary.NativeEndian.Uint32(b)))
	case len(b) == 4:
		v.Value = float64(binary.NativeEndian.Uint32(b))
	}
	if c.unit != 0 {
		v.Value *= c.unit
	}
	return v
}

// details reads what a kind reports by itself.
func (r *Report) details(b []byte) {
	if r.Kind == "cake" {
		r.Details = attributeCounts(b, cakeCounts, func(tins []byte) { r.Tins = tinsOf(tins, r.Options["diffserv"]) })
		return
	}
	for i := range structs[r.Kind] {
		c := &structs[r.Kind][i]
		size := max(c.size, 4)
		if len(b) < size {
			return
		}
		if c.name != "" {
			r.Details = append(r.Details, c.value(b[:size]))
		}
		b = b[size:]
	}
}

// attributeCounts reads numbers in attributes, in the order of the counts.
func attributeCounts(b []byte, counts []count, tins func([]byte)) (out []Value) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil
	}
	found := map[uint16][]byte{}
	for ad.Next() {
		found[ad.Type()] = ad.Bytes()
	}
	for i := range counts {
		if b, ok := found[counts[i].attr]; ok {
			out = append(out, counts[i].value(b))
		}
	}
	if tins != nil && found[cakeTins] != nil {
		tins(found[cakeTins])
	}
	return out
}

// tinNames are those of cake's tins in the order that it reports them in.
var tinNames = map[string][]string{
	"diffserv3": {"bulk", "best effort", "voice"}, "diffserv4": {"bulk", "best effort", "video", "voice"}, "besteffort": {"all"},
}

func tinsOf(b []byte, diffserv string) (out []Tin) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil
	}
	for ad.Next() {
		t := Tin{Name: fmt.Sprintf("tin %d", len(out)), Values: attributeCounts(ad.Bytes(), cakeTinCounts, nil)}
		if names := tinNames[diffserv]; len(out) < len(names) {
			t.Name = names[len(out)]
		}
		out = append(out, t)
	}
	return out
}

// Detail returns a value of a name, and whether there is one.
func (r *Report) Detail(name string) (float64, bool) {
	i := slices.IndexFunc(r.Details, func(v Value) bool { return v.Name == name })
	if i < 0 {
		return 0, false
	}
	return r.Details[i].Value, true
}

// DetailNames are the names of all values that some kind reports, and whether each
// is a counter: "KIND NAME", or "cake tin NAME" of a tin's.
func DetailNames() map[string]bool {
	out := map[string]bool{}
	add := func(kind string, list []count) {
		for i := range list {
			if list[i].name != "" {
				out[kind+" "+list[i].name] = list[i].counter
			}
		}
	}
	for kind, list := range structs {
		add(kind, list)
	}
	add("cake", cakeCounts)
	add("cake tin", cakeTinCounts)
	return out
}
