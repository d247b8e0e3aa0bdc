/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "types.h"

/*
 * What a ruleset can ask of a packet's flow, beyond its state: filled for
 * rulesets that do, so that the others pay nothing. policy_facts is read-only
 * when the programs are verified, and without its bit this is dead code.
 */

#define FACTS_CT (1U << 0)
#define FACTS_ACCT (1U << 1) /* what has been counted of it, too */
#define FACTS_EXPIRATION (1U << 2) /* and when it ends, to the millisecond */

volatile const __u32 policy_facts = 0;

/* 1: the ruleset chooses zones of one direction. */
volatile const __u32 policy_turns_zones = 0;

/* A flow's tuples as nf_conn has them. The compiler knows the offsets. */
struct ct_facts {
	struct tuple original;
	struct tuple reply;
	__u32 status; /* FACT_STATUS_* */
	__u8 direction; /* 0: original, 1: reply */
	__u8 there; /* 0: the packet has no flow */
	__u8 tracked; /* the flow's entries exist, or those of the packet's own */
	__u8 unused;
	__u32 mark;
	__u32 labels[4];
	__u32 zone_id; /* without a direction; host order, as all of these */
	/* With FACTS_ACCT. By direction, and of both. */
	struct counter counts[3];
	__u64 averages[3]; /* bytes of a packet */
	/* With FACTS_EXPIRATION. */
	__u32 expiration; /* ms */
	__u32 unused2;
};

/* enum ip_conntrack_status of linux/netfilter/nf_conntrack_common.h */
#define FACT_STATUS_SEEN_REPLY (1U << 1)
#define FACT_STATUS_ASSURED (1U << 2)
#define FACT_STATUS_CONFIRMED (1U << 3)
#define FACT_STATUS_SRC_NAT (1U << 4)
#define FACT_STATUS_DST_NAT (1U << 5)
#define FACT_STATUS_DYING (1U << 9)

/* Of the packet in hand, and of one that is copied meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ct_facts);
} l2_facts SEC(".maps");

static __always_inline struct ct_facts *facts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_facts, &zero);
}

/* Keeps them, or takes them back. */
static __always_inline void facts_copy(__u32 from, __u32 to)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	c = bpf_map_lookup_elem(&l2_facts, &from);
	if (c)
		bpf_map_update_elem(&l2_facts, &to, c, BPF_ANY);
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

/* What packets with the tuple key leave with is out; zone is that of the other
 * direction's key, flags are the flow's.
 */
__noinline int facts_fill(const struct tuple *key, const struct endpoints *out,
			  __u16 zone, __u32 flags, __u32 status)
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
	back->zone = zone;
	c->zone_id = key->zone ? key->zone : zone;
	if (flags & FLOW_SEEN_REPLY)
		status |= FACT_STATUS_SEEN_REPLY;
	if (flags & FLOW_ASSURED)
		status |= FACT_STATUS_ASSURED;
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

static __always_inline void facts_average(struct ct_facts *c)
{
	struct counter *both = &c->counts[2];
	int i;

	both->packets = c->counts[0].packets + c->counts[1].packets;
	both->bytes = c->counts[0].bytes + c->counts[1].bytes;
	for (i = 0; i < 3; i++)
		c->averages[i] =
			c->counts[i].packets ?
				c->counts[i].bytes / c->counts[i].packets :
				0;
}

/* The entry of a direction of the packet's flow. In its place may be another flow's,
 * of the other direction: zones of one direction let both be.
 */
static __always_inline struct flow *facts_entry(const struct tuple *key,
						__u8 reply)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, key);

	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, key);
	if (policy_turns_zones && f && !!(f->flags & FLOW_REPLY) != reply)
		return NULL;
	return f;
}

static __always_inline void
facts_count_entry(struct counter *to, const struct tuple *key, __u8 reply)
{
	struct flow *f = facts_entry(key, reply);

	to->packets = f ? READ_ONCE(f->packets) : 0;
	to->bytes = f ? READ_ONCE(f->bytes) : 0;
}

/* Reads what both directions of the flow have counted, the packet in hand with
 * it.
 */
__noinline int facts_count(struct ct_facts *c)
{
	if (!c)
		return 0;
	facts_count_entry(&c->counts[0], &c->original, 0);
	facts_count_entry(&c->counts[1], &c->reply, 1);
	facts_average(c);
	return 0;
}

