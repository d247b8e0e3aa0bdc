/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "kernel.h"
#include "maps.h"
#include "scratch.h"
#include "types.h"

/*
 * Mappings: which external address and port a client's socket has towards all
 * remote ends, or all ports of one (RFC 4787, 4.1). Only what a NAT statement
 * translates has one, so nothing else pays; a packet of a flow that exists meets
 * none of this.
 *
 * The outside entry is the ownership of an external port: inserting it, if it
 * does not exist, is the test, as it is for a flow's reply key, which is taken
 * as well. The inside entry says what a client's socket has, where that is not
 * its own port.
 *
 * A mapping lives as long as a flow uses it. Flows do not count their mappings,
 * because they may be evicted: the collector marks the mappings of all flows
 * that live, and then removes those without a recent mark. Where a mapping goes
 * while a new flow takes it, or two CPUs make one for the same socket, a port is
 * nobody's until its next flow: that may be another client's, and this client's
 * next one has another. No flow has a wrong translation.
 */

#define E2BIG 7 /* of a map that is full */

/* Whether the flow that the packet begins is to have the source of a mapping. The
 * router's own sockets keep their ports, whoever has them towards others; and a
 * rule that asks for random ports wants none, as in the kernel.
 */
static __always_inline int mapping_wanted(const struct pkt *p)
{
	const struct settings *s = settings();

	return s && s->nat_mapping != NAT_ENDPOINT_DEPENDENT && p->iif &&
	       p->nat && !(p->nat & NAT_RANDOM);
}

/* Puts what is known of the mapping of p->tuple's source into the scratch: key is
 * that of the flow, and zone that of its other direction.
 */
__noinline int mapping_begin(const struct pkt *p, const struct tuple *key,
			     __u16 zone, __u32 now)
{
	const struct settings *set = settings();
	struct scratch *s = scratch();

	if (!p || !key || !s || !set)
		return 0;
	__builtin_memset(&s->inside, 0, sizeof(s->inside));
	__builtin_memcpy(s->inside.addr, p->tuple.saddr, 16);
	s->inside.port = p->tuple.sport;
	s->inside.zone = key->zone;
	s->inside.l4proto = key->l4proto;
	s->inside.nfproto = key->nfproto;
	if (set->nat_mapping == NAT_ADDRESS_DEPENDENT)
		__builtin_memcpy(s->inside.remote, p->tuple.daddr, 16);
	s->outside = s->inside;
	s->outside.zone = zone;
	s->outside.outside = 1;
	__builtin_memcpy(s->mapping.addr, s->inside.addr, 16);
	s->mapping.port = s->inside.port;
	/* Of an address outside, by a sender who stays inside: that address's. */
	s->mapping.via = s->ct.via ? s->ct.via : flow_via(p->oif);
	s->mapping.used = now;
	s->mapping.zone = key->zone;
	return 0;
}

static __always_inline int mapping_is_of(const struct mapping *m,
					 const struct mapping *other)
{
	return m->port == other->port &&
	       !__builtin_memcmp(m->addr, other->addr, 16);
}

/* Takes the external port s->outside for the client. Returns 1 if it is new, 0 if
 * it was the client's, or a negative errno.
 */
static __always_inline int mapping_claim(struct scratch *s)
{
	struct mapping *m;
	int err;

	err = bpf_map_update_elem(&l2_mappings, &s->outside, &s->mapping,
				  BPF_NOEXIST);
	if (!err)
		return 1;
	if (err == -E2BIG)
		return err;
	m = bpf_map_lookup_elem(&l2_mappings, &s->outside);
	if (!m || !mapping_is_of(m, &s->mapping))
		return -1;
	WRITE_ONCE(m->used, s->mapping.used);
	return 0;
}

/* The client's flow, whose answers have the tuple rkey, has taken s->outside.
 * in_range: the rule would have allowed other addresses.
 */
static __always_inline void mapping_keep(struct scratch *s,
					 const struct tuple *rkey, int in_range)
{
	const struct settings *set = settings();

	if (set && set->nat_filtering == NAT_ADDRESS_DEPENDENT &&
	    set->nat_mapping == NAT_ENDPOINT_INDEPENDENT) {
		/* Its remote address may send from any port. */
		__builtin_memcpy(s->outside.remote, rkey->saddr, 16);
		bpf_map_update_elem(&l2_mappings, &s->outside, &s->mapping,
				    BPF_ANY);
		__builtin_memset(s->outside.remote, 0, 16);
	}
	if (!in_range && s->outside.port == s->inside.port)
		return;
	__builtin_memcpy(s->mapping.addr, s->outside.addr, 16);
	s->mapping.port = s->outside.port;
	s->mapping.zone = s->outside.zone;
	bpf_map_update_elem(&l2_mappings, &s->inside, &s->mapping, BPF_ANY);
}

