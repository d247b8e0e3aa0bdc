/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "stats.h"
#include "types.h"

/* Sizes marked "set by the loader" come from the configuration. */

/* Flows that both ends have confirmed. Never evicted: only expiry, in a lookup
 * or by the collector, makes room. Two entries a flow.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * 262144); /* set by the loader */
	__type(key, struct tuple);
	__type(value, struct flow);
} l2_flows SEC(".maps");

/* Flows that nobody has answered yet: what a flood fills. Two entries a flow. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2 * 65536); /* set by the loader */
	__type(key, struct tuple);
	__type(value, struct flow);
} l2_half_open SEC(".maps");

/* Which client an external port is of: mapping.h. Bounded by the limit of flows:
 * without room in it, flows have ports of their own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * 262144); /* set by the loader */
	__type(key, struct mapping_key);
	__type(value, struct mapping);
} l2_mappings SEC(".maps");

/* How many flows each has begun: source.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct source_key);
	__type(value, struct source);
} l2_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reserved_ports);
} l2_nat_reserved SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag_key);
	__type(value, struct frag);
} l2_frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} l2_settings SEC(".maps");

/* Indexed by ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct iface);
} l2_ifaces SEC(".maps");

/* The devices of VLANs that XDP receives for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct vlan_key);
	__type(value, __u32);
} l2_vlans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} l2_events SEC(".maps");

/* Of one policy: a new one brings its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* set by the compiler */
	__type(key, __u32);
	__type(value, struct counter);
} l2_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by the compiler */
	__type(key, __u32);
	__type(value, struct limit);
} l2_limits SEC(".maps");
