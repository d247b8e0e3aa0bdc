/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "facts.h"
#include "flow_event.h"
#include "icmp.h"
#include "maps.h"
#include "scratch.h"
#include "sctp.h"
#include "tcp.h"
#include "types.h"
#include "udp.h"

/*
 * Connection tracking: the two tiers, both directions of a flow.
 *
 * Races. Both entries of a flow hold its state and expiry; whoever changes one
 * writes the other too, without a lock. Two CPUs that do so at once may leave
 * the older of two states in one entry until the next packet that changes it:
 * a timeout that is too long or too short, never a wrong translation, as out
 * is written once, at creation. An entry that is deleted while another CPU
 * holds a pointer to it may be in use for another flow when that CPU writes
 * expiry and counters: the same harm.
 */

/* 1: the configuration has flows judged by a new ruleset: reevaluate.h. */
volatile const __u32 policy_reevaluates = 0;

/* 1: it has what CPUs count of a flow at the same time counted exactly. */
volatile const __u32 policy_accounts = 0;

static __always_inline struct settings *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_settings, &zero);
}

/* The zone of the packet's flow in a direction: ZONE_*. */
static __always_inline __u16 zone_of(const struct pkt *p, __u8 dir)
{
	return p->zone_dirs & dir ? p->zone : 0;
}

static __always_inline int is_same_dst(const struct endpoints *a,
				       const struct endpoints *b)
{
	return a->dport == b->dport &&
	       !__builtin_memcmp(a->daddr, b->daddr, sizeof(a->daddr));
}

/*
 * Whether the kernel translates the destination of packets of a flow's direction. A
 * query's new identifier that no rule has asked for, and that comes without a new
 * source, is the destination's in the direction of the queries, and the source's in
 * the other.
 */
static __always_inline int flow_has_new_dst(const struct endpoints *out,
					    const struct tuple *key, __u8 flags)
{
	if (flags & FLOW_ASKED_PORT ||
	    (key->l4proto != IPPROTO_ICMP && key->l4proto != IPPROTO_ICMPV6))
		return !is_same_dst(out, (const struct endpoints *)key);
	return __builtin_memcmp(out->daddr, key->daddr, sizeof(key->daddr)) ||
	       (!(flags & FLOW_REPLY) && out->sport != key->sport &&
		!__builtin_memcmp(out->saddr, key->saddr, sizeof(key->saddr)));
}

/* The tuple of packets that answer those with the tuple t, which leave with
 * out; their zone is another one where zones are of one direction.
 */
static __always_inline void tuple_reverse(struct tuple *r,
					  const struct endpoints *out,
					  const struct tuple *t, __u16 zone)
{
	__builtin_memcpy(r->saddr, out->daddr, 16);
	__builtin_memcpy(r->daddr, out->saddr, 16);
	r->sport = out->dport;
	r->dport = out->sport;
	r->l4proto = t->l4proto;
	r->nfproto = t->nfproto;
	r->zone = zone;
}

/* The entry of the other direction: out is what its key is the reverse of. */
static __always_inline void flow_reverse(struct flow *r, const struct flow *f,
					 const struct tuple *key)
{
	__builtin_memset(r, 0, sizeof(*r));
	__builtin_memcpy(r->out.saddr, key->daddr, 16);
	__builtin_memcpy(r->out.daddr, key->saddr, 16);
	r->out.sport = key->dport;
	r->out.dport = key->sport;
	r->expires = f->expires;
	r->created = f->created;
	r->created_fraction = f->created_fraction;
	r->until_low = f->until_low;
	r->state = f->state;
	r->flags = (f->flags ^ FLOW_REPLY) & ~FLOW_STALE;
	r->zone = key->zone;
	r->mark = f->mark;
	__builtin_memcpy(r->labels, f->labels, sizeof(r->labels));
	r->addr_diff = csum_neg(f->addr_diff);
	r->port_diff = csum_neg(f->port_diff);
}

/* Of an interface, in struct hop: what does not fit is not known. */
static __always_inline __u16 flow_via(__u32 ifindex)
{
	return ifindex > 0xffff ? 0 : ifindex;
}

/* Where packets of the entry's direction go. Global, so that the verifier goes
 * through it once.
 */
