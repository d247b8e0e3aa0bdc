/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "csum.h"
#include "facts.h"
#include "icmp.h"
#include "marks.h"
#include "parse.h"
#include "rewrite.h"
#include "scratch.h"
#include "types.h"

/*
 * ICMP and ICMPv6 errors belong to the flow of the packet that they quote
 * (RFC 5508 section 4): they are translated outside and inside, with as little
 * of the quoted transport header as RFC 792's 8 bytes.
 *
 * An error travels against the packet it quotes, so the entry that translates
 * it is the one whose key is the reverse of the quoted tuple.
 */

#define ICMP_HEADER 8

static __always_inline int icmp_quoted_ports(struct ctx_buff *ctx,
					     struct icmp_error *e)
{
	struct tuple *t = &e->quoted;
	__be16 th[4];
	__u32 ports;

	/* Ports make a tuple, and are too little for a translation. */
	e->is_short = ctx_load(ctx, e->l4_off, th, sizeof(th)) < 0;
	switch (t->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		if (e->is_short && ctx_load(ctx, e->l4_off, th, 4) < 0)
			return -1;
		t->sport = th[0];
		t->dport = th[1];
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (e->is_short)
			return -1;
		e->keeps_id = icmp_keeps_id(t->l4proto, *(__u8 *)th);
		ports = icmp_ports(t->l4proto, (const __u8 *)th);
		if (!ports)
			return -1;
		t->sport = ports;
		t->dport = ports >> 16;
		break;
	case IPPROTO_GRE:
		break;
	default:
		/* Of a protocol without ports nothing is needed. */
		e->is_short = 0;
	}
	return 0;
}

static __always_inline int icmp_parse_quoted(struct ctx_buff *ctx,
					     const struct pkt *p,
					     struct icmp_error *e)
{
	struct tuple *t = &e->quoted;
	struct l4_info l4 = {};
	struct ipv6hdr ip6;
	struct iphdr ip4;

	e->l3_off = L4_OFF(p) + ICMP_HEADER;
	t->nfproto = p->nfproto;
	if (p->nfproto == NFPROTO_IPV4) {
		if (ctx_load(ctx, e->l3_off, &ip4, sizeof(ip4)) < 0 ||
		    ip4.version != 4 || ip4.ihl < 5)
			return -1;
		__builtin_memcpy(t->saddr, &ip4.saddr, 4);
		__builtin_memcpy(t->daddr, &ip4.daddr, 4);
		t->l4proto = ip4.protocol;
		e->l4_off = e->l3_off + ip4.ihl * 4;
		e->later_fragment = !!(ip4.frag_off & bpf_htons(IP_OFFSET));
	} else {
		if (ctx_load(ctx, e->l3_off, &ip6, sizeof(ip6)) < 0 ||
		    ip6.version != 6)
			return -1;
		__builtin_memcpy(t->saddr, &ip6.saddr, 16);
		__builtin_memcpy(t->daddr, &ip6.daddr, 16);
		l4.proto = ip6.nexthdr;
		l4.off = e->l3_off + sizeof(ip6);
		l4.len = p->l3_off + p->len - l4.off;
		if (parse_ipv6_ext(ctx, &l4) != PARSE_OK)
			return -1;
		t->l4proto = l4.proto;
		e->l4_off = l4.off;
		e->later_fragment = !!l4.frag_off;
	}
	/* The ports of a later fragment are not there to be found. */
	if (e->later_fragment)
		return -1;
	return icmp_quoted_ports(ctx, e);
}

static __always_inline struct flow *icmp_find(struct tuple *key,
					      const struct pkt *p)
{
	__u8 half;
	struct flow *f = ct_find(key, p, &half);

	if (f && ticks_after(ns_to_ticks(p->now), READ_ONCE(f->expires)))
		return NULL;
	return f;
}

/* The stack has it no longer belong to a flow: nf_reset_ct(). */
static __always_inline int is_about_delivered(const struct pkt *p,
					      const struct tuple *quoted)
{
	return !__builtin_memcmp(p->tuple.saddr, quoted->daddr,
				 sizeof(quoted->daddr));
}

/* Sets p->ct_state: related, with the translation in e, or invalid. */
__noinline int icmp_error_track(struct ctx_buff *ctx, struct pkt *p,
				struct icmp_error *e)
{
	struct endpoints *now;
	struct tuple *q, rkey;
	struct flow *f;

