/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "marks.h"
#include "types.h"

/*
 * What the router's answer to a packet of a flow, nf_ct_attach(), has to know of
 * it in the egress program: a slot of this ring keeps that, and the answer carries
 * the slot's number. One that waits, for its neighbour to be resolved, may find its
 * slot taken: it is compared with whom the answer is to.
 */
struct answered {
	/* Of a flow that is in no table: the packet would have begun it, or has
	 * ended it. For rulesets that ask for them.
	 */
	struct ct_facts facts;
	__u8 to[16];
	/* Whence the answer comes before the translation of its source. */
	__u8 from[16];
	__be16 port; /* of a reset */
	__u16 zone; /* that a rule has chosen, before the packet was tracked */
	__u8 zone_dirs; /* ZONE_*; 0: none */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ANSWER_SLOTS_MASK + 1);
	__type(key, __u32);
	__type(value, struct answered);
} l2_answered SEC(".maps");

/* The next slot. Shared by all CPUs. */
__u32 answered_next;

/* Keeps what is known of the packet of key, whose answer comes from an address and
 * port. Returns the slot.
 */
static __noinline __u32 answered_keep(const struct pkt *p,
				      const struct tuple *key, const __u8 *from,
				      __be16 port)
{
	__u32 slot = __sync_fetch_and_add(&answered_next, 1) &
		     ANSWER_SLOTS_MASK;
	struct answered *a = bpf_map_lookup_elem(&l2_answered, &slot);
	struct ct_facts *c;

	if (!a)
		return slot;
	__builtin_memcpy(a->to, key->saddr, sizeof(a->to));
	__builtin_memcpy(a->from, from, sizeof(a->from));
	a->port = port;
	a->zone = p->zone;
	a->zone_dirs = p->zone_dirs;
	c = policy_facts & FACTS_CT ? facts() : NULL;
	if (c)
		a->facts = *c;
	return slot;
}

/* What the answer with the mark has to know, whose tuple is key; NULL: lost. */
static __always_inline struct answered *answered_of(const struct tuple *key,
						    __u32 mark)
{
	__u32 slot = mark & ANSWER_SLOTS_MASK;
	struct answered *a = bpf_map_lookup_elem(&l2_answered, &slot);

	if (!a || __builtin_memcmp(a->to, key->daddr, sizeof(a->to)))
		return NULL;
	return a;
}

/* The answer, whose tuple is key, is tracked in the zone of what it answers; until then,
 * it is related to that: nf_ct_attach() of a template.
 */
static __always_inline void answered_zone(struct pkt *p,
					  const struct tuple *key, __u32 mark)
{
	struct answered *a;

	if (answer_kind(mark) != TC_INDEX_ANSWER_ZONED)
		return;
	a = answered_of(key, mark);
	if (!a)
		return;
	p->zone = a->zone;
	p->zone_dirs = a->zone_dirs;
	p->ct_state = CT_STATE_RELATED;
}

static __always_inline void answered_facts(const struct answered *a)
{
	struct ct_facts *c = facts();

	if (!c)
		return;
	*c = a->facts;
	c->direction = !a->facts.direction;
	c->tracked = 0;
}
