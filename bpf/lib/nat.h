/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "nat_addr.h"
#include "scratch.h"
#include "types.h"

/*
 * NAT and the birth of flows: nf_nat_core.c. What a NAT statement asks for is in
 * p->nat and p->nat_range. The destination is decided first. The source comes
 * last, for every flow: its reverse key is the reservation of its translated
 * port. Inserting it, if it does not exist, is the test whether the port is
 * free. Flows of the router itself go the same way, so all share one port space.
 */

/*
 * Ports that are tried in a row; then half as many from elsewhere, and so on: as
 * many as STAT_NAT_TRIES_248 says.
 */
#define NAT_TRIES 128
#define NAT_TRIES_LEAST 8

struct nat_search {
	struct tuple rkey;
	__u32 first;
	__u32 size;
	__u32 next;
	__u32 now;
	__u32 tries;
	int found;
};

static __always_inline int nat_has_ports(const struct pkt *p)
{
	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 1;
	}
	return 0;
}

static __always_inline int nat_has_port(const struct pkt *p, __be16 port)
{
	const struct nat_range *r = &p->nat_range;

	if (!(p->nat & NAT_PORTS) || !nat_has_ports(p))
		return 1;
	return bpf_ntohs(port) >= bpf_ntohs(r->port_min) &&
	       bpf_ntohs(port) <= bpf_ntohs(r->port_max);
}

/* Without ports of its own a search stays in the class of the original. */
static __always_inline void nat_port_range(const struct pkt *p, __be16 port,
					   struct nat_search *s)
{
	__u32 min = bpf_ntohs(p->nat_range.port_min);
	__u32 max = bpf_ntohs(p->nat_range.port_max);

	if (p->nat & NAT_PORTS) {
		s->first = min < max ? min : max;
		s->size = (min < max ? max - min : min - max) + 1;
	} else if (p->l4proto == IPPROTO_ICMP || p->l4proto == IPPROTO_ICMPV6) {
		s->first = 0;
		s->size = 65536;
	} else if (bpf_ntohs(port) < 512) {
		s->first = 1;
		s->size = 511;
	} else if (bpf_ntohs(port) < 1024) {
		s->first = 600;
		s->size = 424;
	} else {
		s->first = 1024;
		s->size = 64512;
	}
}

static __always_inline __be16 nat_next_port(struct nat_search *s)
{
	__be16 port = bpf_htons(s->first + s->next);

	if (++s->next >= s->size)
		s->next = 0;
	return port;
}

/* Whether a living flow has the key. */
static __noinline int nat_is_taken(const struct tuple *key, __u32 now)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, key);

	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, key);
	return f && !ticks_after(now, READ_ONCE(f->expires));
}

static long nat_try_dst_port(__u32 i, struct nat_search *s)
{
	s->rkey.sport = nat_next_port(s);
	s->found = !nat_is_taken(&s->rkey, s->now);
	return s->found;
}

/*
 * A destination port of the range. One that no flow of these two ends has; if
 * there is none, the source's port has to make the difference.
 */
__noinline int nat_pick_dst_port(struct pkt *p)
{
	struct nat_search s = {};
	struct tuple *t;

	if (!p)
		return 0;
	t = &p->tuple;
	s.now = ns_to_ticks(p->now);
	tuple_reverse(&s.rkey, (struct endpoints *)t, t,
		      zone_of(p, ZONE_REPLY));
	if (!(p->nat & NAT_RANDOM) && nat_has_port(p, t->dport) &&
	    (p->nat_range.port_min == p->nat_range.port_max ||
	     !nat_is_taken(&s.rkey, s.now)))
		return 0;
	nat_port_range(p, t->dport, &s);
	if (p->nat & NAT_RANDOM)
		s.next = bpf_get_prandom_u32() % s.size;
	bpf_loop(s.size < NAT_TRIES ? s.size : NAT_TRIES, nat_try_dst_port, &s,
		 0);
	t->dport = s.rkey.sport;
	return 0;
}

/* Gives p->tuple the destination that a NAT statement asks for. Returns a drop
 * reason or 0.
 */
static __always_inline int nat_destination(struct ctx_buff *ctx, struct pkt *p)
{
	if (policy_nat & p->nat & NAT_REDIRECT && nat_redirect(ctx, p) < 0)
		return STAT_DROP_NAT_NO_ADDRESS;
	nat_pick_address(p, 1);
	if (policy_nat & p->nat & NAT_PORTS &&
	    (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP))
		nat_pick_dst_port(p);
	return 0;
}

/*
 * Takes rkey for the reply direction rev. Looks into the confirmed table before
 * and after: a flow on its way from one tier to the other is in both.
 */
