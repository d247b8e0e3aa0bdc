/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "flow.h"
#include "icmp_error.h"
#include "nat.h"
#include "policy.h"
#include "rewrite.h"
#include "way.h"

/* The translations on a packet's way. */

/*
 * Rules may have written other addresses to the packet than conntrack has: they
 * stay, unless the flow has a translation of that side.
 */
static __always_inline void set_dst(struct pkt *p, const struct way *w,
				    const struct endpoints *out)
{
	const struct tuple *key = w->key;

	if (policy_writes && key->dport == out->dport &&
	    !__builtin_memcmp(key->daddr, out->daddr, sizeof(key->daddr)))
		return;
	translate_dst(p, out);
}

static __always_inline void set_src(struct pkt *p, const struct way *w,
				    const struct endpoints *out)
{
	const struct tuple *key = w->key;

	if (policy_writes && key->sport == out->sport &&
	    !__builtin_memcmp(key->saddr, out->saddr, sizeof(key->saddr)))
		return;
	translate_src(p, out);
}

/* A first packet's NAT chains, or none, have decided about a side. */
static __always_inline void nat_done(struct pkt *p, const struct way *w,
				     int is_src)
{
	struct endpoints out;

	p->nat = 0;
	__builtin_memcpy(&out, &p->tuple, sizeof(out));
	if (is_src)
		set_src(p, w, &out);
	else
		set_dst(p, w, &out);
}

/*
 * Whether the kernel gives a first packet another identifier, because somebody else's
 * answers have its own: with the destination's translation, whatever rules say. Here the
 * source's does, which a packet that is rejected does not come to. Global: verified once.
 */
__noinline int nat_has_new_id(const struct pkt *p)
{
	struct tuple rkey;

	if (!p || !nat_is_there(p) ||
	    (p->l4proto != IPPROTO_ICMP && p->l4proto != IPPROTO_ICMPV6))
		return 0;
	tuple_reverse(&rkey, (const struct endpoints *)&p->tuple, &p->tuple,
		      zone_of(p, ZONE_REPLY));
	return nat_is_taken(&rkey, ns_to_ticks(p->now));
}

/*
 * The destination's translation: the flow's, or for a first packet the one that
 * the NAT chains of the hook ask for. Returns a drop reason or 0.
 */
static __always_inline int to_dst(struct __sk_buff *skb, struct pkt *p,
				  struct way *w, int is_output)
{
	int reason;

	if (w->ct->found) {
		set_dst(p, w, &w->ct->out);
		return 0;
	}
	if (w->error && w->error->translate)
		return icmp_is_redirect(p) ? STAT_DROP_NAT_REDIRECT :
					     icmp_error_dst(p, w->error);
	if (!w->ct->first)
		return 0;
	if (is_output ? !policy_accepts(OUTPUT_NAT, output_nat, skb, p) :
			!policy_accepts(PREROUTING_NAT, prerouting_nat, skb, p))
		return STAT_DROP_POLICY;
	if (!p->nat && !mapping_enter(skb, p)) {
		if (policy_rejects)
			w->ct->new_dst = nat_has_new_id(p);
		return 0;
	}
	reason = p->nat ? nat_destination(skb, p) : 0;
	if (reason)
		return reason;
	w->ct->new_dst = !is_same_dst((struct endpoints *)&p->tuple,
				      (struct endpoints *)w->key) ||
			 (policy_rejects && nat_has_new_id(p));
	nat_done(p, w, 0);
	facts_to(w->key, (struct endpoints *)&p->tuple, zone_of(p, ZONE_REPLY));
	return 0;
}

/* The translation gives the packet another destination address. */
static __always_inline int has_other_dst(const struct pkt *p,
					 const struct way *w)
{
	return !!__builtin_memcmp(w->key->daddr, p->tuple.daddr, 16);
}

/*
 * The source's translation, likewise. Begins the flow. Returns a drop reason or
 * 0. A flow whose answers are another's is not there for the chains behind, and
 * yet they see its packet: nf_conntrack drops it when it confirms the flow. route: the
 * one that the packet has, or NULL if the kernel has chosen it.
 */
static __always_inline int to_src(struct __sk_buff *skb, struct pkt *p,
				  struct way *w, int is_input,
				  const struct bpf_fib_lookup *route)
{
	int reason;

	if (w->ct->found) {
		if (!is_input && w->ct->via != flow_via(p->oif) &&
		    ct_goes_by(w->key, p->oif))
			return STAT_DROP_NAT_MOVED;
		reevaluate_end(p, w->ct, w->key);
		set_src(p, w, &w->ct->out);
		return 0;
	}
	if (w->error && !is_input && icmp_error_goes_by(p, w->error))
		return STAT_DROP_NAT_MOVED;
	if (w->error && w->error->translate)
		return icmp_error_src(p, w->error);
	if (!w->ct->first)
		return 0;
	if (is_input ?
		    !policy_accepts(INPUT_NAT, input_nat, skb, p) :
		    !policy_accepts(POSTROUTING_NAT, postrouting_nat, skb, p))
		return STAT_DROP_POLICY;
	if (policy_nat & p->nat & NAT_MASQUERADE &&
	    nat_masquerade(skb, p, route) < 0)
		return STAT_DROP_NAT_NO_ADDRESS;
	mapping_hairpin(p, w->key);
	reason = flow_begin(p, w->key, w->ct->state);
	w->ct->clash = reason == STAT_DROP_FLOW_CLASH;
	if (reason && !w->ct->clash)
		return reason;
	nat_done(p, w, 1);
	if (w->ct->clash) {
		facts_to(w->key, (struct endpoints *)&p->tuple,
			 zone_of(p, ZONE_REPLY));
		return 0;
	}
	facts_begun(w->key, (struct endpoints *)&p->tuple,
		    zone_of(p, ZONE_REPLY));
	return 0;
}