__noinline int flow_goes_by(struct flow *f, __u32 ifindex)
{
	__u16 via = flow_via(ifindex);

	if (f && f->hop.via != via)
		WRITE_ONCE(f->hop.via, via);
	return 0;
}

/* Whether the flow's address is that of the interface its packets have gone by. */
static __always_inline int flow_is_bound(const struct flow *f)
{
	return f->hop.via && f->flags & FLOW_MASQUERADED &&
	       !(f->flags & FLOW_REPLY);
}

/* To be called when out and key are final. */
__noinline int flow_set_diffs(struct flow *f, const struct tuple *key)
{
	if (!f || !key)
		return 0;
	f->addr_diff = csum_add(csum_addr_diff(key->saddr, f->out.saddr),
				csum_addr_diff(key->daddr, f->out.daddr));
	f->port_diff = csum_add(csum_port_diff(key->sport, f->out.sport),
				csum_port_diff(key->dport, f->out.dport));
	return 0;
}

/* A packet of the flow's tuple that is invalid nevertheless: its UDP header cannot
 * be true. Or it is an ICMP query in the direction that answers travel in, or an
 * answer in the other: an identifier that is a type's number makes them look
 * alike.
 */
static __always_inline int flow_contradicts(const struct flow *f,
					    const struct pkt *p)
{
	if (p->l4proto == IPPROTO_UDP)
		return !udp_header_valid(p);
	if (p->l4proto == IPPROTO_UDPLITE)
		return !udplite_header_valid(p);
	if (p->l4proto != IPPROTO_ICMP && p->l4proto != IPPROTO_ICMPV6)
		return 0;
	return icmp_is_query(p) == !!(f->flags & FLOW_REPLY);
}

/* When the flow began: ns_to_ms(). */
static __always_inline __u32 flow_created(const struct flow *f)
{
	return f->created << (TICK_SHIFT - MS_SHIFT) | f->created_fraction;
}

static __always_inline void flow_set_created(struct flow *f, __u64 now)
{
	f->created = ns_to_ticks(now);
	f->created_fraction = ns_to_ms(now) &
			      ((1 << (TICK_SHIFT - MS_SHIFT)) - 1);
}

/* A UDP exchange is a stream after this, in ms: nf_conntrack_proto_udp.c. */
#define UDP_STREAM_AFTER 1907

/* Whether a packet that comes now makes the flow an assured one. TCP sees for
 * itself.
 */
static __always_inline int flow_assures(const struct flow *f, __u8 l4proto,
					__u64 now)
{
	if (likely(f->flags & FLOW_ASSURED) || !(f->flags & FLOW_SEEN_REPLY))
		return 0;
	switch (l4proto) {
	case IPPROTO_UDP:
		return ns_to_ms(now) - flow_created(f) > UDP_STREAM_AFTER;
	case IPPROTO_UDPLITE:
	case IPPROTO_GRE:
		return 1;
	}
	return 0;
}

static __always_inline __u32 flow_timeout(const struct flow *f, __u8 l4proto)
{
	const struct settings *s = settings();
	__u32 t, state = f->state;

	if (!s)
		return 0;
	switch (l4proto) {
	case IPPROTO_TCP:
		if (state >= TCP_STATE_MAX)
			return 0;
		t = s->tcp[state];
		if (state == TCP_ESTABLISHED && !(f->flags & FLOW_SEEN_REPLY) &&
		    t > s->tcp_unacknowledged)
			t = s->tcp_unacknowledged;
		return t;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return f->flags & FLOW_ASSURED ? s->udp_stream :
						 s->udp_unreplied;
	case IPPROTO_SCTP:
		return state < SCTP_STATE_MAX ? s->sctp[state] : 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return s->icmp;
	}
	return s->generic;
}

static __always_inline struct flow *flow_entry(const struct tuple *key,
					       int half)
{
	return half ? bpf_map_lookup_elem(&l2_half_open, key) :
		      bpf_map_lookup_elem(&l2_flows, key);
}

/* The entry of the other direction, in the same tier. */
static __always_inline struct flow *flow_twin(const struct tuple *key,
					      const struct flow *f, int half)
{
	struct tuple rkey;

	tuple_reverse(&rkey, &f->out, key, f->zone);
	return flow_entry(&rkey, half);
}