static __always_inline int nat_reserve(const struct tuple *rkey,
				       const struct flow *rev, __u32 now)
{
	struct flow *f;
	int err;

	f = bpf_map_lookup_elem(&l2_flows, rkey);
	if (f) {
		if (!ticks_after(now, READ_ONCE(f->expires)))
			return -1;
		flow_delete(rkey, f, FLOW_END_EXPIRED);
	}
	err = bpf_map_update_elem(&l2_half_open, rkey, rev, BPF_NOEXIST);
	if (err) {
		f = bpf_map_lookup_elem(&l2_half_open, rkey);
		if (!f)
			return -1;
		/* Ours, whose other half was evicted, or long dead. */
		if ((f->zone != rev->zone ||
		     __builtin_memcmp(&f->out, &rev->out, sizeof(f->out))) &&
		    !ticks_after(now, READ_ONCE(f->expires)))
			return -1;
		if (bpf_map_update_elem(&l2_half_open, rkey, rev, BPF_ANY))
			return -1;
	}
	if (bpf_map_lookup_elem(&l2_flows, rkey)) {
		bpf_map_delete_elem(&l2_half_open, rkey);
		return -1;
	}
	return 0;
}

/* Takes rkey for the flow that is being made. */
__noinline int nat_take(const struct tuple *rkey, __u32 now)
{
	struct scratch *s = scratch();

	if (!s || !rkey)
		return -1;
	flow_set_diffs(&s->rev, rkey);
	return nat_reserve(rkey, &s->rev, now);
}

static long nat_try_src_port(__u32 i, struct nat_search *s)
{
	s->rkey.dport = nat_next_port(s);
	s->tries++;
	s->found = !nat_take(&s->rkey, s->now);
	return s->found;
}

/* Searches the range for a free source port. Returns a drop reason or 0. */
static __always_inline int nat_search_port(struct nat_search *s)
{
	__u32 tries;

	for (tries = NAT_TRIES; tries >= NAT_TRIES_LEAST; tries /= 2) {
		s->next = bpf_get_prandom_u32() % s->size;
		bpf_loop(s->size < tries ? s->size : tries, nat_try_src_port, s,
			 0);
		if (s->found || s->size <= tries)
			break;
	}
	count_by(STAT_NAT_TRIES, s->tries);
	if (!s->found)
		return STAT_DROP_NAT_EXHAUSTED;
	count(s->tries <= 8  ? STAT_NAT_TRIES_8 :
	      s->tries <= 64 ? STAT_NAT_TRIES_64 :
			       STAT_NAT_TRIES_248);
	return 0;
}

/*
 * Takes a source for the flow that s->rkey is the reply key of: as it is, if the
 * range and the other flows allow it, or with an address of the range, or with
 * another port. Returns a drop reason or 0.
 */
static __noinline int nat_source(struct pkt *p, struct nat_search *s)
{
	struct tuple *t = &p->tuple;
	int keep = !(p->nat & NAT_RANDOM) || !nat_has_ports(p);

	keep = keep && nat_has_port(p, t->sport);
	if (keep && nat_has_address(p, t->saddr) && !nat_take(&s->rkey, s->now))
		return 0;
	if (p->nat & NAT_ADDRESS) {
		nat_pick_address(p, 0);
		__builtin_memcpy(s->rkey.daddr, t->saddr, 16);
		if (keep && !nat_take(&s->rkey, s->now))
			return 0;
	}
	if (!nat_has_ports(p))
		return STAT_DROP_FLOW_CLASH;
	if (keep)
		count(STAT_NAT_COLLISION);
	nat_port_range(p, t->sport, s);
	return nat_search_port(s);
}

/*
 * Begins the flow of key, whose packets go to p->tuple's destination. Their
 * source becomes what p->nat asks for, and is put into p->tuple. Returns a drop
 * reason or 0.
 */
__noinline int flow_begin(struct pkt *p, const struct tuple *key, __u8 state)
{
	struct scratch *sc = scratch();
	struct nat_search s = {};
	struct flow *fwd;
	struct tuple *t;
	int reason;

	if (!sc || !p || !key)
		return STAT_DROP_INTERNAL;
	t = &p->tuple;
	s.now = ns_to_ticks(p->now);
	fwd = &sc->fwd;
	__builtin_memset(fwd, 0, sizeof(*fwd));
	fwd->state = state;
	fwd->zone = zone_of(p, ZONE_REPLY);
	facts_begin(fwd);
	if (p->l4proto == IPPROTO_TCP) {
		fwd->seen = sc->seen[0];
		fwd->last = sc->last;
	}
	fwd->created = s.now;
	fwd->expires = s.now + (p->l4proto == IPPROTO_TCP ?
					tcp_first_timeout(fwd) :
					flow_timeout(fwd, p->l4proto, s.now));
	flow_reverse(&sc->rev, fwd, key);
	/* Answers, as far as one can tell, go where the packet came from. */
	flow_goes_by(fwd, p->oif);
	flow_goes_by(&sc->rev, p->iif);
	if (p->l4proto == IPPROTO_TCP)
		sc->rev.seen = sc->seen[1];
	tuple_reverse(&s.rkey, (struct endpoints *)t, key, fwd->zone);

	reason = nat_source(p, &s);
	if (reason)
		return reason;
	t->sport = s.rkey.dport;
	__builtin_memcpy(&fwd->out, t, sizeof(fwd->out));
	flow_set_diffs(fwd, key);
	fwd->packets = 1;
	fwd->bytes = p->len;
	bpf_map_update_elem(&l2_half_open, key, fwd, BPF_ANY);
	count(STAT_FLOW_NEW);
	flow_report(key, fwd, &sc->rev, 1, FLOW_EVENT_NEW);
	return 0;
}
