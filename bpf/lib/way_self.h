/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "icmp_error.h"
#include "marks.h"
#include "scratch.h"
#include "way.h"
#include "way_nat.h"
#include "way_route.h"
#include "way_lo.h"

/*
 * The router's own packets that NAT at output sends to the router itself, by redirect or
 * dnat, and the answers to them. In the kernel both go over lo with the route that
 * ip_route_me_harder() has found; without one, ip_route_input() takes nothing there
 * from an address of the host's own. A program can have the kernel look for a route,
 * with bpf_redirect_neigh(), of packets that have none. So the packet goes
 *
 *   egress of an interface: chains, translation ── as if it came in by lo, which takes the
 *      route to its old destination away
 *   ingress of lo ── bpf_redirect_neigh() by lo, which gives it one
 *   egress of lo ── ingress of lo, a second time ── the stack, by that route
 *
 * Routes by lo are those of its own addresses alone. Such a one is the packet's destination
 * while it is asked for: what it is a route to, the stack does not look at.
 */

/* Global, for the stack's sake. */
__noinline int send_to_self(struct __sk_buff *skb, const struct pkt *p)
{
	struct lo_frame frame = { .proto = skb->protocol };

	if (!p)
		return drop(STAT_DROP_INTERNAL);
	return send_into_lo(skb, p, &frame, TC_INDEX_SELF);
}

/* Puts the address into the packet as its destination, past all checksums, and what it
 * was into old, if that is not NULL.
 */
static __always_inline int self_set_dst(struct __sk_buff *skb, const __u8 *addr,
					__u8 *old)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__u32 off = ETH_HLEN + offsetof(struct iphdr, daddr);

		return (old && bpf_skb_load_bytes(skb, off, old, 4)) ||
		       bpf_skb_store_bytes(skb, off, addr, 4, 0);
	} else {
		__u32 off = ETH_HLEN + offsetof(struct ipv6hdr, daddr);

		return (old && bpf_skb_load_bytes(skb, off, old, 16)) ||
		       bpf_skb_store_bytes(skb, off, addr, 16, 0);
	}
}

/* Gives the packet a route. The egress program of lo has it next, on this CPU. */
static __always_inline int self_route(struct __sk_buff *skb)
{
	__u8 lo4[4] = { 127, 0, 0, 1 }, lo6[16] = { [15] = 1 };
	struct sending *s = sending();

	if (!s ||
	    self_set_dst(skb, skb->protocol == bpf_htons(ETH_P_IP) ? lo4 : lo6,
			 s->self))
		return drop(STAT_DROP_INTERNAL);
	return bpf_redirect_neigh(LOOPBACK_IFINDEX, NULL, 0, 0);
}

/* It has one. */
static __always_inline int self_sent(struct __sk_buff *skb)
{
	struct sending *s = sending();

	if (!s || self_set_dst(skb, s->self, NULL))
		return drop(STAT_DROP_INTERNAL);
	return pass(skb);
}

/* Finds the flow of an answer, or of what is quoted by an error that is one: not by
 * one about a packet to another host. Packets that begin a flow, or are of none, are
 * not tracked here. Returns whether there is something to translate.
 */
static __always_inline int self_track(struct __sk_buff *skb, struct pkt *p,
				      struct way *w)
{
	struct flow *f;
	__u8 half;

	if (ct_is_short(p))
		return 0;
	if (ct_is_icmp_error(p)) {
		icmp_error_track(skb, p, w->error);
		return w->error->translate &&
		       is_about_delivered(p, &w->error->quoted);
	}
	w->error = NULL;
	f = ct_find(w->key, p, &half);
	if (!f || !(f->flags & FLOW_REPLY))
		return 0;
	ct_in(skb, p, w->key, w->ct);
	return w->ct->found;
}

/*
 * What leaves by lo: the answers among it are to be from where the packets had been sent
 * to. They come in again with the route that they have.
 */
static __always_inline int self_answer(struct __sk_buff *skb)
{
	const struct iface lo = {};
	struct scratch *s;
	int reason = 0;
	struct way w;
	struct pkt *p;

	s = way_begin(&w);
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	p = &s->pkt;
	if (begin(skb, p, &w, &lo, 1) != PARSE_OK)
		return pass(skb);
	p->oif = LOOPBACK_IFINDEX;
	if (!self_track(skb, p, &w))
		return pass(skb);
	if (w.error) {
		reason = icmp_error_dst(p, w.error);
		if (!reason)
			reason = icmp_error_src(p, w.error);
	} else {
		set_dst(p, &w, &w.ct->out);
		set_src(p, &w, &w.ct->out);
	}
	if (reason)
		return drop(reason);
	if (write_headers(skb, p, w.key, w.error, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_OUT);
	return pass(skb);
}

/*
 * From outside, the answer of the router to itself: by its source, it is martian. It would not
 * be one to the stack, behind its translation.
 */
static __always_inline int
is_alien_answer(struct __sk_buff *skb, const struct pkt *p, const struct way *w)
{
	if (!(policy_nat & NAT_OUTPUT) || !w->ct->found ||
	    !__builtin_memcmp(w->ct->out.saddr, w->key->saddr, 16))
		return 0;
	return is_martian_source(p) || answers_by_lo(skb, p);
}
