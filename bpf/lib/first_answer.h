/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "marks.h"
#include "types.h"

/*
 * The flow that a rejected packet would have begun is in no table. Its answer
 * belongs to it all the same, nf_ct_attach(), and rules may ask for what others
 * have said of it: a slot of this ring keeps that, for rulesets that do. The
 * answer carries the slot's number. One that waits, for its neighbour to be
 * resolved, may find its slot taken: it is compared with whom the answer is to.
 */
struct first_flow {
	struct ct_facts facts;
	__u8 to[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ANSWER_SLOTS_MASK + 1);
	__type(key, __u32);
	__type(value, struct first_flow);
} l2_first_flows SEC(".maps");

/* The next slot. Shared by all CPUs. */
__u32 first_flow_next;

/* Keeps the facts of the packet of key. Returns the slot. */
static __noinline __u32 first_flow_keep(const struct tuple *key)
{
	__u32 slot = __sync_fetch_and_add(&first_flow_next, 1) &
		     ANSWER_SLOTS_MASK;
	struct first_flow *f = bpf_map_lookup_elem(&l2_first_flows, &slot);
	struct ct_facts *c = facts();

	if (!f || !c)
		return slot;
	f->facts = *c;
	__builtin_memcpy(f->to, key->saddr, sizeof(f->to));
	return slot;
}

/* The facts of the answer with the mark, whose tuple is key. Returns 0, or less
 * where they are another's by now.
 */
static __noinline int first_flow_facts(const struct tuple *key, __u32 mark)
{
	__u32 slot = mark & ANSWER_SLOTS_MASK;
	struct first_flow *f = bpf_map_lookup_elem(&l2_first_flows, &slot);
	struct ct_facts *c = facts();

	if (!f || !c || __builtin_memcmp(f->to, key->daddr, sizeof(f->to)))
		return -1;
	*c = f->facts;
	c->direction = 1;
	c->tracked = 0;
	return 0;
}
