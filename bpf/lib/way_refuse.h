/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "answered.h"
#include "common.h"
#include "dup.h"
#include "handover.h"
#include "marks.h"
#include "reject.h"
#include "reject_local.h"
#include "way.h"
#include "way_send.h"

/* What rules do not let through. */

/* The packet is one of a flow, also the first. Before conntrack, a rule that chooses
 * its zone makes it look new.
 */
static __always_inline int is_tracked(const struct pkt *p, const struct ct *ct)
{
	return p->ct_state & CT_STATE_ESTABLISHED ||
	       (p->ct_state & CT_STATE_NEW && (ct->found || ct->first));
}

/*
 * A rule has rejected the packet. The answer goes out as the router's own
 * packet, through the output and postrouting chains: nf_ct_attach() makes it
 * related to the flow, if there is one. An answer to the router itself goes to
 * its sockets, as if from outside. Global: verified once, for all callers.
 */
__noinline int reject(struct __sk_buff *skb, struct pkt *p, __u32 hook,
		      __u32 first, __u32 translated)
{
	struct scratch *s = scratch();
	__u32 mark = TC_INDEX_ANSWER, checksum;
	int ret;

	if (!p || !s)
		return TCX_DROP;
	checksum = checksum_of(skb, p);
	ret = reject_begin(skb, p, hook, translated, checksum);
	if (ret < 0 || (ret && answer_source6(skb, p, translated)) ||
	    reject_make(skb, p, hook, checksum))
		return TCX_DROP;
	if (is_tracked(p, &s->ct)) {
		mark = first ? TC_INDEX_ANSWER_FIRST : TC_INDEX_ANSWER_RELATED;
		if (first && p->reject & REJECT_AFTER_NAT)
			mark = TC_INDEX_ANSWER_LATE;
		mark |= answered_keep(p, &s->key, s->seen_source,
				      translated ? p->tuple.dport :
						   s->key.dport);
		if (REJECT_KIND(p) == REJECT_RESET)
			reject_close(p, &s->key);
	} else if (p->zone_dirs && p->ct_state & CT_STATE_NEW) {
		mark = TC_INDEX_ANSWER_ZONED |
		       answered_keep(p, &s->key, s->key.daddr, s->key.dport);
	}
	if (hook == REJECT_OUTPUT) {
		skb->tc_index = TC_INDEX_ANSWER_LOCAL;
		return reject_to_self(skb, p, s);
	}
	return send_by(skb, p, route_of(s), mark);
}

/* The flow sends the packet elsewhere, or to another port. */
static __noinline int is_translated_dst(const struct way *w)
{
	if (w->ct->found)
		return flow_has_new_dst(&w->ct->out, w->key, w->ct->flags);
	return w->ct->new_dst;
}

/* What XDP has rejected is here without the flow that it had there. */
static __always_inline void way_found(struct pkt *p, struct way *w,
				      const struct handover *h)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, w->key);

	if (!f)
		return;
	w->ct->new_dst = flow_has_new_dst(&f->out, w->key, f->flags);
	if (h->translated)
		translate_dst(p, &f->out);
}

/* A rule or a policy has dropped the packet. */
static __always_inline int refuse(struct __sk_buff *skb, struct pkt *p,
				  const struct way *w, __u32 hook)
{
	count(STAT_DROP_POLICY);
	reevaluate_drop(w->ct, w->key);
	/* Of a copy nobody has an answer. */
	if (!policy_rejects || !REJECT_KIND(p) || is_copy())
		return TCX_DROP;
	return reject(skb, p, hook, w->ct->first, is_translated_dst(w));
}

/* Likewise, where nothing is rejected. */
static __always_inline int drop_policy(const struct way *w)
{
	reevaluate_drop(w->ct, w->key);
	return drop(STAT_DROP_POLICY);
}

/* A step of NAT has ended the packet's way. */
static __always_inline int refuse_nat(struct __sk_buff *skb, struct pkt *p,
				      const struct way *w, __u32 hook,
				      __u32 reason)
{
	if (reason == STAT_DROP_POLICY)
		return refuse(skb, p, w, hook);
	return drop(reason);
}

/* A chain behind the NAT has dropped the packet. */
static __always_inline int refuse_late(const struct way *w)
{
	forget(w);
	reevaluate_drop(w->ct, w->key);
	return drop(STAT_DROP_POLICY);
}
