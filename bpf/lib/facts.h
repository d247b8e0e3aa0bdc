/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/*
 * What a ruleset can ask of a packet's flow, beyond its state: filled for
 * rulesets that do, so that the others pay nothing. policy_facts is read-only
 * when the programs are verified, and without its bit this is dead code.
 */

#define FACTS_CT (1U << 0)

volatile const __u32 policy_facts = 0;

/* A flow's tuples as nf_conn has them. The compiler knows the offsets. */
struct ct_facts {
	struct tuple original;
	struct tuple reply;
	__u32 status; /* FACT_STATUS_* */
	__u8 direction; /* 0: original, 1: reply */
	__u8 there; /* 0: the packet has no flow */
	__u16 unused;
};

/* enum ip_conntrack_status of linux/netfilter/nf_conntrack_common.h, the bits
 * that are known exactly.
 */
#define FACT_STATUS_SEEN_REPLY (1U << 1)
#define FACT_STATUS_CONFIRMED (1U << 3)
#define FACT_STATUS_SRC_NAT (1U << 4)
#define FACT_STATUS_DST_NAT (1U << 5)

/* Of the packet in hand. The programs do not nest on a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_facts);
} l2_facts SEC(".maps");

static __always_inline struct ct_facts *facts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_facts, &zero);
}

/* The packet has no flow, or none yet. */
static __always_inline void facts_none(void)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	c = facts();
	if (c)
		c->there = 0;
}

/* out is what packets with the tuple key leave with; flags are the flow's. */
static __noinline int facts_fill(const struct tuple *key,
				 const struct endpoints *out, __u32 flags,
				 __u32 status)
{
	struct ct_facts *c = facts();
	struct tuple *there, *back;

	if (!c || !key || !out)
		return 0;
	c->direction = !!(flags & FLOW_REPLY);
	there = flags & FLOW_REPLY ? &c->reply : &c->original;
	back = flags & FLOW_REPLY ? &c->original : &c->reply;
	*there = *key;
	__builtin_memcpy(back->saddr, out->daddr, 16);
	__builtin_memcpy(back->daddr, out->saddr, 16);
	back->sport = out->dport;
	back->dport = out->sport;
	back->l4proto = key->l4proto;
	back->nfproto = key->nfproto;
	back->zone = key->zone;
	if (flags & FLOW_SEEN_REPLY)
		status |= FACT_STATUS_SEEN_REPLY;
	if (__builtin_memcmp(c->original.saddr, c->reply.daddr, 16) ||
	    c->original.sport != c->reply.dport)
		status |= FACT_STATUS_SRC_NAT;
	if (__builtin_memcmp(c->original.daddr, c->reply.saddr, 16) ||
	    c->original.dport != c->reply.sport)
		status |= FACT_STATUS_DST_NAT;
	c->status = status;
	c->there = 1;
	return 0;
}

/* The packet is one of a flow. */
static __always_inline void facts_flow(const struct tuple *key,
				       const struct flow *f, __u32 flags)
{
	if (policy_facts & FACTS_CT)
		facts_fill(key, &f->out, flags, FACT_STATUS_CONFIRMED);
}

/* The packet begins a flow and leaves with out, as far as that is known. */
static __always_inline void facts_first(const struct tuple *key,
					const struct endpoints *out)
{
	if (policy_facts & FACTS_CT)
		facts_fill(key, out, 0, 0);
}

/* The packet travels against those with the tuple key, whose flow is f. */
static __always_inline void facts_back(const struct tuple *key,
				       const struct flow *f, __u32 flags)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	facts_fill(key, &f->out, flags, FACT_STATUS_CONFIRMED);
	c = facts();
	if (c)
		c->direction = !c->direction;
}
