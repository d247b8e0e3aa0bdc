/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "looped.h"
#include "policy.h"
#include "way.h"
#include "way_send.h"

/*
 * The way of what the host has sent to itself among others. In the kernel it has the
 * flow, and the translations, of the packet that leaves. That comes later: a flow that
 * began here would be without them.
 */
static __always_inline void track_looped(struct pkt *p, struct tuple *key)
{
	struct flow *f;
	__u8 half;

	if (p->ct_state == CT_STATE_UNTRACKED)
		return; /* a chain before said so */
	facts_none();
	if (ct_is_short(p)) {
		ct_invalid(p);
		return;
	}
	if (ct_untracked(p)) {
		p->ct_state = CT_STATE_UNTRACKED;
		return;
	}
	p->ct_state = CT_STATE_NEW;
	f = ct_find(key, p, &half);
	if (!f) {
		facts_first(key, zone_of(p, ZONE_REPLY));
		return;
	}
	facts_flow(key, f, f->flags);
	if (f->flags & FLOW_SEEN_REPLY)
		p->ct_state = CT_STATE_ESTABLISHED;
}

/* Not a function: with one more call, chains could not be nested as deep. */
static __always_inline int deliver_looped(struct __sk_buff *skb, struct pkt *p,
					  struct way *w)
{
	if (!policy_accepts(PREROUTING_RAW, prerouting_raw, skb, p))
		return drop(STAT_DROP_POLICY);
	see_written(p, w);
	track_looped(p, w->key);
	if (!policy_accepts(PREROUTING_EARLY, prerouting_early, skb, p) ||
	    !policy_accepts(PREROUTING, prerouting, skb, p) ||
	    !policy_accepts(INPUT, input, skb, p) ||
	    !policy_accepts(INPUT_LATE, input_late, skb, p))
		return drop(STAT_DROP_POLICY);
	if (write_headers(skb, p, w->key, NULL, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_IN);
	return pass(skb);
}
