/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "types.h"

/*
 * Packets that the kernel gets with their destination translated, and their
 * source not yet: neither this nor that is their flow's key. A slot of this ring
 * keeps it; the packet carries the slot's number. One that waits, for its
 * neighbour to be resolved, may find its slot taken by another packet: it is
 * compared with what it finds.
 */

#define HALF_WAY_SLOTS 4096
#define HALF_WAY_SLOTS_MASK (HALF_WAY_SLOTS - 1)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HALF_WAY_SLOTS);
	__type(key, __u32);
	__type(value, struct tuple);
} l2_half_way SEC(".maps");

/* The next slot. Shared by all CPUs. */
__u32 half_way_next;

/* Returns the slot. */
static __noinline int half_way_keep(const struct tuple *key)
{
	__u32 slot = __sync_fetch_and_add(&half_way_next, 1) &
		     HALF_WAY_SLOTS_MASK;

	bpf_map_update_elem(&l2_half_way, &slot, key, BPF_ANY);
	return slot;
}

static __always_inline struct tuple *half_way_key(__u32 tc_index)
{
	__u32 slot = tc_index & HALF_WAY_SLOTS_MASK;

	return bpf_map_lookup_elem(&l2_half_way, &slot);
}

/* Whether packets with the key, that leave with out, look like this half way. */
static __always_inline int is_half_way(const struct tuple *now,
				       const struct tuple *key,
				       const struct endpoints *out)
{
	return now->sport == key->sport && now->dport == out->dport &&
	       now->l4proto == key->l4proto && now->nfproto == key->nfproto &&
	       !__builtin_memcmp(now->saddr, key->saddr, 16) &&
	       !__builtin_memcmp(now->daddr, out->daddr, 16);
}
