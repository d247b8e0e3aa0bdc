/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "scratch.h"
#include "types.h"

/*
 * Source NAT and the birth of flows. A flow's reverse key is the reservation
 * of its translated port: inserting it, if it does not exist, is the test
 * whether the port is free. Flows of the router itself go the same way, so all
 * share one port space.
 */

#define NAT_TRIES 128

/* Ports are searched in the class of the original: nf_nat_core.c. */
struct nat_range {
	__u32 first;
	__u32 size;
};

static __always_inline void nat_port_range(const struct pkt *p, __u16 port,
					   struct nat_range *range)
{
	if (p->l4proto == IPPROTO_ICMP || p->l4proto == IPPROTO_ICMPV6) {
		range->first = 0;
		range->size = 65536;
	} else if (port < 512) {
		range->first = 1;
		range->size = 511;
	} else if (port < 1024) {
		range->first = 600;
		range->size = 424;
	} else {
		range->first = 1024;
		range->size = 64512;
	}
}

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

/*
 * Takes rkey for the reply direction rev of the flow that key begins. Looks
 * into the confirmed table before and after: a flow on its way from one tier
 * to the other is in both.
 */
static __noinline int nat_reserve(const struct tuple *key,
				  const struct tuple *rkey,
				  const struct flow *rev, __u32 now)
{
	struct flow *f;
	int err;

	f = bpf_map_lookup_elem(&l2_flows, rkey);
	if (f) {
		if (!ticks_after(now, READ_ONCE(f->expires)))
			return -1;
		flow_delete(rkey, f);
	}
	err = bpf_map_update_elem(&l2_half_open, rkey, rev, BPF_NOEXIST);
	if (err) {
		f = bpf_map_lookup_elem(&l2_half_open, rkey);
		if (!f)
			return -1;
		/* Ours, whose other half was evicted, or long dead. */
		if (__builtin_memcmp(&f->out, &rev->out, sizeof(f->out)) &&
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

struct nat_search {
	const struct tuple *key;
	struct flow *rev;
	struct tuple rkey;
	struct nat_range range;
	__u32 next;
	__u32 now;
	int found;
};

static long nat_try_port(__u32 i, struct nat_search *s)
{
	s->rkey.dport = bpf_htons(s->range.first + s->next);
	flow_set_diffs(s->rev, &s->rkey);
	if (!nat_reserve(s->key, &s->rkey, s->rev, s->now)) {
		s->found = 1;
		return 1;
	}
	if (++s->next >= s->range.size)
		s->next = 0;
	return 0;
}

/*
 * Begins the flow of key, whose packets leave as p->tuple says; another source
 * port is put there when that one is taken. Returns a drop reason or 0.
 */
static __noinline int flow_begin(struct pkt *p, const struct tuple *key,
				 __u8 state)
{
	struct scratch *sc = scratch();
	struct nat_search s = { .key = key, .now = ns_to_ticks(p->now) };
	struct flow *fwd, *rev;

	if (!sc)
		return STAT_DROP_INTERNAL;
	fwd = &sc->fwd;
	rev = &sc->rev;
	s.rev = rev;
	__builtin_memset(fwd, 0, sizeof(*fwd));
	__builtin_memcpy(&fwd->out, &p->tuple, sizeof(fwd->out));
	fwd->state = state;
	fwd->zone = zone_of(p, ZONE_REPLY);
	facts_begin(fwd);
	fwd->created = s.now;
	fwd->expires = s.now + flow_timeout(fwd, p->l4proto, s.now);
	flow_set_diffs(fwd, key);
	flow_reverse(rev, fwd, key);
	fwd->packets = 1;
	fwd->bytes = p->len;
	tuple_reverse(&s.rkey, &fwd->out, key, fwd->zone);

	if (nat_reserve(key, &s.rkey, rev, s.now)) {
		if (!nat_has_ports(p))
			return STAT_DROP_FLOW_CLASH;
		count(STAT_NAT_COLLISION);
		nat_port_range(p, bpf_ntohs(fwd->out.sport), &s.range);
		s.next = bpf_get_prandom_u32() % s.range.size;
		bpf_loop(NAT_TRIES, nat_try_port, &s, 0);
		if (!s.found)
			return STAT_DROP_NAT_EXHAUSTED;
		fwd->out.sport = s.rkey.dport;
		flow_set_diffs(fwd, key);
		p->tuple.sport = s.rkey.dport;
	}
	bpf_map_update_elem(&l2_half_open, key, fwd, BPF_ANY);
	count(STAT_FLOW_NEW);
	return 0;
}

/*
 * The address that the interface p->oif sends with towards the packet's
 * destination: what masquerade means. Asked of the routing table for each new
 * flow, so that a new address is used at once.
 */
static __noinline int nat_masquerade(struct ctx_buff *ctx, struct pkt *p)
{
	struct bpf_fib_lookup fib = {};

	fib.ifindex = p->oif;
	fib.l4_protocol = p->l4proto;
	fib.tot_len = 1; /* of any length: the MTU is no matter here */
	if (p->nfproto == NFPROTO_IPV4) {
		fib.family = AF_INET;
		__builtin_memcpy(&fib.ipv4_dst,
				 p->nh + offsetof(struct iphdr, daddr), 4);
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_dst,
				 p->nh + offsetof(struct ipv6hdr, daddr), 16);
	}
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib),
			   BPF_FIB_LOOKUP_OUTPUT | FIB_LOOKUP_SKIP_NEIGH |
				   FIB_LOOKUP_SRC) != BPF_FIB_LKUP_RET_SUCCESS)
		return -1;
	if (p->nfproto == NFPROTO_IPV4) {
		if (!fib.ipv4_src)
			return -1;
		__builtin_memcpy(p->tuple.saddr, &fib.ipv4_src, 4);
	} else {
		__builtin_memcpy(p->tuple.saddr, fib.ipv6_src, 16);
	}
	return 0;
}