	if (!p || !e)
		return 0;
	now = &e->now;
	q = &e->quoted;
	p->ct_state = CT_STATE_INVALID;
	if (icmp_parse_quoted(ctx, p, e) < 0)
		return 0;
	tuple_reverse(&rkey, (struct endpoints *)q, q, 0);
	f = icmp_find(&rkey, p);
	if (!f) {
		/* The router's own error, about a packet before its NAT; one
		 * about what was delivered has none. From anyone else it is
		 * about what no flow has sent, and so it is in answer to what
		 * a rule has rejected as of none.
		 */
		f = p->iif || answers_untracked(ctx->tc_index) ||
				    is_about_delivered(p, q) ?
			    NULL :
			    icmp_find(q, p);
		if (f) {
			p->ct_state = CT_STATE_RELATED;
			facts_back(q, f, f->flags);
		}
		return 0;
	}
	/* To another than who has sent what is quoted. */
	if (__builtin_memcmp(p->tuple.daddr, q->saddr, 16))
		return 0;
	facts_flow(&rkey, f, f->flags);
	p->ct_state = CT_STATE_RELATED;
	e->asked_port = !!(f->flags & FLOW_ASKED_PORT);
	e->via = flow_is_bound(f) ? f->hop.via : 0;
	__builtin_memcpy(now->saddr, f->out.daddr, 16);
	__builtin_memcpy(now->daddr, f->out.saddr, 16);
	now->sport = f->out.dport;
	now->dport = f->out.sport;
	if (e->keeps_id) {
		now->sport = q->sport;
		now->dport = q->dport;
	}
	if (!__builtin_memcmp(now, q, sizeof(*now)))
		return 0;
	e->translate = 1;
	return 0;
}

/* What rules can ask of the flow that the router's answer belongs to: that of
 * the tuple there, which the answer is to. Less than 0: it is in no table, and they are
 * those of one that begins.
 */
static __noinline int facts_answer(struct tuple *there, const struct pkt *p)
{
	struct flow *f = there && p ? icmp_find(there, p) : NULL;
	struct ct_facts *c;

	if (f) {
		facts_back(there, f, f->flags);
		return 0;
	}
	facts_first(there, 0);
	c = facts();
	if (c)
		c->direction = 1;
	return -1;
}

/* Whether the error goes another way than the packets of its flow, and has ended it. */
static __always_inline int icmp_error_goes_by(const struct pkt *p,
					      const struct icmp_error *e)
{
	const struct tuple *q = &e->quoted;
	struct tuple rkey;

	if (likely(!e->via || e->via == flow_via(p->oif)))
		return 0;
	tuple_reverse(&rkey, (const struct endpoints *)q, q,
		      zone_of(p, ZONE_ORIGINAL));
	return ct_goes_by(&rkey, p->oif);
}

/* The addresses that the error itself gets, where the flow has a translation of
 * that end, if only of its port: whoever has sent the error, it is from or to
 * that end then. Returns a drop reason or 0.
 */
static __always_inline int icmp_error_dst(struct pkt *p,
					  const struct icmp_error *e)
{
	struct endpoints out = {};

	if (!__builtin_memcmp(e->now.saddr, e->quoted.saddr, 16) &&
	    e->now.sport == e->quoted.sport)
		return 0;
	if (e->is_short)
		return STAT_DROP_MALFORMED;
	__builtin_memcpy(out.daddr, e->now.saddr, 16);
	translate_dst(p, &out);
	return 0;
}

/* Whether the flow's queries have another identifier than they had been sent with, because
 * somebody else's answers were those of the latter: the kernel gives it with the
 * destination's translation, which comes first, and no rule has to ask for it.
 */
static __always_inline int icmp_error_by_id(const struct icmp_error *e)
{
	return (e->quoted.l4proto == IPPROTO_ICMP ||
		e->quoted.l4proto == IPPROTO_ICMPV6) &&
	       !e->asked_port;
}

/* Whether the flow has a translation of the end that the error is from. */
static __always_inline int icmp_error_has_src(const struct icmp_error *e)
{
	if (__builtin_memcmp(e->now.daddr, e->quoted.daddr, 16))
		return 1;
	if (!icmp_error_by_id(e))
		return e->now.dport != e->quoted.dport;
	return e->now.sport != e->quoted.sport &&
	       !__builtin_memcmp(e->now.saddr, e->quoted.saddr, 16);
}

static __always_inline int icmp_error_src(struct pkt *p,
					  const struct icmp_error *e)
{
	struct endpoints out = {};

	if (!icmp_error_has_src(e))
		return 0;
	if (e->is_short)
		return STAT_DROP_MALFORMED;
	__builtin_memcpy(out.saddr, e->now.daddr, 16);
	translate_src(p, &out);
	return 0;
}

