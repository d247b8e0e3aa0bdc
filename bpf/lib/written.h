/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "icmp.h"
#include "policy.h"
#include "types.h"

/*
 * What rules have written: to the packet and to the copies of its headers, p->nh
 * and p->th, at once. A translation is written to the copies first, and to the
 * packet at last; p->tuple is what conntrack makes of both.
 */

/* A query's id is its source port, any other's ICMP message the destination
 * port: of a message without an id it is the same everywhere.
 */
static __always_inline void tuple_ports(const struct pkt *p, const __be16 *th,
					struct tuple *t)
{
	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		t->sport = th[0];
		t->dport = th[1];
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (icmp_is_query(p))
			t->sport = th[2];
		else
			t->dport = th[2];
		break;
	}
}

/* The addresses and ports of the headers' copies. */
static __always_inline void tuple_of_headers(const struct pkt *p,
					     struct tuple *t)
{
	const struct ipv6hdr *ip6 = (const struct ipv6hdr *)p->nh;
	const struct iphdr *ip = (const struct iphdr *)p->nh;

	if (p->nfproto == NFPROTO_IPV4) {
		__builtin_memcpy(t->saddr, &ip->saddr, 4);
		__builtin_memcpy(t->daddr, &ip->daddr, 4);
	} else {
		__builtin_memcpy(t->saddr, &ip6->saddr, 16);
		__builtin_memcpy(t->daddr, &ip6->daddr, 16);
	}
	tuple_ports(p, (const __be16 *)p->th, t);
}

/* Those of the packet itself. */
static __noinline __maybe_unused int
tuple_of_packet(struct __sk_buff *skb, const struct pkt *p, struct tuple *t)
{
	__u32 off = p->l3_off;
	__be16 th[4];
	int err;

	if (p->nfproto == NFPROTO_IPV4)
		err = ctx_load(skb, off + offsetof(struct iphdr, saddr),
			       t->saddr, 4) ||
		      ctx_load(skb, off + offsetof(struct iphdr, daddr),
			       t->daddr, 4);
	else
		err = ctx_load(skb, off + offsetof(struct ipv6hdr, saddr),
			       t->saddr, 16) ||
		      ctx_load(skb, off + offsetof(struct ipv6hdr, daddr),
			       t->daddr, 16);
	if (err)
		return -1;
	/* Without a transport header of its own: that of the copy. */
	__builtin_memcpy(th, p->th, sizeof(th));
	if (!is_later_fragment(p) && p->th_len >= sizeof(th) &&
	    ctx_load(skb, p->l4_off, th, sizeof(th)) < 0)
		return -1;
	tuple_ports(p, th, t);
	return 0;
}

/* A rule that has written the TTL has written the one that is left. */
static __always_inline int hop_is_pending(struct __sk_buff *skb,
					  const struct pkt *p)
{
	__u32 at = p->nfproto == NFPROTO_IPV4 ?
			   offsetof(struct iphdr, ttl) :
			   offsetof(struct ipv6hdr, hop_limit);
	__u8 ttl;

	if (ctx_load(skb, p->l3_off + at, &ttl, sizeof(ttl)) < 0)
		return 0;
	return p->nfproto == NFPROTO_IPV4 ?
		       ttl != p->nh[offsetof(struct iphdr, ttl)] :
		       ttl != p->nh[offsetof(struct ipv6hdr, hop_limit)];
}

/* Where rules have written to the headers, these are asked for. */
static __always_inline void route_fill_written(struct bpf_fib_lookup *fib,
					       const struct pkt *p)
{
	const struct ipv6hdr *ip6 = (const struct ipv6hdr *)p->nh;
	const struct iphdr *ip = (const struct iphdr *)p->nh;

	if (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP) {
		fib->sport = *(__be16 *)&p->th[0];
		fib->dport = *(__be16 *)&p->th[2];
	}
	if (p->nfproto == NFPROTO_IPV4) {
		__builtin_memcpy(&fib->ipv4_src, &ip->saddr, 4);
		__builtin_memcpy(&fib->ipv4_dst, &ip->daddr, 4);
	} else {
		__builtin_memcpy(fib->ipv6_src, &ip6->saddr, 16);
		__builtin_memcpy(fib->ipv6_dst, &ip6->daddr, 16);
	}
}