/* The packet that has begun a flow goes no further: nor is there a mapping that was
 * made for it.
 */
static __always_inline void mapping_forget(void)
{
	struct scratch *s = scratch();

	if (!s || !s->search.fresh)
		return;
	s->search.fresh = 0;
	bpf_map_delete_elem(&l2_mappings, &s->outside);
}

/* Whether the router listens to what the packet is sent to. */
static __always_inline int mapping_is_local(struct ctx_buff *ctx,
					    const struct tuple *t)
{
	struct bpf_sock_tuple to = {};
	struct bpf_sock *sk;
	__u32 size;

	if (t->nfproto == NFPROTO_IPV4) {
		__builtin_memcpy(&to.ipv4.saddr, t->saddr, 4);
		__builtin_memcpy(&to.ipv4.daddr, t->daddr, 4);
		to.ipv4.sport = t->sport;
		to.ipv4.dport = t->dport;
		size = sizeof(to.ipv4);
	} else {
		__builtin_memcpy(to.ipv6.saddr, t->saddr, 16);
		__builtin_memcpy(to.ipv6.daddr, t->daddr, 16);
		to.ipv6.sport = t->sport;
		to.ipv6.dport = t->dport;
		size = sizeof(to.ipv6);
	}
	sk = t->l4proto == IPPROTO_TCP ?
		     bpf_skc_lookup_tcp(ctx, &to, size, BPF_F_CURRENT_NETNS,
					0) :
		     bpf_sk_lookup_udp(ctx, &to, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

/* How long a port that no flow uses any more stays its client's, in ticks. */
static __always_inline __u32 mapping_rest(void)
{
	const struct settings *s = settings();

	return s ? s->nat_port_rest : 0;
}

/* Two walks of the collector, which would have marked a mapping in use. */
#define MAPPING_RESTS_AFTER (20 * TICKS_PER_SEC)

/* Whether it is there for nothing but to keep others from the port. */
static __always_inline int mapping_is_at_rest(const struct mapping *m,
					      __u32 now)
{
	return mapping_rest() &&
	       ticks_after(now, READ_ONCE(m->used) + MAPPING_RESTS_AFTER);
}

/* Whether a packet for the mapping comes from inside. One that was made by an interface
 * which has gone, as each connection by PPP has another, says nothing about that.
 */
static __always_inline int mapping_is_inside(struct ctx_buff *ctx,
					     const struct pkt *p,
					     const struct mapping *m)
{
	return m->via != flow_via(p->iif) &&
	       device_by_index(ctx_net(ctx), m->via);
}

/*
 * Who a packet that no flow and no rule knows is for, where the settings let
 * others in than those that the client has sent to. What the router itself
 * listens to is the router's. Sets p->tuple's destination and ct.mapped. Returns
 * whether it has.
 */
__noinline int mapping_enter(struct ctx_buff *ctx, struct pkt *p)
{
	const struct settings *set = settings();
	struct scratch *s = scratch();
	struct mapping_key *key;
	struct mapping *m;
	int inside;

	if (!p || !s || !set || set->nat_filtering == NAT_ENDPOINT_DEPENDENT ||
	    !p->iif || (p->l4proto != IPPROTO_TCP && p->l4proto != IPPROTO_UDP))
		return 0;
	key = &s->outside;
	__builtin_memset(key, 0, sizeof(*key));
	__builtin_memcpy(key->addr, p->tuple.daddr, 16);
	key->port = p->tuple.dport;
	key->zone = zone_of(p, ZONE_REPLY);
	key->l4proto = p->l4proto;
	key->nfproto = p->nfproto;
	key->outside = 1;
	m = bpf_map_lookup_elem(&l2_mappings, key);
	inside = m && mapping_is_inside(ctx, p, m);
	if (!inside && set->nat_filtering == NAT_ADDRESS_DEPENDENT) {
		__builtin_memcpy(key->remote, p->tuple.saddr, 16);
		m = bpf_map_lookup_elem(&l2_mappings, key);
	}
	if (!m || mapping_is_at_rest(m, ns_to_ticks(p->now)) ||
	    mapping_is_local(ctx, &p->tuple))
		return 0;
	s->ct.mapped = inside ? MAPPED_DST | MAPPED_HAIRPIN : MAPPED_DST;
	s->ct.via = inside ? m->via : 0;
	__builtin_memcpy(p->tuple.daddr, m->addr, 16);
	p->tuple.dport = m->port;
	return 1;
}

/* Where the sender of such a packet is inside as well, others see it as they do
 * outside: its source becomes the address that the packet was sent to.
 */
static __always_inline void mapping_hairpin(struct pkt *p,
					    const struct tuple *key)
{
	struct scratch *s = scratch();

	if (!s || !(s->ct.mapped & MAPPED_HAIRPIN))
		return;
	if (p->nat) { /* a rule gives it one of inside */
		s->ct.via = 0;
		return;
	}
	__builtin_memcpy(p->nat_range.min, key->daddr, 16);
	__builtin_memcpy(p->nat_range.max, key->daddr, 16);
	p->nat = NAT_STATEMENT | NAT_ADDRESS;
}

/* The collector has found a flow that lives: its mappings are in use. */
static __always_inline void mapping_mark_one(const struct mapping_key *key,
					     __u32 now)
{
	struct mapping *m = bpf_map_lookup_elem(&l2_mappings, key);

	if (m)
		WRITE_ONCE(m->used, now);
}

/* With the remote address as well, where the settings may have had it made so. */
static __always_inline void mapping_mark_end(struct mapping_key *outside,
					     const __u8 *remote, __u32 now)
{
	const struct settings *s = settings();

	mapping_mark_one(outside, now);
	if (!s || (s->nat_mapping != NAT_ADDRESS_DEPENDENT &&
		   s->nat_filtering != NAT_ADDRESS_DEPENDENT))
		return;
	__builtin_memcpy(outside->remote, remote, 16);
	mapping_mark_one(outside, now);
	__builtin_memset(outside->remote, 0, 16);
}

__noinline int mapping_mark(const struct tuple *key,
			    const struct endpoints *out, __u32 flags,
			    __u16 zone, __u32 now)
{
	struct mapping_key outside = { .outside = 1 };

	if (!key || !out || flags & FLOW_REPLY)
		return 0;
	outside.l4proto = key->l4proto;
	outside.nfproto = key->nfproto;
	outside.zone = zone;
	if (flags & FLOW_MAPPED_SRC) {
		__builtin_memcpy(outside.addr, out->saddr, 16);
		outside.port = out->sport;
		mapping_mark_end(&outside, out->daddr, now);
	}
	/* What nobody inside answers keeps no mapping. */
	if (flags & FLOW_MAPPED_DST && flags & FLOW_SEEN_REPLY) {
		__builtin_memcpy(outside.addr, key->daddr, 16);
		outside.port = key->dport;
		mapping_mark_end(&outside, key->saddr, now);
	}
	return 0;
}

/* An inside entry lives as long as its outside, if that is its own. */
static __always_inline int mapping_is_dead(const struct mapping_key *key,
					   const struct mapping *m, __u32 since)
{
	struct mapping_key outside;
	struct mapping *other;

	if (key->outside)
		return ticks_after(since, READ_ONCE(m->used));
	outside = *key;
	__builtin_memcpy(outside.addr, m->addr, 16);
	outside.port = m->port;
	outside.zone = m->zone;
	outside.outside = 1;
	other = bpf_map_lookup_elem(&l2_mappings, &outside);
	return !other || other->port != key->port ||
	       __builtin_memcmp(other->addr, key->addr, 16);
}

/* Behind the flows: returns whether there is a mapping with the key that has been marked
 * since the walk began, or is to rest; what has not goes. Inside entries do not count.
 */
__noinline int mapping_lives(const struct mapping_key *key, __u32 began)
{
	struct mapping *m;

	if (!key)
		return 0;
	m = bpf_map_lookup_elem(&l2_mappings, key);
	if (!m)
		return 0;
	if (!mapping_is_dead(key, m, began - mapping_rest()))
		return key->outside;
	bpf_map_delete_elem(&l2_mappings, key);
	return 0;
}