/* A redirect about a flow that is translated tells of a way that its sender does not go.
 * IPv6's is discovery, and no error.
 */
static __always_inline int icmp_is_redirect(const struct pkt *p)
{
	return p->l4proto == IPPROTO_ICMP && p->th[0] == ICMP_REDIRECT;
}

/* Replaces 16 bits of the quoted packet, adding to the error's checksum. */
static __always_inline int icmp_put16(struct ctx_buff *ctx, __u32 off,
				      __u16 from, __u16 to, __u32 *diff)
{
	if (from == to)
		return 0;
	*diff = csum_add(*diff, csum_diff16(from, to));
	return bpf_skb_store_bytes(ctx, off, &to, sizeof(to), 0);
}

/* The quoted transport checksum, as far as the quote reaches. */
static __always_inline int icmp_quoted_csum(struct ctx_buff *ctx,
					    const struct icmp_error *e,
					    __u32 change, __u32 ports,
					    __u32 *diff)
{
	__u32 off = e->l4_off;
	__u16 sum;

	switch (e->quoted.l4proto) {
	case IPPROTO_TCP:
		off += offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		off += offsetof(struct udphdr, check);
		break;
	case IPPROTO_ICMP:
		off += ICMP_CSUM_OFF;
		change = ports;
		break;
	case IPPROTO_ICMPV6:
		off += ICMP_CSUM_OFF;
		break;
	default:
		return 0;
	}
	if (ctx_load(ctx, off, &sum, sizeof(sum)) < 0)
		return 0;
	if (e->quoted.l4proto == IPPROTO_UDP && !sum)
		return 0;
	return icmp_put16(ctx, off, sum, csum_apply(sum, change), diff);
}

/* Translates what the error quotes and its checksum over that. */
__noinline int icmp_error_rewrite(struct ctx_buff *ctx, const struct pkt *p,
				  const struct icmp_error *e)
{
	__u32 addrs, ports, diff = 0, off;
	const struct endpoints *to;
	const struct tuple *from;
	__u16 sum;
	int err = 0;

	if (!p || !e)
		return -1;
	to = &e->now;
	from = &e->quoted;
	off = L4_OFF(p);
	ports = csum_add(csum_diff16(from->sport, to->sport),
			 csum_diff16(from->dport, to->dport));
	if (p->nfproto == NFPROTO_IPV4) {
		addrs = csum_add(csum_diff(from->saddr, to->saddr, 1),
				 csum_diff(from->daddr, to->daddr, 1));
		/* Addresses and header checksum cancel out in the sum. */
		if (ctx_load(ctx, e->l3_off + offsetof(struct iphdr, check),
			     &sum, sizeof(sum)) < 0)
			return -1;
		sum = csum_apply(sum, addrs);
		err |= bpf_skb_store_bytes(
			ctx, e->l3_off + offsetof(struct iphdr, check), &sum,
			sizeof(sum), 0);
		err |= bpf_skb_store_bytes(
			ctx, e->l3_off + offsetof(struct iphdr, saddr),
			to->saddr, 4, 0);
		err |= bpf_skb_store_bytes(
			ctx, e->l3_off + offsetof(struct iphdr, daddr),
			to->daddr, 4, 0);
	} else {
		addrs = csum_add(csum_diff(from->saddr, to->saddr, 4),
				 csum_diff(from->daddr, to->daddr, 4));
		diff = addrs;
		err |= bpf_skb_store_bytes(
			ctx, e->l3_off + offsetof(struct ipv6hdr, saddr),
			to->saddr, 16, 0);
		err |= bpf_skb_store_bytes(
			ctx, e->l3_off + offsetof(struct ipv6hdr, daddr),
			to->daddr, 16, 0);
	}
	switch (from->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		err |= icmp_put16(ctx, e->l4_off, from->sport, to->sport,
				  &diff);
		err |= icmp_put16(ctx, e->l4_off + 2, from->dport, to->dport,
				  &diff);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		err |= icmp_put16(ctx, e->l4_off + 4, from->sport, to->sport,
				  &diff);
		err |= icmp_put16(ctx, e->l4_off + 4, from->dport, to->dport,
				  &diff);
		break;
	}
	err |= icmp_quoted_csum(ctx, e, csum_add(addrs, ports), ports, &diff);
	if (err)
		return -1;
	off += ICMP_CSUM_OFF;
	return ctx_csum_update(ctx, off, 0, diff, 0);
}