/* What is in the place of the other direction is another flow's, whose first packets
 * have that tuple: zones of one direction let both be.
 */
static __always_inline int flow_is_alien(__u8 flags, const struct flow *twin)
{
	return !((flags ^ twin->flags) & FLOW_REPLY);
}

/* What of a flow is another one now. */
enum flow_change {
	FLOW_SAME,
	FLOW_CHANGED, /* state or flags */
	FLOW_CONFIRMED, /* and its tier */
};

/* Gives the other direction this one's state; puts it back when it was evicted.
 * Reports what has changed.
 */
__noinline int flow_sync(const struct tuple *key, struct flow *f, int half,
			 enum flow_change change)
{
	struct scratch *s = scratch();
	struct tuple rkey;
	struct flow *twin;

	if (!s || !key || !f)
		return -1;
	tuple_reverse(&rkey, &f->out, key, f->zone);
	twin = flow_entry(&rkey, half);
	if (policy_turns_zones && twin && flow_is_alien(f->flags, twin))
		return 0;
	if (twin) {
		WRITE_ONCE(twin->expires, f->expires);
		if (policy_facts & FACTS_EXPIRATION)
			WRITE_ONCE(twin->until_low, f->until_low);
		WRITE_ONCE(twin->state, f->state);
		WRITE_ONCE(twin->flags,
			   twin->flags | (f->flags &
					  (FLOW_SEEN_REPLY | FLOW_ASSURED)));
		if (change)
			flow_report(key, f, twin, half,
				    change == FLOW_CONFIRMED ?
					    FLOW_EVENT_CONFIRM :
					    FLOW_EVENT_UPDATE);
		return 0;
	}
	if (!half && !policy_turns_zones) {
		/* Of those that are not evicted, somebody is ending it: the rest
		 * goes, too. Or it is being confirmed, which writes this again.
		 */
		WRITE_ONCE(f->expires, f->created - 1);
		return -1;
	}
	flow_reverse(&s->rev, f, key);
	return half ? bpf_map_update_elem(&l2_half_open, &rkey, &s->rev,
					  BPF_NOEXIST) :
		      bpf_map_update_elem(&l2_flows, &rkey, &s->rev,
					  BPF_NOEXIST);
}

/* The entry lives for a timeout from now on. Those that users give are whole
 * seconds before they are rounded up to ticks.
 */
static __always_inline void flow_live(struct flow *f, __u64 now, __u32 timeout)
{
	__u64 ms = (((__u64)timeout << TICK_SHIFT) / 1000000000) * 1000;

	WRITE_ONCE(f->expires, ns_to_ticks(now) + timeout);
	if (policy_facts & FACTS_EXPIRATION)
		WRITE_ONCE(f->until_low, nsecs_to_msecs(now) + (__u32)ms);
}

static __always_inline void flow_count(struct flow *f, const struct pkt *p)
{
	if (policy_facts & FACTS_ACCT || policy_accounts) {
		/* Somebody relies on it: what another CPU counts is not lost. */
		__sync_fetch_and_add(&f->packets, 1);
		__sync_fetch_and_add(&f->bytes, p->len);
	} else {
		f->packets++;
		f->bytes += p->len;
	}
}

/* Counts the packet; writes the expiry, in both entries, once a second, for
 * short timeouts more often, and so much later than it is: no flow expires before
 * its time. Rules that ask for it have it written for each packet, as it is.
 */
static __always_inline void flow_touch(const struct tuple *key, struct flow *f,
				       const struct pkt *p, int half,
				       enum flow_change change, __u32 timeout)
{
	__u32 expires = ns_to_ticks(p->now) + timeout;
	__s32 lag = timeout / 4, longer = expires - f->expires;

	flow_count(f, p);
	if (policy_facts & FACTS_EXPIRATION)
		lag = 0;
	else if (lag > TICKS_PER_SEC)
		lag = TICKS_PER_SEC;
	/* A timeout that is another one now is written at once. */
	if (!(policy_facts & FACTS_EXPIRATION) && !change && longer <= 0 &&
	    longer > -2 * TICKS_PER_SEC)
		return;
	flow_live(f, p->now, timeout + lag);
	flow_sync(key, f, half, change);
}