/* A flow's first packet, of len bytes. */
static __always_inline void facts_count_first(__u32 len)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_ACCT))
		return;
	c = facts();
	if (!c)
		return;
	__builtin_memset(c->counts, 0, sizeof(c->counts));
	c->counts[0].packets = 1;
	c->counts[0].bytes = len;
	facts_average(c);
}

/* The end of flows from before rules asked is known to the tick only, and up to
 * this too early: flow_touch().
 */
#define UNTIL_LAG 2000

/* When the flow ends, in ms from now on: nf_ct_expires(). */
static __always_inline __u32 flow_left(const struct flow *f)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	__s32 ticks = READ_ONCE(f->expires) - ns_to_ticks(now);
	__s32 left;
	__s16 more;

	if (ticks < 0)
		return 0;
	left = nsecs_to_msecs((__u64)ticks << TICK_SHIFT);
	more = READ_ONCE(f->until_low) - (nsecs_to_msecs(now) + left);
	if (more >= -UNTIL_LAG && more <= UNTIL_LAG)
		left += more;
	return left < 0 ? 0 : left;
}

/* The packet is one of a flow. */
static __always_inline void facts_flow(const struct tuple *key,
				       const struct flow *f, __u32 flags)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	facts_fill(key, &f->out, f->zone, flags, FACT_STATUS_CONFIRMED);
	c = facts();
	if (!c)
		return;
	c->tracked = 1;
	c->mark = READ_ONCE(f->mark);
	__builtin_memcpy(c->labels, f->labels, sizeof(c->labels));
	if (policy_facts & FACTS_ACCT)
		facts_count(c);
	if (policy_facts & FACTS_EXPIRATION)
		c->expiration = flow_left(f);
}

/* The packet ends its flow. */
static __always_inline void facts_dying(void)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	c = facts();
	if (c)
		c->status |= FACT_STATUS_DYING;
}

/* The packet begins a flow, whose other direction is in a zone. */
static __always_inline void facts_first(const struct tuple *key, __u16 zone)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	facts_fill(key, (const struct endpoints *)key, zone, 0, 0);
	c = facts();
	if (!c)
		return;
	c->tracked = 0;
	c->mark = 0;
	c->expiration = 0; /* nor does the kernel's run yet */
	__builtin_memset(c->labels, 0, sizeof(c->labels));
}

/* The flow f that the packet begins gets what rules have said of it. */
static __always_inline void facts_begin(struct flow *f)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	c = facts();
	if (!c)
		return;
	f->mark = c->mark;
	__builtin_memcpy(f->labels, c->labels, sizeof(f->labels));
}

/* The flow that the packet is going to begin has another destination. */
static __always_inline void facts_to(const struct tuple *key,
				     const struct endpoints *out, __u16 zone)
{
	if (policy_facts & FACTS_CT)
		facts_fill(key, out, zone, 0, 0);
}

/* The flow of the packet has begun, and its packets leave with out. */
static __always_inline void facts_begun(const struct tuple *key,
					const struct endpoints *out, __u16 zone)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	facts_fill(key, out, zone, 0, 0);
	c = facts();
	if (c)
		c->tracked = 1;
}

/* The packet travels against those with the tuple key, whose flow is f. */
static __always_inline void facts_back(const struct tuple *key,
				       const struct flow *f, __u32 flags)
{
	struct ct_facts *c;

	if (!(policy_facts & FACTS_CT))
		return;
	facts_flow(key, f, flags);
	c = facts();
	if (c)
		c->direction = !c->direction;
}

static __always_inline void
facts_write_entry(const struct tuple *key, __u8 reply, const struct ct_facts *c)
{
	struct flow *f = facts_entry(key, reply);

	if (!f)
		return;
	WRITE_ONCE(f->mark, c->mark);
	__builtin_memcpy(f->labels, c->labels, sizeof(f->labels));
}

/*
 * A rule has changed the mark or the labels: both entries of the flow get them,
 * unless it is the first packet's, whose flow gets them when it begins. Two
 * CPUs that do so at once leave either value, in each entry.
 */
__noinline int nft_ct_write(struct pkt *p, __u32 index)
{
	struct ct_facts *c;

	if (!p || !(policy_facts & FACTS_CT))
		return 0;
	c = facts();
	if (!c || !c->tracked)
		return 0;
	facts_write_entry(&c->original, 0, c);
	facts_write_entry(&c->reply, 1, c);
	return 0;
}
